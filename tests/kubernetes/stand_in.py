"""A stand-in of a Kubernetes cluster for tests: an API server that speaks REST and watch, and, behind it, the MPI
operator and nodes whose pods are processes of this machine (cluster.py).

    stand_in.py FOLDER [--token-file FILE] [--cert FILE --key FILE] [--role FILE] [--no-pods]

Prints `serves on PORT`. A POST to /control with a JSON object (no token) makes things go wrong; its keys are the methods
of Control. Ends with SIGTERM; what its pods have started ends with it.
"""
import argparse
import json
import os
import signal
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import cluster
import objects
import schema

GROUPS = {"mpijobs": ("kubeflow.org", "v2beta1", "MPIJob"), "pods": ("", "v1", "Pod"), "events": ("", "v1", "Event")}


class Control:
    """What tests can do, by name."""

    def __init__(self, server):
        self.server = server
        self.faults = []   # {"method", "resource", "status" | "hang" | "drop", "headers", "count", "message"}
        self.denied = set()  # "create mpijobs"
        self.namespaces = set()
        self.log = []      # "POST mpijobs", ...

    def fault(self, value):
        self.faults.append(dict(value))

    def deny(self, value):
        self.denied = set(value)

    def clear(self, _value):
        self.faults.clear()
        self.denied.clear()

    def cluster(self, value):
        """Sets attributes of Cluster."""
        for name, item in value.items():
            assert hasattr(self.server.cluster, name), name
            setattr(self.server.cluster, name, item)

    def forget(self, _value):
        self.server.objects.forget()

    def cut(self, _value):
        self.server.objects.cut_watches()

    def kill(self, value):
        with self.server.cluster.lock:
            self.server.cluster.kill_pod(value["pod"], value["reason"])

    def evict(self, value):
        with self.server.cluster.lock:
            self.server.cluster.evict_pod(value)

    def lose(self, value):
        with self.server.cluster.lock:
            self.server.cluster.lose_pod(value["pod"], value["status"])

    def find(self, value):
        with self.server.cluster.lock:
            self.server.cluster.find_pod(value)

    def names(self, value):
        """Whether pods find each other's names."""
        file = f"{self.server.cluster.folder}/no-names"
        if value and os.path.exists(file):
            os.unlink(file)
        elif not value:
            open(file, "w", encoding="utf-8").close()

    def remove(self, value):
        """Somebody else's `kubectl delete mpijob`."""
        delete_job(self.server, value)

    def gone(self, value):
        """An object, at once."""
        self.server.objects.remove(value["kind"], value["name"])

    def put(self, value):
        """An object of any kind, or a new state of it, as it stands."""
        name = value["object"]["metadata"]["name"]
        if not self.server.objects.get(value["kind"], name):
            self.server.objects.create(value["kind"], value["object"])
        else:
            self.server.objects.update(value["kind"], name, lambda item: item.update(value["object"]))

    def down(self, value):
        """For so many seconds there is no API server at all; nodes go on."""
        threading.Thread(target=self.server.rest, args=(float(value),), daemon=True).start()


def delete_job(server, name):
    server.objects.update("mpijobs", name,
                          lambda item: item["metadata"].setdefault("deletionTimestamp", objects.now()))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    # --- answers

    def send(self, status, body, headers=()):
        data = json.dumps(body).encode() if not isinstance(body, bytes) else body
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if not isinstance(body, bytes) else "text/plain")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def refuse(self, code, reason, message, details=None, headers=()):
        self.send(code, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason,
                         "message": message, "code": code, "details": details or {}}, headers)

    def missing(self, resource, name):
        text = resource + ("." + GROUPS[resource][0] if GROUPS[resource][0] else "")
        self.refuse(404, "NotFound", f'{text} "{name}" not found', {"name": name, "kind": resource})

    # --- requests

    def handle_request(self):
        if self.server.closed:  # on a connection that was kept open
            self.close_connection = True
            return
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length)) if length else None
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        control = self.server.control
        if url.path == "/control":
            for name, value in body.items():
                getattr(control, name)(value)
            self.send(200, {"log": control.log})
            return
        parts = url.path.strip("/").split("/")
        core = parts[:2] == ["api", "v1"]
        rest = parts[2:] if core else parts[3:]
        if len(rest) < 3 or rest[0] != "namespaces" or rest[2] not in GROUPS:
            self.send(404, b"404 page not found\n")
            return
        namespace, resource, name = rest[1], rest[2], rest[3] if len(rest) > 3 else ""
        group, version, _ = GROUPS[resource]
        sub = rest[4] if len(rest) > 4 else ""
        watching = query.get("watch") == "true"
        verb = {"GET": "watch" if watching else "get" if name else "list", "POST": "create",
                "DELETE": "delete"}[self.command]
        control.log.append(f"{verb} {resource}{'/' + sub if sub else ''}")
        if self.server.token_file:
            with open(self.server.token_file, encoding="utf-8") as file:
                token = file.read().strip()
            if self.headers.get("Authorization") != f"Bearer {token}":
                self.refuse(401, "Unauthorized", "Unauthorized")
                return
        if self.fault(control, verb, resource):
            return
        what = resource + ("/" + sub if sub else "")
        granted = self.server.granted
        if f"{verb} {what}" in control.denied or granted is not None and f"{verb} {what}" not in granted:
            self.refuse(403, "Forbidden",
                        f'{what}{"." + group if group else ""} is forbidden: User "system:serviceaccount:{namespace}:syncbn" '
                        f'cannot {verb} resource "{what}" in API group "{group}" in the namespace "{namespace}"')
            return
        # Without the operator its kind is unknown.
        prefix = f"/apis/{group}/{version}/" if group else "/api/v1/"
        if not url.path.startswith(prefix) or resource == "mpijobs" and not self.server.cluster.operator:
            self.send(404, b"404 page not found\n")
            return
        if verb == "create" and namespace not in control.namespaces and control.namespaces:
            self.refuse(404, "NotFound", f'namespaces "{namespace}" not found', {"name": namespace, "kind": "namespaces"})
            return
        getattr(self, verb)(resource, name, sub, query, body)

    do_GET = do_POST = do_DELETE = handle_request

    def fault(self, control, verb, resource):
        """True when this request has gone wrong as a test wants it."""
        for fault in list(control.faults):
            if fault["verb"] != verb or fault["resource"] != resource:
                continue
            if fault.get("skip", 0) > 0:  # not the first of them
                fault["skip"] -= 1
                return False
            fault["count"] = fault.get("count", 1) - 1
            if fault["count"] <= 0:
                control.faults.remove(fault)
            if "hang" in fault:
                time.sleep(fault["hang"])
                self.close_connection = True
                return True
            if "drop" in fault:  # it is done, and nobody hears of it
                self.wfile = open(os.devnull, "wb")
                self.close_connection = True
                return False
            self.refuse(fault["status"], fault.get("reason", ""), fault.get("message", "as the test wants it"),
                        headers=fault.get("headers", {}).items())
            return True
        return False

    def create(self, resource, _name, _sub, _query, body):
        wrong = schema.problems(self.server.schema, body)
        if wrong:
            self.refuse(422, "Invalid", f'MPIJob.kubeflow.org "{body.get("metadata", {}).get("name")}" is invalid: '
                        + ", ".join(wrong))
            return
        try:
            self.send(201, self.server.objects.create(resource, body))
        except objects.Conflict as error:
            self.refuse(409, "AlreadyExists", f'{resource}.kubeflow.org "{error}" already exists',
                        {"name": str(error), "kind": resource})

    def get(self, resource, name, sub, query, _body):
        item = self.server.objects.get(resource, name)
        if item is None:
            self.missing(resource, name)
        elif sub == "log":
            try:
                with open(f"{self.server.cluster.folder}/logs/{name}", "rb") as file:
                    lines = file.read().splitlines(keepends=True)
            except OSError:
                lines = []
            tail = b"".join(lines[-int(query.get("tailLines", 10)):])[:int(query.get("limitBytes", 1 << 20))]
            self.send(200, tail)
        else:
            self.send(200, item)

    def list(self, resource, _name, _sub, query, _body):
        items, version = self.server.objects.list(resource, query.get("labelSelector", ""))
        wanted = dict(part.split("=") for part in query.get("fieldSelector", "").split(",") if part)
        if "involvedObject.name" in wanted:
            items = [item for item in items if item["involvedObject"]["name"] == wanted["involvedObject.name"]]
        # In pages of the size that is asked for, but of two at most, so that clients have several.
        start = int(query.get("continue", 0))
        page = items[start:start + min(2, int(query.get("limit", 500)))]
        meta = {"resourceVersion": str(version)}
        if start + len(page) < len(items):
            meta["continue"] = str(start + len(page))
        self.send(200, {"kind": "List", "metadata": meta, "items": page})

    def watch(self, resource, _name, _sub, query, _body):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        end = time.time() + float(query.get("timeoutSeconds", 60))
        for event, item in self.server.objects.watch(resource, query.get("labelSelector", ""),
                                                     int(query["resourceVersion"]), end,
                                                     query.get("allowWatchBookmarks") == "true"):
            line = json.dumps({"type": event, "object": item}).encode() + b"\n"
            # In two pieces, as a network may have it.
            for piece in (line[:len(line) // 2], line[len(line) // 2:]):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.flush()
        if self.server.objects.cut == 0:
            self.wfile.write(b"0\r\n\r\n")

    def delete(self, resource, name, _sub, _query, body):
        item = self.server.objects.get(resource, name)
        if item is None:
            self.missing(resource, name)
            return
        if resource == "mpijobs":
            delete_job(self.server, name)
        else:
            with self.server.cluster.lock:
                self.server.cluster.delete_pod(name, (body or {}).get("gracePeriodSeconds"))
        self.send(200, {"kind": "Status", "status": "Success"})


class Server(ThreadingHTTPServer):
    daemon_threads = True
    closed = False
    allow_reuse_address = True

    def handle_error(self, *_):
        pass  # clients go away

    def rest(self, seconds):
        port = self.server_address[1]
        self.closed = True
        self.shutdown()
        self.server_close()
        self.objects.cut_watches()
        time.sleep(seconds)
        server = make(port, self)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()


def make(port, like):
    server = Server(("127.0.0.1", port), Handler)
    for name in ("objects", "cluster", "schema", "token_file", "tls", "granted"):
        setattr(server, name, getattr(like, name))
    server.control = getattr(like, "control", None) or Control(server)
    server.control.server = server
    if server.tls:
        server.socket = server.tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return server


def granted_by(file):
    """"create mpijobs", ...: what the Role in a file of manifests allows."""
    import yaml
    with open(file, encoding="utf-8") as text:
        return {f"{verb} {resource}" for document in yaml.safe_load_all(text) if document["kind"] == "Role"
                for rule in document["rules"] for resource in rule["resources"] for verb in rule["verbs"]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--token-file")
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--crd", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "mpijob.json"))
    parser.add_argument("--role", help="manifests with the Role of who asks; without it everything is allowed")
    parser.add_argument("--no-pods", action="store_true", help="objects only: a test says what becomes of them")
    arguments = parser.parse_args()
    folder = os.path.abspath(arguments.folder)
    like = argparse.Namespace(objects=objects.Objects(), token_file=arguments.token_file,
                              schema=schema.load(arguments.crd), tls=None,
                              granted=granted_by(arguments.role) if arguments.role else None)
    like.cluster = cluster.Cluster(like.objects, folder, os.environ["PATH"])
    if arguments.cert:
        like.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        like.tls.load_cert_chain(arguments.cert, arguments.key)
    server = make(0, like)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    print(f"serves on {server.server_address[1]}", flush=True)
    if arguments.no_pods:
        stop.wait()
    else:
        like.cluster.run(stop)
    like.cluster.end()


if __name__ == "__main__":
    sys.exit(main())
