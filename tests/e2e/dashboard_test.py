"""Uses the dashboard of a real coordinator in a headless Chromium, as people do: submits a job, watches its
curve grow, reads its log, cancels it; signs in with tokens; compares runs; and hands it hostile text.

dashboard_test.py PROGRAM [FOLDER]    FOLDER: keeps pictures of every view there; 77 where there is no browser
"""
import json
import os
import shutil
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
import browser  # noqa: E402
from dashboard_driver import RUN, Coordinator, Failed, click, expect, fill, in_frame, look, quiet  # noqa: E402

STUDY = """name: norm-batch
run: run.yaml
axes:
  - {path: model.norm.batch, values: [replica, global]}
seeds: 2
"""
ENDLESS = 1_000_000
# Text that has become markup, script, an attribute, a header, a terminal's command or other letters elsewhere.
HOSTILE = [
    "<script>window.injected=1</script>", "<img src=x onerror=window.injected=1>", "\"><svg onload=window.injected=1>",
    "' onmouseover='window.injected=1", "javascript:window.injected=1", "</textarea><script>window.injected=1</script>",
    "<!--", "]]>", "&lt;b&gt;", "{{7*7}}", "${window.injected=1}", "<style>*{display:none}</style>", "<base href=//evil.example>",
    "\x1b[31mred\x1b]0;title\x07", "a\r\nSet-Cookie: x=1\r\n\r\n<script>", "\u202egnp.exe", "\u2066\u200b\ufeff", "\x00\x08\x7f",
    "event: job\ndata: {}\n\n", "<" * 2000, "\U0001f600\u0301", "__proto__", "constructor",
]


def submits_watches_and_cancels(page, server, pictures):
    page.open(server.url + "/", 1280)
    page.wait("document.body.innerText.includes('No job yet')", "an empty list")
    click(page, "a.button", "New job")
    fill(page, "#file", RUN % ("first", 1, ENDLESS) + "typo: 1\n")
    click(page, "button", "Check")
    page.wait("document.querySelector('.faults')?.innerText.includes('typo')", "the fault of the run file")
    page.events.clear()  # a browser tells of every answer that refuses
    fill(page, "#file", RUN % ("first", 1, ENDLESS))
    click(page, "button", "Submit")
    page.wait("location.pathname === '/jobs/1'", "the page of the job")
    page.wait("document.querySelector('.badge')?.textContent === 'Running'", "a running job")
    chart = "document.querySelector('[data-series=\"train/loss\"]')"
    page.wait(f"{chart}?.querySelector('canvas') && {chart}.dataset.newest > 0", "a curve")
    before = page.evaluate(f"{chart}.querySelector('.readout').textContent")
    page.wait(f"{chart}.querySelector('.readout').textContent !== {json.dumps(before)}", "the curve to grow", 30)
    # How old the newest point is when the page shows it, of some that come.
    late = page.evaluate("""new Promise((resolve) => {
      const chart = %s, late = [];
      const see = new MutationObserver(() => { late.push(Date.now() - Number(chart.dataset.newest)); if (late.length >= 10) { see.disconnect(); resolve(late); } });
      see.observe(chart, { attributes: true, attributeFilter: ['data-newest'] });
      setTimeout(() => resolve(late), 30000);
    })""" % chart)
    late.sort()
    print(f"a point is on the page {late[len(late) // 2]:.0f} ms after its step (median), {late[-1]:.0f} ms at most, of {len(late)}")
    expect(len(late) >= 5 and late[len(late) // 2] < 1000, f"points are shown after {late} ms")
    # By keys: what a curve is at a step.
    page.evaluate(f"{chart}.querySelector('.plot').focus()")
    page.key("ArrowRight")
    expect("step" in page.evaluate(f"{chart}.querySelector('.readout').textContent"), "the keys show no value")
    look(page, "job", pictures)
    keeps_scales_in_the_address(page, server)
    click(page, ".tabs a", "Log")
    page.wait("document.querySelectorAll('.log .line').length > 3", "lines of the log")
    expect(page.evaluate("location.pathname") == "/jobs/1/log", "the log has no address")
    look(page, "log", pictures)
    click(page, ".tabs a", "Run file")
    page.wait("document.querySelectorAll('.run-file tr').length > 20", "the run file")
    expect(page.evaluate("document.querySelector('.run-file').innerText.includes('run.yaml:2')"), "no origin of a value")
    look(page, "run-file", pictures)
    click(page, ".tabs a", "History")
    page.wait("document.querySelector('table')?.innerText.includes('CREATE')", "the history")
    look(page, "history", pictures)
    # Sent to a colleague, an address shows the same.
    page.open(server.url + "/jobs/1/log?rank=0", 1280)
    page.wait("document.querySelectorAll('.log .line').length > 1", "the log of a rank")
    quiet(page, "the pages of a job")
    # Each answer says what comes of it. The job goes on while the mouse is down, and the page with it.
    shown = "document.querySelector('.head').textContent"
    before = page.evaluate(shown)
    click(page, "button", "Cancel", while_down=lambda: page.wait(f"{shown} !== {json.dumps(before)}", "progress"))
    click(page, "dialog button", "Keep running")
    page.wait("document.querySelector('dialog') === null", "the end of the question")
    expect(server.call("JobService/GetJob", {"name": "jobs/1"})["state"] == "RUNNING", "it is cancelled all the same")
    click(page, "button", "Cancel")
    click(page, "dialog button", "Cancel the job")
    page.wait("document.querySelector('.badge')?.textContent === 'Cancelled'", "the end of the job")
    expect(server.call("JobService/GetJob", {"name": "jobs/1"})["state"] == "CANCELLED", "it is not cancelled")
    quiet(page, "cancelling")


def keeps_scales_in_the_address(page, server):
    """A chart's logarithmic scale, and of no other chart, is there for whoever is sent the address."""
    pressed = """[...document.querySelectorAll('figure.chart')].filter((e) => e.querySelector('.tools [aria-label="log scale"]').getAttribute('aria-pressed') === 'true')
      .map((e) => e.dataset.series)"""
    for series in ("train/loss", "train/accuracy"):
        click(page, f"[data-series='{series}'] .tools button", "log")
    click(page, "[data-series='train/accuracy'] .tools button", "log")
    address = page.evaluate("location.pathname + location.search")
    expect(address == "/jobs/1?logscale=train%2Floss", f"the address is {address}")
    page.open(server.url + address, 1280)
    page.wait("document.querySelector('[data-series=\"train/loss\"] canvas') !== null", "the curve from its address")
    expect(page.evaluate(pressed) == ["train/loss"], f"of logarithmic scale are {page.evaluate(pressed)}")
    click(page, "[data-series='train/loss'] .tools button", "log")
    expect(page.evaluate("location.search") == "", "the usual view is in the address")


def drops_nothing_that_is_typed(page, server):
    jobs = "JobService/ListJobs"
    before = len(server.call(jobs, {"page_size": 500}).get("jobs", []))
    page.open(server.url + "/jobs/new", 1280)
    fill(page, "#file", RUN % ("labelled", 1, 10))
    for labels, fault in (("a=b=c, x", 'expected KEY=VALUE, found "x"'), ("=b", 'expected KEY=VALUE, found "=b"'),
                          ("a=1, a=2", '"a" is given twice'), ("a=b=c", "label 'b=c': keys and values have 1 to 63 letters"),
                          ("a=", "label '': keys and values have 1 to 63 letters")):
        for button in ("Check", "Submit"):
            fill(page, "#labels", labels)
            click(page, "button", button)
            page.wait(f"document.querySelector('#labels-fault').textContent.startsWith({json.dumps(fault)})", f"{fault} beside '{labels}'")
            expect(page.evaluate("document.activeElement.id") == "labels", "the field that is wrong has not the focus")
    page.events.clear()  # a browser tells of every answer that refuses
    fill(page, "#labels", "team=vision, purpose = sweep")
    page.evaluate("(() => { document.querySelector('#processes').value = ''; })()")
    for button in ("Check", "Submit"):
        click(page, "button", button)
        time.sleep(0.5)
        expect(page.evaluate("document.querySelector('.faults').textContent") == "", "a number that is none is taken")
    expect(page.evaluate("document.querySelector('#labels-fault').textContent") == "", "a fault that is no more is there")
    expect(page.evaluate("location.pathname") == "/jobs/new" and len(server.call(jobs, {"page_size": 500}).get("jobs", [])) == before,
           "a job is submitted that was not meant so")
    fill(page, "#processes", "1")
    click(page, "button", "Submit")
    page.wait("/^.jobs.[0-9]+$/.test(location.pathname)", "the page of the job")
    made = server.call("JobService/GetJob", {"name": page.evaluate("location.pathname.slice(1)")})
    expect(made["labels"] == {"team": "vision", "purpose": "sweep"}, f"its labels are {made['labels']}")
    # What a job has that the page has no field for goes on to one that is made from it.
    first = server.submit("heavy", 1, 10, labels={"team": "vision"}, resources={"priority": 3, "memory_mib_per_process": "64", "time_limit": "600s", "max_retries": 1})
    page.open(server.url + "/jobs/new?from=" + first.split("/")[1], 1280)
    page.wait("document.querySelector('#labels').value === 'team=vision'", "the labels of the other job")
    click(page, "button", "Submit")
    page.wait("/^.jobs.[0-9]+$/.test(location.pathname)", "the page of the job")
    again, first = (server.call("JobService/GetJob", {"name": name}) for name in (page.evaluate("location.pathname.slice(1)"), first))
    expect(again["name"] != first["name"] and all(again[key] == first[key] for key in ("labels", "resources", "run_file")),
           f"made from {first} was {again}")
    for job in (made, again, first):
        server.wait_for(job["name"], ["SUCCEEDED"])


def fits_a_telephone(page, server):
    """The longest words that are allowed: a page is never wider than its window."""
    name, word, path = "n" * 128, "w" * 63, os.path.join(server.folder, "p" * 240, "mnist-")
    labels = {word: word, "k" * 63: word}
    run = "name: %s\nseed: 1\ndata: {dataset: mnist, path: %s}\nmodel: {architecture: cnn_small}\n" \
          "cluster: {replicas: 2, batch_per_replica: 16}\ntrain: {epochs: 1, learning_rate: {base: 0.05}}\n"
    failed = [server.call("JobService/CreateJob", {"job": {"run_file": run % (name, path + end), "labels": labels}})["name"] for end in "ab"]
    for job in failed:
        server.wait_for(job, ["FAILED"])
    running = server.submit(name, 1, ENDLESS, labels=labels, overrides=["train.learning_rate.base=0.02"], resources={"threads_per_process": 2})
    server.wait_for(running, ["RUNNING"])
    waiting = server.submit(name, 2, ENDLESS, labels=labels)
    study = server.call("StudyService/CreateStudy", {"study": {
        "study_file": STUDY.replace("norm-batch", name), "study_file_name": word + ".yaml", "run_file": RUN % (name, 1, 20), "run_file_name": word + ".yaml"}})["name"]
    host = server.call("ClusterService/ListHosts", {})["hosts"][0]["name"]
    server.call("ClusterService/DrainHost", {"name": host, "reason": word * 3})
    number = [job.split("/")[1] for job in (*failed, running)]
    for address, there in (("/jobs", f"tr[data-job='{failed[1]}']"), (f"/{failed[0]}", ".panel.bad"), (f"/{running}", "figure.chart canvas"),
                           (f"/{waiting}", ".panel.wait"), (f"/{failed[0]}/run-file", ".run-file tr"), (f"/{running}/run-file", ".run-file tr"),
                           (f"/{running}/history", "tbody tr"), (f"/{running}/checkpoints", ".side *"), (f"/{running}/log", ".log .line"),
                           ("/compare?jobs=" + ",".join(number[:2]), "tbody th code"), ("/compare?jobs=" + ",".join(number), "figure.chart canvas"),
                           ("/studies", "tbody tr"), (f"/{study}", "tbody tr"), (f"/{study}/report", ".report"), ("/hosts", "tbody tr + tr, .facts"),
                           ("/jobs/new?from=" + number[0], "#file"), ("/jobs?filter=" + word, ".foot"), ("/" + name, ".panel.bad")):
        page.open(server.url + address, 390, touch=True)
        page.wait(f"document.querySelector({json.dumps(there)}) !== null", f"{there} of {address}")
        time.sleep(0.5)
        wide = page.evaluate("document.documentElement.scrollWidth")
        out = page.evaluate("""[...document.querySelectorAll('main *')].filter((e) => e.getBoundingClientRect().right > 391 && !e.closest('pre, .tabs, iframe'))
          .map((e) => `${e.tagName}.${e.className} ${e.textContent.slice(0, 40)}`).slice(0, 4)""")
        expect(wide <= 390 and not out, f"{address} is {wide} wide in a window of 390, by {out}")
    server.call("ClusterService/RestoreHost", {"name": host})
    server.call("StudyService/CancelStudy", {"name": study})
    for job in (running, waiting):
        server.call("JobService/CancelJob", {"name": job})


def averages_over_seeds(page, server):
    """Two runs that differ in their seed are one curve, the mean and the range of what the server has of both."""
    chart = "document.querySelector('[data-series=\"train/loss\"]')"
    page.wait(f"!!{chart}?.querySelector('canvas')", "the curve of train/loss")
    last = {}
    for job in ("jobs/2", "jobs/3"):
        series = server.call("MetricsService/QueryMetrics", {"job": job, "names": ["train/loss"], "max_buckets": 300})["series"][0]
        last[int(series["last_step"][-1])] = last.get(int(series["last_step"][-1]), []) + [series["mean"][-1]]
    (values,) = last.values()

    def shown():
        page.evaluate(f"(() => {{ const plot = {chart}.querySelector('.plot'); plot.focus(); }})()")
        page.key("End")
        return page.evaluate(f"{chart}.querySelector('.readout').textContent").replace("−", "-")
    words = shown()
    low, high, mean = min(values), max(values), sum(values) / 2
    for value in (mean, low, high):
        expect(f"{value:.4g}" in words, f"the mean of {values} with its range is shown as {words}")
    expect(page.evaluate("location.search").find("seeds=") < 0, "the usual view is in the address")
    page.evaluate("""(() => { const select = document.querySelector('select[aria-label=Seeds]'); select.value = 'single';
      select.dispatchEvent(new Event('change', { bubbles: true })); })()""")
    page.wait(f"{chart}.querySelectorAll('.legend .key').length === 2", "a curve for each run")
    words = shown()
    expect("seed 1" in words and "seed 2" in words, f"of single runs {words} is shown")
    page.open(server.url + page.evaluate("location.pathname + location.search"), 1280)
    page.wait(f"{chart}?.querySelectorAll('.legend .key').length === 2", "the same from its address")
    page.evaluate("""(() => { const select = document.querySelector('select[aria-label=Seeds]'); select.value = 'mean';
      select.dispatchEvent(new Event('change', { bubbles: true })); })()""")
    page.wait(f"{chart}.querySelectorAll('.legend .key').length === 0", "one curve again")


def compares(page, server, pictures):
    jobs = [server.submit("pair", seed, 60) for seed in (1, 2)]
    for job in jobs:
        server.wait_for(job, ["SUCCEEDED"])
    page.open(server.url + "/jobs", 1280)
    page.wait("document.querySelectorAll('tr[data-job]').length === 3", "three jobs")
    look(page, "jobs", pictures)
    for job in jobs:
        click(page, f"tr[data-job='{job}'] input")
    click(page, "a.button", "Compare 2")
    page.wait("document.querySelectorAll('figure.chart canvas').length > 0 && document.body.innerText.includes('±')", "curves and spread")
    expect(page.evaluate("[...document.querySelectorAll('tbody th code')].map((e) => e.textContent).includes('seed')"), "the seeds do not differ")
    expect(page.evaluate("location.search").startswith("?jobs="), "the comparison has no address")
    averages_over_seeds(page, server)
    look(page, "compare", pictures)
    for path, words in (("/studies", "No study yet"), ("/hosts", "Nothing waits")):
        page.open(server.url + path, 1280)
        page.wait(f"document.body.innerText.includes({json.dumps(words)})", path)
        look(page, path[1:], pictures)
        quiet(page, path)
    # Keys reach everything, and show where they are.
    page.open(server.url + "/jobs", 1280)
    page.wait("document.querySelectorAll('tr[data-job]').length === 3", "three jobs")
    reached = set()
    for _ in range(30):
        page.key("Tab")
        reached.add(page.evaluate("document.activeElement.textContent.trim() || document.activeElement.id"))
        expect(page.evaluate("document.activeElement === document.body || getComputedStyle(document.activeElement).outlineStyle !== 'none'"),
               "what has the focus does not show it")
    expect({"Jobs", "Hosts", "New job", "Running", "filter"} <= reached, f"keys reach {reached} only")
    page.pdf(os.path.join(server.folder, "jobs.pdf"))


def shows_the_report(page, server, pictures):
    page.wait("document.querySelectorAll('.charts canvas').length > 0", "curves of the trials")
    keys = page.evaluate("[...document.querySelector('[data-series=\"test/accuracy\"] .legend').querySelectorAll('.key')].map((e) => e.textContent)")
    expect(sorted(keys) == ["batch global (2 seeds)", "batch replica (2 seeds)"], f"curves of cells are called {keys}")
    frame = "document.querySelector('.report iframe:not(.coming)')"
    page.wait(f"{frame} && Number({frame}.getAttribute('height')) > 400", "a report with the room that it takes")
    words = in_frame(page, "document.body.innerText")
    expect("Results" in words and "batch global" in words and "report written" in words, f"the report says {words[:400]}")
    # Its script runs and its style is there, and it can reach nothing.
    expect(in_frame(page, "getComputedStyle(document.querySelector('main')).maxWidth") == "720px", "the report has no style")
    expect(in_frame(page, "document.querySelector('svg.chart .mark[tabindex]') !== null"), "the report's script does not run")
    expect(in_frame(page, "window.origin") == "null", "the report has the origin of the dashboard")
    expect(not page.evaluate(f"{frame}.contentDocument"), "the page can look into the report")
    quiet(page, "the report")
    folder = os.path.join(server.folder, "downloads")
    page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=folder)
    for words in ("report.md", "trials.csv"):
        click(page, "button", words)
        path = os.path.join(folder, "studies-1-" + words)
        deadline = time.monotonic() + 60
        while not os.path.exists(path) or os.path.getsize(path) == 0:
            expect(time.monotonic() < deadline, f"{words} does not come: {os.listdir(folder) if os.path.isdir(folder) else 'nothing'}")
            time.sleep(0.1)
    expect(len(open(os.path.join(folder, "studies-1-trials.csv")).read().splitlines()) == 5, "a line for each trial and a head")
    click(page, "a.button", "Open alone")
    page.wait("location.pathname === '/studies/1/report'", "an address of the report")
    page.wait(f"{frame} && Number({frame}.getAttribute('height')) > 400", "the report alone")
    look(page, "report", pictures)
    page.open(server.url + "/studies/1/report", 1280)
    page.wait(f"{frame} && Number({frame}.getAttribute('height')) > 400", "the report by its address")
    quiet(page, "the report alone")
    # On a phone it lies below the window, where nothing is drawn.
    page.open(server.url + "/studies/1", 390, touch=True)
    page.wait(f"{frame} && Number({frame}.getAttribute('height')) > 400", "a report outside of the window with the room that it takes")
    page.open(server.url + "/studies/1", 1280)
    page.wait(f"{frame} && Number({frame}.getAttribute('height')) > 400", "the report of the study's page")


def says_what_is_not_there(page, server, pictures):
    page.open(server.url + "/zzz", 1280)
    page.wait("document.querySelector('main h1')?.textContent === 'There is nothing at this address'", "what is not there")
    expect("/zzz" in page.evaluate("document.querySelector('main').innerText"), "the address is not named")
    look(page, "nothing", pictures)
    click(page, "main a", "Jobs")
    page.wait("location.pathname === '/jobs'", "the way home")


def tells_trials_apart(page, server, pictures):
    server.call("StudyService/CreateStudy", {"study": {
        "study_file": STUDY, "study_file_name": "study.yaml", "run_file": RUN % ("trial", 1, 20), "run_file_name": "run.yaml"}})
    deadline = time.monotonic() + 120
    while server.call("StudyService/GetStudy", {"name": "studies/1"})["state"] != "SUCCEEDED":
        expect(time.monotonic() < deadline, "the study does not end")
        time.sleep(0.2)
    page.open(server.url + "/studies/1", 1280)
    page.wait("document.querySelectorAll('table').length === 2", "results and trials")
    columns = page.evaluate("[...[...document.querySelectorAll('table')].pop().querySelectorAll('thead th')].map((e) => e.textContent)")
    expect("batch" in columns and "Seed" in columns, f"the trials' columns are {columns}")
    expect(page.evaluate("document.body.innerText.includes('Best:')"), "a study that has ended has a best trial so far")
    shows_the_report(page, server, pictures)
    look(page, "study", pictures)
    job = server.submit("tagged", 1, 20, labels={"team": "vision"}, overrides=["train.learning_rate.base=0.02"])
    server.wait_for(job, ["SUCCEEDED"])
    page.open(server.url + "/jobs", 1280)
    page.wait("document.querySelectorAll('tr[data-job]').length >= 5", "the trials")
    names = page.evaluate("[...document.querySelectorAll('tr[data-job] th')].map((e) => e.innerText.replace(/^#\\d+/, '').replace(/\\s+/g, ' '))")
    for words in ("batch global seed 1", "batch global seed 2", "batch replica seed 1", "batch replica seed 2", "base=0.02 team vision"):
        expect(sum(words in name for name in names) == 1, f"{words} is not one of {names}")
    look(page, "trials", pictures)
    quiet(page, "trials")


def keeps_the_focus_as_jobs_come(page, server):
    page.open(server.url + "/", 1280)
    page.wait("document.querySelectorAll('tr[data-job] input').length >= 3", "jobs")
    name = page.evaluate("(() => { const one = document.querySelectorAll('tr[data-job] input')[1]; one.focus(); return one.getAttribute('aria-label'); })()")
    job = server.submit("arrives", 1, 10)
    page.wait(f"document.querySelector('tr[data-job=\"{job}\"]') !== null", "the job that arrives")
    server.wait_for(job, ["SUCCEEDED"])
    page.wait(f"document.querySelector('tr[data-job=\"{job}\"] .badge').textContent === 'Succeeded'", "its end")
    expect(page.evaluate("document.activeElement.getAttribute('aria-label')") == name, "the focus is lost as a job arrives")


def counts_no_pauses(page, server):
    job = server.submit("pauses", 1, ENDLESS)
    server.wait_for(job, ["RUNNING"])
    server.call("JobService/PauseJob", {"name": job})
    server.wait_for(job, ["PAUSED"])
    time.sleep(5)
    used = float(server.call("JobService/GetJob", {"name": job})["used_time"].rstrip("s"))
    expect(used < 55, f"a machine that takes {used} s to start and pause a job")
    page.open(server.url + "/" + job, 1280)
    time_of = "[...document.querySelectorAll('.facts div')].find((e) => e.firstChild.textContent === 'Time')?.lastChild.textContent"
    shown = page.wait(time_of, "how long it has been at it")
    expect(abs(float(shown.split()[0]) - used) <= 1, f"it has run for {used} s and the page says {shown}")
    server.call("JobService/CancelJob", {"name": job})


def compares_those_that_are_there(page, server):
    page.open(server.url + "/compare?jobs=2,99999,abc", 1280)
    page.wait("document.querySelectorAll('figure.chart canvas').length > 0", "the curves of the job that is there")
    words = page.evaluate("document.querySelector('main .panel').innerText")
    expect("99999" in words and "abc" in words, f"what is missing is not said: {words}")


def prints_every_curve(page, server):
    page.open(server.url + "/jobs/2", 1280)
    page.wait("document.querySelectorAll('figure.chart').length > 8 && document.querySelector('figure.chart canvas') !== null", "curves")
    time.sleep(2)
    expect(page.evaluate("[...document.querySelectorAll('figure.chart')].some((e) => !e.querySelector('canvas'))"),
           "all curves are drawn before they are near the window")
    page.pdf(os.path.join(server.folder, "job.pdf"))
    empty = page.evaluate("[...document.querySelectorAll('figure.chart')].filter((e) => !e.querySelector('canvas')).map((e) => e.dataset.series)")
    expect(not empty, f"curves that are not printed: {empty}")


def marks_what_is_not_finite(page, server):
    job = server.submit("diverges", 1, 60, overrides=["train.learning_rate.base=1000", "train.optimizer.weight_decay=1"])
    server.wait_for(job, ["FAILED"])
    page.open(server.url + "/" + job, 1280)
    chart = "document.querySelector('[data-series=\"test/loss\"]')"
    page.wait(f"{chart}?.querySelector('.readout').textContent.includes('not finite, the first at step')", "steps that are not finite")


def lists_checkpoints(page, server, pictures):
    job = server.submit("keeps", 1, 48, overrides=["train.checkpoint={every_epochs: 1, keep: 4}", "train.evaluate={every_epochs: 2}"])
    server.wait_for(job, ["SUCCEEDED"])
    page.open(server.url + "/" + job, 1280)
    # Before its curves are there: calls that are cut off are no errors of the console.
    click(page, ".facts a", "all")
    page.wait("document.querySelectorAll('.checkpoints tbody tr').length >= 4", "the checkpoints that are kept")
    expect(page.evaluate("location.pathname") == f"/{job}/checkpoints", "the checkpoints have no address")
    first = page.evaluate("document.querySelector('.checkpoints tbody tr').innerText")
    expect(first.split()[0] == "48" and "KiB" in first, f"the newest checkpoint is {first}")
    expect("goes on from here" not in page.evaluate("document.body.innerText"), "a job that has succeeded goes on")
    quiet(page, "checkpoints")
    # One that is damaged, by somebody who would be more than text.
    folder = server.call("JobService/GetJob", {"name": job})["output_folder"]
    with open(os.path.join(folder, "checkpoints", "step-00000048", "manifest.json"), "w") as manifest:
        manifest.write(json.dumps({"format": HOSTILE[1]}))
    page.open(server.url + f"/{job}/checkpoints", 1280)
    page.wait("document.querySelector('.checkpoints')?.innerText.includes('Of no use: manifest.json is damaged')", "the damage")
    look(page, "checkpoints", pictures)
    quiet(page, "damaged checkpoints")
    # Of one that has been ended.
    job = server.submit("goes-on", 1, ENDLESS, overrides=["train.checkpoint={every_epochs: 1, keep: 4}"])
    page.open(server.url + f"/{job}/checkpoints", 1280)
    page.wait("document.querySelectorAll('.checkpoints tbody tr').length >= 4", "checkpoints that come while it runs")
    server.call("JobService/CancelJob", {"name": job})
    server.wait_for(job, ["CANCELLED"])
    page.wait("document.querySelector('.badge')?.textContent === 'Cancelled'", "its end")
    page.wait("document.querySelector('.checkpoints tbody tr')?.innerText.includes('goes on from here')", "the one that a retry goes on from")
    expect(page.evaluate("document.body.innerText.split('goes on from here').length") == 2, "a retry goes on from several")
    look(page, "checkpoints-cancelled", pictures)
    quiet(page, "checkpoints of a job that was cancelled")


def shows_hostile_text_as_text(page, server):
    # Names and labels have letters, digits and few signs; what else is anybody's text is in the job.
    text = RUN % ("hostile", 3, 4) + "".join(f"# {one}\n" for one in HOSTILE if one.isprintable())
    job = server.call("JobService/CreateJob", {"job": {"run_file": text, "run_file_name": "<b>\u202e.yaml",
                                                       "output_folder": "<img src=x onerror=window.injected=1>"}})["name"]
    server.wait_for(job, ["SUCCEEDED", "FAILED"])
    number = job.split("/")[1]
    # What its ranks print: the log as it would be on the disk.
    for folder, _, files in os.walk(os.path.join(server.folder, "data")):
        if "output.log" in files and f"/{number}/" in folder + "/":
            with open(os.path.join(folder, "output.log"), "ab") as log:
                for text in HOSTILE:
                    log.write(b"0: " + text.replace("\n", " ").encode("utf-8", "surrogatepass") + b"\n")
    # An administrator's reason is in the history.
    reason = server.submit("reason", 1, ENDLESS)
    server.call("JobService/CancelJob", {"name": reason, "reason": HOSTILE[1] + HOSTILE[2]})
    for path in (f"/jobs/{number}", f"/jobs/{number}/log", f"/jobs/{number}/run-file", f"/{reason}/history", "/jobs",
                 f"/jobs/new?from={number}", f"/compare?jobs={number}", "/jobs?filter=%3Cscript%3Ewindow.injected%3D1%3C%2Fscript%3E",
                 "/compare?jobs=%3Cscript%3E&series=%3Cb%3E", "/jobs/%3Cscript%3E"):
        page.open(server.url + path, 1280)
        time.sleep(1)
        expect(page.evaluate("document.querySelectorAll('main img, main script, main b[class], main style, main base').length") == 0,
               f"{path}: text became markup")
        if "filter" not in path:  # which is refused, and the browser tells of that
            quiet(page, path)
        expect(not page.evaluate("window.injected"), path)
    page.open(server.url + f"/jobs/{number}/log", 1280)
    page.wait("document.querySelector('.log')?.textContent.includes('onerror=window.injected')", "the hostile lines as text")
    shown = page.evaluate("document.querySelector('.log').textContent")
    expect("\x1b" not in shown and "\u202e" not in shown, "a command of terminals, or letters turned round, are shown as they are")
    # Every text by the one way in which pages make elements.
    module = page.evaluate("document.querySelector('link[rel=modulepreload]').getAttribute('href')")
    wrong = page.evaluate("""(async () => {
      const { h, fill, table } = await import(%s);
      const wrong = [];
      for (const text of %s) {
        const e = h('p', { title: text, 'aria-label': text, class: text.replace(/[^a-z]/g, '') }, text, [text], h('b', {}, text));
        document.body.append(e, table(text, [text], [[text]]));
        if (e.querySelectorAll(':scope > :not(b)').length > 0 || [...e.attributes].some((a) => a.name.startsWith('on'))) wrong.push(text);
        for (const href of [text, 'https://evil.example', '//evil.example', 'data:text/html,x'])
          try { h('a', { href }); wrong.push('href ' + href); } catch { /* refused, as it should be */ }
      }
      try { document.body.insertAdjacentHTML('beforeend', '<i>x</i>'); wrong.push('HTML is taken'); } catch { /* likewise */ }
      return wrong;
    })()""" % (json.dumps(module), json.dumps(HOSTILE)))
    expect(not wrong, f"became something else than text: {wrong}")
    expect(not page.evaluate("window.injected"), "a text was run")


def asks_for_tokens(page, server, pictures):
    secret = server.call("AdminService/CreateToken", {"token": {"name": "root", "role": "ADMIN"}})["secret"]
    server.token = secret
    viewer = server.call("AdminService/CreateToken", {"token": {"name": "vera", "role": "VIEWER"}})["secret"]
    running = server.submit("guarded", 1, ENDLESS)
    page.open(server.url + "/" + running, 1280)
    page.wait("document.querySelector('#token') !== null", "the question for a token")
    look(page, "login", pictures)
    fill(page, "#token", "wrong")
    click(page, "button", "Sign in")
    page.wait("document.querySelector('.error')?.textContent.includes('not known')", "a refusal")
    page.events.clear()
    fill(page, "#token", viewer)
    click(page, "button", "Sign in")
    page.wait("document.querySelector('.badge') && document.querySelector('.who')?.textContent.includes('vera')", "the job that was asked for")
    time.sleep(1)
    expect(page.evaluate("[...document.querySelectorAll('button')].every((b) => b.textContent !== 'Cancel')"), "a viewer may cancel")
    expect(page.evaluate("document.cookie") == "", "there is a cookie")
    click(page, "button", "Sign out")
    page.wait("document.querySelector('#token') !== null", "the question for a token")
    page.events.clear()
    fill(page, "#token", secret)
    page.key("Enter")
    page.wait("document.querySelector('.who')?.textContent.includes('root')", "who is signed in")
    page.open(server.url + "/" + running, 1280)
    page.wait("[...document.querySelectorAll('button')].some((b) => b.textContent === 'Cancel')", "an administrator's button")
    quiet(page, "signed in")


def main():
    program, pictures = os.path.abspath(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None
    if not browser.program():
        print(f"there is none of {', '.join(browser.PROGRAMS)}; install what launch/packages-test.txt lists")
        sys.exit(77)
    if pictures:
        os.makedirs(pictures, exist_ok=True)
    folder = tempfile.mkdtemp(prefix="syncbn-dashboard-")
    try:
        with Coordinator(program, folder) as server, browser.Browser() as page:
            submits_watches_and_cancels(page, server, pictures)
            compares(page, server, pictures)
            tells_trials_apart(page, server, pictures)
            says_what_is_not_there(page, server, pictures)
            keeps_the_focus_as_jobs_come(page, server)
            counts_no_pauses(page, server)
            compares_those_that_are_there(page, server)
            prints_every_curve(page, server)
            marks_what_is_not_finite(page, server)
            lists_checkpoints(page, server, pictures)
            drops_nothing_that_is_typed(page, server)
            fits_a_telephone(page, server)
            shows_hostile_text_as_text(page, server)
            asks_for_tokens(page, server, pictures)
    except (Failed, TimeoutError, RuntimeError) as failed:
        print(failed)
        print(open(os.path.join(folder, "serve.log"), errors="replace").read()[-3000:])
        sys.exit(1)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
