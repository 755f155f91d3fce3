"""What happens to a job, as one series of events out of three streams."""
from __future__ import annotations

import datetime
import queue
import threading
from dataclasses import dataclass
from typing import Any, Callable, Iterator, List, Optional, Tuple, Union

from syncbn.connection import Connection, Stream
from syncbn.errors import NotFound
from syncbn.resources import time_of
from syncbn.v1 import job_pb2, log_pb2, metrics_pb2

_ENDED = ("SUCCEEDED", "FAILED", "CANCELLED")


@dataclass(frozen=True)
class StateChange:
    """The job is in another state now. from_state is empty for the first, which tells where it is when the following
    begins."""
    from_state: str
    to_state: str
    reason: str
    actor: str
    attempt: int
    time: Optional[datetime.datetime]


@dataclass(frozen=True)
class Metric:
    """A point of a series. Steps count from 0; the value may be infinite or not a number."""
    name: str
    step: int
    value: float
    attempt: int
    rank: int
    time: datetime.datetime


@dataclass(frozen=True)
class LogLine:
    """A line that a process has printed, led by its rank: "3: text". `attempt` counts the starts of the job."""
    text: str
    attempt: int


Event = Union[StateChange, Metric, LogLine]
# What a reader hands over: the stream it is of and a response, or what ended the stream (None: its end).
_Item = Tuple["Stream[Any]", Any, Optional[BaseException], bool]


class _Readers:
    """Reads streams in threads of their own into one queue."""

    def __init__(self) -> None:
        self._queue: "queue.Queue[_Item]" = queue.Queue(maxsize=256)
        self.open: List[Stream[Any]] = []

    def start(self, stream: "Stream[Any]") -> None:
        self.open.append(stream)
        threading.Thread(target=self._read, args=(stream, ), daemon=True, name="syncbn follow").start()

    def next(self) -> _Item:
        """Of a stream that is open; what others still had on its way counts no more."""
        while True:
            item = self._queue.get()
            if item[0] in self.open:
                break
        if item[3]:
            self.open.remove(item[0])
        return item

    def close(self, stream: "Stream[Any]") -> None:
        stream.close()
        self.open.remove(stream)

    def stop(self) -> None:
        for stream in self.open:
            stream.close()

    def _read(self, stream: "Stream[Any]") -> None:
        failure: Optional[BaseException] = None
        try:
            for response in stream:
                if not self._put(stream, (stream, response, None, False)):
                    return
        except BaseException as error:
            failure = error
        self._put(stream, (stream, None, failure, True))

    def _put(self, stream: "Stream[Any]", item: _Item) -> bool:
        """False once the stream was closed: nobody takes anything any more."""
        while not stream.closed:
            try:
                self._queue.put(item, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False


class _LogLines:
    """Whole lines out of the pieces in which a log comes."""

    def __init__(self, attempt: int) -> None:
        self.attempt, self._rest = attempt, b""

    def take(self, data: bytes, end: bool) -> Iterator[LogLine]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if end and self._rest:
            lines, self._rest = lines + [self._rest], b""
        for line in lines:
            yield LogLine(line.decode(errors="replace"), self.attempt)


def follow(connection: Connection, job: str, states: "Stream[job_pb2.WatchJobsResponse]",
           metrics: Optional[List[str]], log: bool) -> Iterator[Event]:
    """See Job.follow. `metrics`: None for no points, no names for all."""
    readers = _Readers()
    points = None if metrics is None else _metric_stream(connection, job, metrics)
    lines: "dict[Stream[Any], _LogLines]" = {}
    state, last, next_attempt = "", None, 1
    try:
        readers.start(states)
        if points is not None:
            readers.start(points)
        while readers.open:
            stream, response, failure, ended = readers.next()
            if failure is not None:
                raise failure
            if ended:
                continue
            if stream is points:
                if response.WhichOneof("event") == "end":
                    readers.close(points)
                else:
                    yield from _points_of(response)
            elif stream is states:
                found = _state_in(response, job, state)
                if found is None:
                    continue
                seen, change = found
                for attempt in range(next_attempt, seen.attempt + 1 if log else 0):
                    lines[reader := _log_stream(connection, job, attempt)] = _LogLines(attempt)
                    readers.start(reader)
                next_attempt = max(next_attempt, seen.attempt + 1)
                if change is None:
                    continue
                state = change.to_state
                if state in _ENDED:
                    # Held back until all that came before it is told.
                    last = change
                    readers.close(states)
                else:
                    yield change
            elif response.WhichOneof("event") == "chunk":
                yield from lines[stream].take(response.chunk.data, response.chunk.end)
        if last is not None:
            yield last
    finally:
        readers.stop()


def _state_in(response: job_pb2.WatchJobsResponse, job: str,
              before: str) -> Optional[Tuple[job_pb2.Job, Optional[StateChange]]]:
    """The job, and the change of its state if this is one."""
    event = response.WhichOneof("event")
    name: Callable[[int], str] = job_pb2.Job.State.Name
    if event == "deleted":
        raise NotFound(f"{job} has been deleted", code="NOT_FOUND", reason="JOB_NOT_FOUND")
    if event == "snapshot":
        seen, state = response.snapshot, name(response.snapshot.state)
        return seen, None if state == before else StateChange(
            from_state=before, to_state=state, reason=seen.pending.message, actor="", attempt=seen.attempt,
            time=time_of(seen, "update_time"))
    if event != "change":
        return None
    if not response.change.HasField("transition"):
        return response.change.job, None
    moved = response.change.transition
    return response.change.job, None if name(moved.to_state) == before else StateChange(
        from_state=name(moved.from_state), to_state=name(moved.to_state), reason=moved.reason, actor=moved.actor,
        attempt=moved.attempt, time=time_of(moved, "time"))


def _points_of(response: metrics_pb2.WatchMetricsResponse) -> Iterator[Metric]:
    update = response.update
    batch = update.batch
    for name, step, value, microseconds in zip(batch.name_index, batch.step, batch.value, batch.time_us):
        yield Metric(batch.names[name], step, value, update.attempt, update.rank,
                     datetime.datetime.fromtimestamp(microseconds / 1e6, datetime.timezone.utc))


def _metric_stream(connection: Connection, job: str, names: List[str]) -> "Stream[metrics_pb2.WatchMetricsResponse]":
    request = metrics_pb2.WatchMetricsRequest(job=job, names=names)

    def advance(response: metrics_pb2.WatchMetricsResponse) -> None:
        if response.cursor:
            request.cursor = response.cursor
    return Stream(connection, open=lambda: connection.metrics.WatchMetrics(request, metadata=connection.metadata()),
                  advance=advance, ends=True)


def _log_stream(connection: Connection, job: str, attempt: int) -> "Stream[log_pb2.FollowLogResponse]":
    request = log_pb2.FollowLogRequest(name=f"{job}/attempts/{attempt}/logs/output")

    def advance(response: log_pb2.FollowLogResponse) -> None:
        if response.WhichOneof("event") == "chunk":
            request.offset = response.chunk.next_offset
    return Stream(connection, open=lambda: connection.logs.FollowLog(request, metadata=connection.metadata()),
                  advance=advance, ends=True)
