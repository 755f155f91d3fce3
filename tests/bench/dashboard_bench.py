#!/usr/bin/env python3
"""The dashboard of a coordinator that has much to show: 1,000 jobs, and one with a million points.

dashboard_bench.py PROGRAM [--pages 100] [--seconds 20]

Prints JSON: how long a browser takes from asking for the page of the job with a million points until its curves
are drawn (a browser that has never been here, and one that has), what the calls of that page take, and how much of
a core the coordinator uses while so many pages watch a job that trains. The jobs are written into the store while
no coordinator has it open, as it would have written them.
"""
import argparse
import json
import os
import selectors
import shutil
import socket
import sqlite3
import statistics
import sys
import tempfile
import threading
import time

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(FOLDER, "../support"), os.path.join(FOLDER, "../e2e")]
import browser  # noqa: E402
from dashboard_test import Coordinator, ENDLESS  # noqa: E402

JOBS, SERIES, POINTS, BLOCK = 1000, 20, 50_000, 32
NAMES = ["train/loss", "test/accuracy", "train/accuracy", "test/loss", "train/learning_rate", "train/gradient_norm",
         "train/images_per_second", "time/compute_ms", "time/statistics_ms", "time/gradients_ms", "time/data_ms"]
NAMES += [f"train/probe_{i}" for i in range(SERIES - len(NAMES))]


def fill(path):
    """Of the first job of the store, which has ended, as many; the last has the points."""
    store = sqlite3.connect(path)
    columns = [row[1] for row in store.execute("PRAGMA table_info(jobs)") if row[1] != "id"]
    listed = ", ".join(columns)
    for job in range(2, JOBS + 1):
        store.execute(f"INSERT INTO jobs(id, {listed}) SELECT {job}, {listed} FROM jobs WHERE id = 1")
        store.execute(f"INSERT INTO run_files SELECT {job}, text, effective FROM run_files WHERE job = 1")
    for number, name in enumerate(NAMES):
        series = store.execute("INSERT INTO series(job, name, rank, points, first_step, last_step, last_value, last_time) "
                               "VALUES (?, ?, 0, ?, 1, ?, 0.5, ?)", (JOBS, name, POINTS, POINTS, POINTS * 1000)).lastrowid
        store.executemany("INSERT INTO points VALUES (?, ?, 1, ?, ?, ?)",
                          ((series, step, step * SERIES + number, step * 1000, (step * 2654435761 % 1000) / 500 + 1 / step)
                           for step in range(1, POINTS + 1)))
        store.execute("INSERT INTO blocks SELECT series, (step - 1) / ?, min(step), max(step), 1, sum(value), min(value), "
                      "max(value), count(*), 0, 1, max(time) FROM points WHERE series = ? GROUP BY 1, 2", (BLOCK, series))
    store.commit()
    store.close()


def paint(page, url):
    page.open(url, 1280)
    return page.wait("(() => { const at = (name) => performance.getEntriesByName(name)[0]?.startTime;"
                     " const first = at('first-contentful-paint'), curves = at('syncbn-curves');"
                     " return first && curves && { first, curves }; })()",
                     "curves", 60)


def first_paint(server):
    found = {"cold": [], "warm": []}
    for _ in range(3):
        with browser.Browser() as page:
            url = f"{server.url}/jobs/{JOBS}"
            found["cold"].append(paint(page, url))
            found["warm"] += [paint(page, url) for _ in range(5)]
            if page.errors():
                raise SystemExit(f"the page has faults: {page.errors()}")
    return {kind: {what: round(statistics.median(one[what] for one in times), 1) for what in ("first", "curves")}
            for kind, times in found.items()}


def calls(server):
    asked = {"GetJob": ("JobService/GetJob", {"name": f"jobs/{JOBS}"}),
             "ListJobs of 100": ("JobService/ListJobs", {"page_size": 100}),
             "ListSeries": ("MetricsService/ListSeries", {"job": f"jobs/{JOBS}"}),
             "QueryMetrics of 10 series": ("MetricsService/QueryMetrics", {"job": f"jobs/{JOBS}", "names": NAMES[:10], "max_buckets": 400})}
    times = {}
    for name, (method, request) in asked.items():
        took = []
        for _ in range(10):
            begin = time.monotonic()
            server.call(method, request)
            took.append(1000 * (time.monotonic() - begin))
        times[name] = round(statistics.median(took), 1)
    return times


def seconds_of(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def watch(server, job, pages, seconds):
    """What so many open pages cost: their streams, and what each asks for every 3 s."""
    names = sorted(server_names(server, job))
    cursor = server.call("MetricsService/QueryMetrics", {"job": job, "names": names, "max_buckets": 400})["cursor"]
    host, port = server.url[len("http://"):].split(":")
    body = json.dumps({"streams": [
        {"id": "job", "method": "JobService/WatchJobs", "request": {"job": job}},
        {"id": "metrics", "method": "MetricsService/WatchMetrics", "request": {"job": job, "names": names, "cursor": cursor, "interval": "0.25s"}}]}).encode()
    streams = selectors.DefaultSelector()
    for _ in range(pages):
        connection = socket.create_connection((host, int(port)))
        connection.sendall(b"POST /api/v1/stream HTTP/1.1\r\nHost: %s:%s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                           % (host.encode(), port.encode(), len(body)) + body)
        connection.setblocking(False)
        streams.register(connection, selectors.EVENT_READ)
    stop, heard = threading.Event(), [0, 0]

    def listen():
        while not stop.is_set():
            for key, _ in streams.select(0.2):
                data = key.fileobj.recv(1 << 20)
                if not data:
                    raise SystemExit("a stream has ended")
                heard[0] += data.count(b"event: metrics")
                heard[1] += len(data)

    def ask():
        while not stop.is_set():
            server.call("MetricsService/ListSeries", {"job": job})
            stop.wait(3 / pages)

    threads = [threading.Thread(target=work, daemon=True) for work in (listen, ask)]
    for thread in threads:
        thread.start()
    time.sleep(3)
    steps = lambda: int(server.call("JobService/GetJob", {"name": job}).get("progress", {}).get("step", 0))  # noqa: E731
    before, step, messages, begin = seconds_of(server.process.pid), steps(), list(heard), time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - begin
    result = {"pages": pages, "cores": round((seconds_of(server.process.pid) - before) / took, 3),
              "steps a second": round((steps() - step) / took, 1),
              "metric messages a second and page": round((heard[0] - messages[0]) / took / max(pages, 1), 2),
              "KiB a second and page": round((heard[1] - messages[1]) / took / max(pages, 1) / 1024, 2)}
    stop.set()
    for thread in threads:
        thread.join()
    for key in list(streams.get_map().values()):
        key.fileobj.close()
    return result


def server_names(server, job):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        names = [one["name"] for one in server.call("MetricsService/ListSeries", {"job": job}).get("series", [])]
        if len(names) >= 4:
            return names
        time.sleep(0.2)
    raise SystemExit("the job reports nothing")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--pages", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=20)
    arguments = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="syncbn-dashboard-bench-")
    try:
        with Coordinator(os.path.abspath(arguments.program), folder) as server:
            first = server.submit("many", 1, 2)
            server.wait_for(first, ["SUCCEEDED"])
        fill(os.path.join(folder, "data", "store.db"))
        with Coordinator(os.path.abspath(arguments.program), folder) as server:
            result = {"calls, ms": calls(server), "first paint, ms": first_paint(server)}
            running = server.submit("watched", 1, ENDLESS)
            server.wait_for(running, ["RUNNING"])
            server_names(server, running)
            result["watched"] = [watch(server, running, pages, arguments.seconds) for pages in (1, arguments.pages)]
        print(json.dumps(result, indent=2))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
