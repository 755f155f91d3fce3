"""A coordinator of its own, and what people do with its pages: click, fill in, look. For dashboard_test.py."""
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request

RUN = """name: %s
seed: %d
data: {dataset: shapes, shapes: {train_samples: 256, test_samples: 100}}
model:
  layers:
    - conv: {out: 8, kernel: 3, stride: 2, padding: 1}
    - norm
    - relu
    - global_average_pool
    - linear: 10
cluster: {replicas: 2, batch_per_replica: 16}
train: {epochs: 100000, max_steps: %d, learning_rate: {base: 0.05}}
"""


class Failed(Exception):
    pass


def expect(true, words):
    if not true:
        raise Failed(words)


class Coordinator:
    def __init__(self, program, folder):
        self.program, self.folder = program, folder

    def __enter__(self):
        self.log = open(os.path.join(self.folder, "serve.log"), "wb")
        self.process = subprocess.Popen(
            [self.program, "serve", "--data", os.path.join(self.folder, "data"), "--listen", "127.0.0.1:0", "--http",
             "127.0.0.1:0", "--slots", "2", "--heartbeat", "0.2", "--ask-time", "5"], stdout=self.log, stderr=self.log,
            cwd=self.folder)
        file = os.path.join(self.folder, "data", "server.json")
        deadline = time.monotonic() + 120
        while True:
            if os.path.exists(file):
                record = json.load(open(file))
                if record["pid"] == self.process.pid:
                    break
            expect(self.process.poll() is None and time.monotonic() < deadline, "the coordinator does not serve")
            time.sleep(0.05)
        self.url, self.grpc, self.token = "http://" + record["http"], record["grpc"], None
        return self

    def __exit__(self, *_):
        try:
            for job in self.call("JobService/ListJobs", {"filter": "state = open"}).get("jobs", []):
                self.call("JobService/CancelJob", {"name": job["name"], "kill": True})
            deadline = time.monotonic() + 60
            while self.call("JobService/ListJobs", {"filter": "state = open"}).get("jobs") and time.monotonic() < deadline:
                time.sleep(0.2)
        finally:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)
            self.log.close()

    def call(self, method, request):
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = "Bearer " + self.token
        asked = urllib.request.Request(self.url + "/api/v1/" + method, json.dumps(request).encode(), headers)
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise Failed(f"{method}: {error.code} {error.read().decode()}")

    def submit(self, name, seed, steps, **more):
        job = {"run_file": RUN % (name, seed, steps), **more}
        return self.call("JobService/CreateJob", {"job": job})["name"]

    def wait_for(self, job, states):
        deadline = time.monotonic() + 120
        while True:
            found = self.call("JobService/GetJob", {"name": job})
            if found["state"] in states:
                return found
            expect(time.monotonic() < deadline, f"{job} is {found['state']} and not {states}: {found.get('failure')}")
            time.sleep(0.1)


def click(page, selector, text=None, while_down=None):
    """Where a person would: at the middle of what is shown. `while_down` is called with the button of the mouse held."""
    script = """(() => {
      const found = [...document.querySelectorAll(%s)].find((e) => %s === null || e.textContent.trim() === %s);
      if (!found || found.disabled) return null;
      found.scrollIntoView({ block: 'center' });
      const box = found.getBoundingClientRect();
      return [box.left + box.width / 2, box.top + box.height / 2];
    })()""" % (json.dumps(selector), json.dumps(text), json.dumps(text))
    x, y = page.wait(script, f"{selector} {text or ''}", 60)
    for kind in ("mousePressed", "mouseReleased"):
        page.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        if while_down is not None and kind == "mousePressed":
            while_down()


def fill(page, selector, text):
    page.wait(f"(() => {{ const e = document.querySelector({json.dumps(selector)}); if (!e) return false; e.focus(); e.select(); return true; }})()",
              selector, 60)
    page.write(text)


def quiet(page, where):
    expect(not page.errors(), f"{where}: {page.errors()}")
    expect(not page.evaluate("window.injected"), f"{where}: text of others was run")


def look(page, name, pictures):
    """The view in four windows: nothing stands out at the side."""
    for width in (1280, 390):
        for dark in (False, True):
            page.look(width, dark, touch=width == 390)
            time.sleep(0.4)
            wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
            expect(wide[0] <= wide[1], f"{name} is {wide[0]} wide in a window of {wide[1]}")
            cut = page.evaluate("""[...document.querySelectorAll('table')].filter((table) => {
              const around = table.closest('.scroll') ?? table.parentElement;
              return table.scrollWidth > around.clientWidth + 1 && (%s || getComputedStyle(around).backgroundImage === 'none');
            }).map((table) => table.caption?.textContent ?? '?')""" % ("true" if width == 390 else "false"))
            expect(not cut, f"{name}: tables are cut in a window of {width} and do not show it: {cut}")
            if pictures:
                page.screenshot(os.path.join(pictures, f"{name}-{width}-{'dark' if dark else 'light'}.png"), whole=False)
    page.look(1280)


def in_frame(page, script):
    """Evaluates where a report is shown: a frame of an origin of its own, which its page cannot look into."""
    tree = page.call("Page.getFrameTree")["frameTree"]
    frames = [child["frame"]["id"] for child in tree.get("childFrames", [])]
    expect(len(frames) == 1, f"the page has {len(frames)} frames")
    world = page.call("Page.createIsolatedWorld", frameId=frames[0])["executionContextId"]
    result = page.call("Runtime.evaluate", expression=script, contextId=world, returnByValue=True)
    expect("exceptionDetails" not in result, str(result))
    return result["result"].get("value")
