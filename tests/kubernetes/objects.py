"""What an API server keeps: objects with versions, and the changes that watches are told."""
import copy
import threading
import time
import uuid

# Changes that are remembered for watches that begin in the past.
HISTORY = 1000


def now(ahead=0):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + ahead))


def matches(selector, labels):
    """`a=b,c=d` of a labelSelector."""
    return all(labels.get(part.split("=")[0]) == part.split("=")[1] for part in selector.split(",") if part)


class Conflict(Exception):
    pass


class Objects:
    """Thread-safe. Kinds are plural names: "mpijobs", "pods", "events"."""

    def __init__(self):
        self.changed = threading.Condition(threading.RLock())
        self.version = 100
        self.kinds = {}
        self.changes = []  # (version, type, kind, object)
        self.oldest = 100  # a watch cannot begin before it
        self.cut = 0       # watches that began before it was counted up are over

    def _record(self, event, kind, item):
        self.version += 1
        item["metadata"]["resourceVersion"] = str(self.version)
        self.changes.append((self.version, event, kind, copy.deepcopy(item)))
        if len(self.changes) > HISTORY:
            self.oldest = self.changes.pop(0)[0]
        self.changed.notify_all()

    def create(self, kind, item):
        with self.changed:
            name = item["metadata"]["name"]
            if name in self.kinds.setdefault(kind, {}):
                raise Conflict(name)
            item = copy.deepcopy(item)
            item["metadata"].update(uid=str(uuid.uuid4()), creationTimestamp=now(), generation=1)
            self.kinds[kind][name] = item
            self._record("ADDED", kind, item)
            return copy.deepcopy(item)

    def get(self, kind, name):
        with self.changed:
            return copy.deepcopy(self.kinds.get(kind, {}).get(name))

    def list(self, kind, selector=""):
        with self.changed:
            found = [copy.deepcopy(item) for item in self.kinds.get(kind, {}).values()
                     if matches(selector, item["metadata"].get("labels", {}))]
            return found, self.version

    def update(self, kind, name, change):
        """change(item) in place; nothing where it is gone or nothing changes."""
        with self.changed:
            item = self.kinds.get(kind, {}).get(name)
            if item is None:
                return
            before = copy.deepcopy(item)
            change(item)
            if item != before:
                self._record("MODIFIED", kind, item)

    def remove(self, kind, name):
        with self.changed:
            item = self.kinds.get(kind, {}).pop(name, None)
            if item is not None:
                self._record("DELETED", kind, item)

    def forget(self):
        """Watches that begin before now are told 410."""
        with self.changed:
            self.version += 1
            self.oldest = self.version
            self.changes.clear()

    def cut_watches(self):
        with self.changed:
            self.cut += 1
            self.changed.notify_all()

    def watch(self, kind, selector, version, end, bookmarks):
        """Yields (type, object) until the time `end`, or until watches are cut."""
        with self.changed:
            cut = self.cut
            if version < self.oldest:
                yield "ERROR", {"kind": "Status", "status": "Failure", "reason": "Expired", "code": 410,
                                "message": f"too old resource version: {version} ({self.oldest})"}
                return
        next_bookmark = time.time() + 0.5
        while True:
            with self.changed:
                news = [change for change in self.changes if change[0] > version]
                if not news and self.cut == cut:
                    self.changed.wait(0.1)
                    news = [change for change in self.changes if change[0] > version]
                latest = self.version
                if self.cut != cut:
                    return
            for at, event, changed_kind, item in news:
                version = at
                if changed_kind == kind and matches(selector, item["metadata"].get("labels", {})):
                    yield event, item
            if bookmarks and time.time() >= next_bookmark:
                next_bookmark = time.time() + 0.5
                version = max(version, latest) if not news else version
                yield "BOOKMARK", {"kind": "", "metadata": {"resourceVersion": str(version)}}
            if time.time() >= end:
                return
