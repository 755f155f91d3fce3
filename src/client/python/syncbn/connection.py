"""Calls of a coordinator: each with a deadline, tried again where the connection failed; streams that go on where
they were cut."""
from __future__ import annotations

import re
import threading
import time
import uuid
from typing import Any, Callable, Generic, Iterator, List, Optional, Tuple, TypeVar

import grpc

from syncbn import arguments
from syncbn.arguments import PathLike
from syncbn.errors import InvalidArgument, WrongState, error_of, is_lost_connection
from syncbn.v1 import job_pb2_grpc, log_pb2_grpc, metrics_pb2_grpc, study_service_pb2_grpc

R = TypeVar("R")

_CHANNEL_OPTIONS = [
    # A peer that has silently gone is noticed; the server allows a ping every 20 s.
    ("grpc.keepalive_time_ms", 30_000), ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    # A coordinator that is being restarted is found again soon.
    ("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    # Every mistake of a long run file comes in the trailers, which gRPC cuts at 8 KiB otherwise.
    ("grpc.max_metadata_size", 4 << 20), ("grpc.max_receive_message_length", 64 << 20),
    # Proxies are for the web; a coordinator is reached directly.
    ("grpc.enable_http_proxy", 0),
]


class Connection:
    """Nothing is sent before the first call. Safe to use from several threads."""

    def __init__(self, address: str, *, token: Optional[str], ca: Optional[PathLike], cert: Optional[PathLike],
                 key: Optional[PathLike], deadline: float, tries: int) -> None:
        port = re.fullmatch(r"unix:/.+|[^\s/]+:([0-9]{1,5})", arguments.text("address", address))
        if port is None or int(port.group(1) or 0) > 65535:
            raise InvalidArgument("address", repr(address), "HOST:PORT, e.g. 127.0.0.1:7700, or unix:/PATH")
        self.address, self.token = address, token
        self.deadline, self.tries = arguments.seconds("deadline", deadline, low=0.001), arguments.whole("tries", tries, 1)
        self.ca, self.cert, self.key = ca, cert, key
        self._closed = False
        self.channel: Any = self._open()
        self.jobs = self._stub(job_pb2_grpc.JobServiceStub)
        self.logs = self._stub(log_pb2_grpc.LogServiceStub)
        self.metrics = self._stub(metrics_pb2_grpc.MetricsServiceStub)
        self.studies = self._stub(study_service_pb2_grpc.StudyServiceStub)

    def call(self, method: Any, request: Any) -> Any:
        """One answer. A request that has a field request_id and none in it is given one, which all tries share: so
        it is carried out once."""
        if "request_id" in request.DESCRIPTOR.fields_by_name and not request.request_id:
            request.request_id = str(uuid.uuid4())
        pause = 0.1
        for left in range(self.tries, 0, -1):
            try:
                return method(request, timeout=self.deadline, metadata=self.metadata())
            except grpc.RpcError as error:
                if left == 1 or error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise self.error(error) from None
            self.rest(pause)
            pause *= 2
        raise AssertionError("unreachable")

    def pages(self, method: Any, request: Any, field: str, limit: Optional[int] = None) -> List[Any]:
        """The elements of a list in pages, at most `limit`."""
        found: List[Any] = []
        if arguments.optional_whole("limit", limit, 0) == 0:
            return found
        while True:
            if limit is not None:
                request.page_size = min(1000, limit - len(found))
            answer = self.call(method, request)
            found += getattr(answer, field)
            request.page_token = answer.next_page_token
            if not request.page_token or (limit is not None and len(found) >= limit):
                return found[:limit]

    def metadata(self) -> List[Tuple[str, str]]:
        """What goes with every request."""
        if self._closed:
            raise WrongState("this client was closed", code="FAILED_PRECONDITION", hint="make another one with Client()")
        # As the size of metadata above: the server then leaves nothing out.
        return [("syncbn-max-details", "1000000")] + (
            [("authorization", "Bearer " + self.token)] if self.token else [])

    def rest(self, seconds: float) -> None:
        """Rests so long, or until there is a connection where there was none. gRPC makes connections only while
        somebody waits for one."""
        states: List[Any] = []
        connected = threading.Event()

        def note(state: Any) -> None:
            if state == grpc.ChannelConnectivity.READY and states:
                connected.set()
            states.append(state)

        self.channel.subscribe(note, try_to_connect=True)
        connected.wait(seconds)
        self.channel.unsubscribe(note)

    def error(self, error: Any) -> Exception:
        return error_of(error, address=self.address, tls=self.ca is not None, deadline=self.deadline)

    def close(self) -> None:
        self._closed = True
        self.channel.close()

    def _stub(self, stub: Any) -> Any:
        # What protoc generates of services has no types.
        return stub(self.channel)

    def _open(self) -> Any:
        if self.ca is None:
            if self.cert is not None or self.key is not None:
                raise InvalidArgument("cert and key", "given without ca", "ca as well")
            return grpc.insecure_channel(self.address, _CHANNEL_OPTIONS)
        if (self.cert is None) != (self.key is None):
            raise InvalidArgument("cert and key", "one is missing", "both")
        pem = [None if path is None else _pem(name, path)
               for name, path in (("ca", self.ca), ("key", self.key), ("cert", self.cert))]
        credentials = grpc.ssl_channel_credentials(root_certificates=pem[0], private_key=pem[1],
                                                   certificate_chain=pem[2])
        return grpc.secure_channel(self.address, credentials, _CHANNEL_OPTIONS)


def _pem(name: str, path: PathLike) -> bytes:
    text = arguments.file_bytes(name, path)
    if b"-----BEGIN" not in text:
        raise InvalidArgument(name, f"{path} is no PEM file", "one that begins with -----BEGIN")
    return text


class Stream(Generic[R]):
    """A stream that is opened again after the connection was lost, from where the last response left off, with
    growing pauses; a coordinator that was never there is an error at once, one that has gone after `patience` seconds.
    To be iterated by one thread; close() may come from another.

    open      opens it from where it is
    advance   remembers where to go on after this response
    restart   the place to go on from is no longer kept: start anew. None: that is an error
    ends      one that the server ends in good order is complete
    """

    PATIENCE = 600.0
    FIRST_TRIES = 4

    def __init__(self, connection: Connection, open: Callable[[], Any], advance: Callable[[R], None],
                 restart: Optional[Callable[[], None]] = None, ends: bool = False) -> None:
        self._connection, self._open, self._advance = connection, open, advance
        self._restart, self._ends = restart, ends
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._call: Any = None

    @property
    def closed(self) -> bool:
        return self._stopped.is_set()

    def close(self) -> None:
        with self._lock:
            self._stopped.set()
            if self._call is not None:
                self._call.cancel()

    def __iter__(self) -> Iterator[R]:
        ever, tries, pause, lost_since = False, 0, 0.1, time.monotonic()
        while not self.closed:
            failure: Any = None
            came = False
            with self._lock:
                if self.closed:
                    return
                call = self._call = self._open()
            try:
                for response in call:
                    came = ever = True
                    self._advance(response)
                    yield response
            except grpc.RpcError as error:
                failure = error
            finally:
                call.cancel()
            if self.closed or (failure is None and self._ends):
                return
            if failure is not None and not is_lost_connection(failure):
                if failure.code() != grpc.StatusCode.OUT_OF_RANGE or self._restart is None:
                    raise self._connection.error(failure) from None
                self._restart()
            tries += 1
            if came:
                pause, lost_since = 0.1, time.monotonic()
            gone = time.monotonic() - lost_since > self.PATIENCE if ever else tries >= self.FIRST_TRIES
            if gone and failure is not None:
                raise self._connection.error(failure) from None
            if failure is None:
                self._stopped.wait(pause)
            else:
                self._connection.rest(pause)
            pause = min(pause * 2, 1.0)
