"""A headless Chromium, driven over a pipe by the standard library alone: no port, no driver program."""
import base64
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time

# The shell is the leanest: no desktop libraries, one window less.
PROGRAMS = ["chromium-headless-shell", "chromium", "google-chrome"]
PR_SET_CHILD_SUBREAPER = 36  # processes that lose their parent become ours, and are waited for
PATIENCE = 120  # seconds for one answer, on a machine that may be busy


def program():
    """Path of a browser, or None."""
    for folder in (None, "/usr/lib/chromium"):
        for name in PROGRAMS:
            path = shutil.which(name, path=folder)
            if path:
                return path
    return None


class Browser:
    """One browser with one page. Use it in a `with`: at the end nothing of it is left."""

    def __enter__(self):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
        self.folder = tempfile.mkdtemp(prefix="syncbn-browser-")
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        # The browser reads commands from descriptor 3 and answers to 4.
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$0" "$@" 3<&{commands} 4>&{answers}', program(), "--headless", "--no-sandbox",
             "--disable-gpu", "--disable-dev-shm-usage", "--disable-breakpad", "--no-first-run", "--no-zygote",
             "--disable-background-networking", "--disable-extensions", "--disable-component-update",
             "--remote-debugging-pipe", f"--user-data-dir={self.folder}", "about:blank"],
            pass_fds=(commands, answers), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True, env=dict(os.environ, HOME=self.folder))
        os.close(commands)
        os.close(answers)
        self._number, self._buffer, self._session = 0, b"", None
        self.events = []
        try:
            page = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
            self._session = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.call(domain + ".enable")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        # Asked for, so that it waits for its own processes; the rest is for one that does not answer.
        command = json.dumps({"id": self._number + 1, "method": "Browser.close"}).encode() + b"\0"
        try:
            os.write(self._commands, command)
            self._process.wait(10)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            pass
        os.close(self._commands)
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()
        try:
            while True:
                os.waitpid(-self._process.pid, 0)  # what it had started: those of its group
        except ChildProcessError:
            pass
        os.close(self._answers)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _receive(self, deadline):
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError(f"the browser has not answered within {PATIENCE} s")
            data = os.read(self._answers, 1 << 20)
            if not data:
                raise EOFError("the browser has ended")
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def call(self, method, **params):
        """The result of a command of Chromium's DevTools protocol."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": params}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while True:
            message = self._receive(deadline)
            if message.get("id") == self._number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self.events.append(message)

    def open(self, address, width, dark=False, height=900, touch=False):
        """Loads a file, or an address by http, as a window of this width shows it."""
        self.look(width, dark, height, touch)
        self.events.clear()
        url = address if address.startswith("http") else "file://" + os.path.abspath(address)
        self._own = "/".join(url.split("/")[:3])
        self.call("Page.navigate", url=url)
        deadline = time.monotonic() + PATIENCE
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._receive(deadline))

    def look(self, width, dark=False, height=900, touch=False):
        """The same page in another window."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=touch)
        self.call("Emulation.setTouchEmulationEnabled", enabled=touch)
        self.call("Emulation.setEmulatedMedia",
                  features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def errors(self):
        """What the console and the log hold since the page was opened, and what was asked of others by the network."""
        found = []
        for event in self.events:
            method, params = event.get("method"), event.get("params", {})
            if method in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
                found.append(json.dumps(params))
            if method == "Network.requestWillBeSent":
                url = params["request"]["url"]
                if not url.startswith(("file:", "data:", "blob:")) and not (url + "/").startswith(self._own + "/"):
                    found.append("loads " + url)
        return found

    def evaluate(self, script):
        """The value of a JavaScript expression."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(json.dumps(result["exceptionDetails"]))
        return result["result"].get("value")

    def mouse(self, x, y):
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def tap(self, x, y):
        self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def write(self, text):
        """As typed into what has the focus."""
        self.call("Input.insertText", text=text)

    def wait(self, script, what, patience=PATIENCE):
        """The value of an expression as soon as it is one that counts as true."""
        deadline = time.monotonic() + patience
        while True:
            value = self.evaluate(script)
            if value:
                return value
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {patience} s for {what}; the page shows: "
                                   + str(self.evaluate("document.body.innerText"))[:1500])
            time.sleep(0.05)

    def key(self, name):
        self.call("Input.dispatchKeyEvent", type="keyDown" if name == "Enter" else "rawKeyDown", key=name, code=name,
                  windowsVirtualKeyCode={"Tab": 9, "Enter": 13, "End": 35, "ArrowRight": 39, "ArrowDown": 40, "Escape": 27}[name],
                  **({"text": "\r"} if name == "Enter" else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", key=name, code=name)

    def screenshot(self, path, whole=True):
        data = self.call("Page.captureScreenshot", captureBeyondViewport=whole,
                         **({"clip": dict(self.call("Page.getLayoutMetrics")["cssContentSize"], scale=1)} if whole else {}))
        with open(path, "wb") as file:
            file.write(base64.b64decode(data["data"]))

    def pdf(self, path):
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True)["data"]))
