"""What can go wrong, as exceptions that say what happened and what to do."""
from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Type

import grpc

from syncbn.v1 import error_pb2


class Error(Exception):
    """Of any failed request.

    code      the gRPC status code by its name, e.g. "INVALID_ARGUMENT"
    reason    why, for programs: "JOB_NOT_FOUND", ...; error.proto has the list. Empty where no coordinator answered
    message   what happened, for people
    hint      what to do about it; empty where the message says it
    metadata  values that the message contains, by name
    """

    def __init__(self, message: str, *, code: str = "UNKNOWN", reason: str = "", hint: str = "",
                 metadata: Optional[Mapping[str, str]] = None) -> None:
        super().__init__(message + ("\n  " + hint if hint else ""))
        self.message, self.code, self.reason, self.hint = message, code, reason, hint
        self.metadata = dict(metadata or {})


class InvalidRequest(Error):
    """Something of the request is wrong; it is wrong however often it is sent."""


class InvalidArgument(InvalidRequest, ValueError):
    """An argument that cannot be right; nothing was sent. `argument` is its name, `expected` what it should be."""

    def __init__(self, argument: str, problem: str, expected: str, *, hint: str = "") -> None:
        super().__init__(f"{argument}: {problem}; expected {expected}", code="INVALID_ARGUMENT", hint=hint)
        self.argument, self.expected = argument, expected


@dataclass(frozen=True)
class Fault:
    """One mistake in a run file or study file. Lines and columns count from 1; 0: none."""
    file: str
    line: int
    column: int
    path: str
    message: str
    text: str  # for people, with the line and a mark under it


class FileError(InvalidRequest):
    """The run file or study file is wrong; `faults` has every mistake with its place."""

    def __init__(self, message: str, faults: List[Fault], **more: Any) -> None:
        super().__init__(message, **more)
        self.faults = faults


class NotFound(Error):
    """There is no such job, study, attempt or log."""


class AccessDenied(Error):
    """No token, one that is not known, or one whose role does not allow this."""


class WrongState(Error):
    """The verb does not apply in the present state of the job or study."""


class Conflict(Error):
    """Somebody else has changed it meanwhile, or the request id was used for another request."""


class LimitReached(Error):
    """A quota, a rate or a size."""


class Unreachable(Error):
    """No coordinator answers, or what answers is none, or not in time."""


class WaitTimeout(Error, TimeoutError):
    """The time given to a wait has passed; the job or study goes on."""


class JobFailed(Error):
    """The job ended as FAILED. `failure_class` is CONFIG, USER, OOM, ...; `excerpt` what it printed last."""

    def __init__(self, message: str, *, failure_class: str, excerpt: str = "") -> None:
        super().__init__(message, code="FAILED", reason=failure_class)
        self.failure_class, self.excerpt = failure_class, excerpt


class JobCancelled(Error):
    """The job ended on request."""


class StudyFailed(Error):
    """The study cannot go on, or was cancelled."""


class MissingPackage(Error, ImportError):
    """A package that this needs is not installed."""


_TYPES: Mapping[str, Type[Error]] = {
    "INVALID_ARGUMENT": InvalidRequest, "OUT_OF_RANGE": InvalidRequest, "NOT_FOUND": NotFound,
    "UNAUTHENTICATED": AccessDenied, "PERMISSION_DENIED": AccessDenied, "FAILED_PRECONDITION": WrongState,
    "ABORTED": Conflict, "ALREADY_EXISTS": Conflict, "RESOURCE_EXHAUSTED": LimitReached,
    "UNAVAILABLE": Unreachable, "DEADLINE_EXCEEDED": Unreachable,
}
_HINTS: Mapping[str, str] = {
    "UNAUTHENTICATED": "give Client(token=...), or set SYNCBN_USER_TOKEN",
    "ROLE_TOO_LOW": "ask an admin for a token of another role, or the submitter to share it (syncbn serve --team)",
    "RATE_LIMITED": "ask less often; metadata['retry_after_ms'] says when again",
    "QUOTA_EXCEEDED": "wait for others to end, or cancel or delete some",
    "ETAG_MISMATCH": "refresh() and decide again",
    "JOB_NOT_FOUND": "client.jobs() lists those that there are",
    "STUDY_NOT_FOUND": "client.studies() lists those that there are",
}


def details_of(error: Any) -> Optional[error_pb2.ErrorInfo]:
    """What the coordinator itself says of an error; nothing where it is gRPC's own."""
    info = error_pb2.ErrorInfo()
    return info if any(detail.Unpack(info) for detail in _status_of(error).details) else None


def is_lost_connection(error: Any) -> bool:
    """Whether the connection failed and not the request: it may work a moment later."""
    code = error.code()
    if code == grpc.StatusCode.UNAVAILABLE:
        return True
    # How streams end when the server goes away; its own answers have details.
    return (code in (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.CANCELLED)
            and details_of(error) is None)


def error_of(error: Any, *, address: str, tls: bool, deadline: float) -> Error:
    """The exception for a grpc.RpcError."""
    code, message = str(error.code().name), str(error.details() or "")
    info = details_of(error)
    if info is None:
        return _of_connection(error, code, message, address, tls, deadline)
    more: Dict[str, Any] = {"code": code, "reason": info.reason, "metadata": dict(info.metadata)}
    faults = _faults_of(error)
    if faults:
        return FileError(_file_text(message, faults), faults, **more)
    return _TYPES.get(code, Error)(message, hint=_HINTS.get(info.reason, ""), **more)


def _status_of(error: Any) -> error_pb2.ErrorStatus:
    status = error_pb2.ErrorStatus()
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status.ParseFromString(value)
    return status


def _faults_of(error: Any) -> List[Fault]:
    errors = error_pb2.RunFileErrors()
    for detail in _status_of(error).details:
        if detail.Unpack(errors):
            return [Fault(one.file, one.line, one.column, one.path, one.message, one.text) for one in errors.errors]
    return []


def _file_text(message: str, faults: List[Fault]) -> str:
    text = "".join(fault.text for fault in faults)
    return message if message.startswith(text) else text + message


def _of_connection(error: Any, code: str, message: str, address: str, tls: bool, deadline: float) -> Error:
    if code == "DEADLINE_EXCEEDED":
        return Unreachable(f"the coordinator at {address} did not answer within {deadline:g} s", code=code,
                           hint="it may be overloaded, or the network drops packets; Client(deadline=...) waits longer")
    if code == "UNIMPLEMENTED":
        return Unreachable(f"what answers at {address} does not know this request ({message})", code=code,
                           hint="it is no coordinator of syncbn, or one of another version")
    size = re.search(r"message larger than max \((\d+) vs\. (\d+)\)", message)
    if size:
        return LimitReached(f"the message has {size.group(1)} bytes, of at most {size.group(2)}", code=code,
                            reason="TOO_LARGE", hint="send or ask for less at once")
    if not is_lost_connection(error):
        return _TYPES.get(code, Error)(f"{message} (asking the coordinator at {address})", code=code)
    return Unreachable(f"no coordinator answers at {address}: {message}", code=code, hint=_tls_hint(message, tls))


def _tls_hint(message: str, tls: bool) -> str:
    if tls and re.search("(?i)wrong.version.number", message):
        return "what listens there does not use TLS: leave out ca and SYNCBN_TLS_CA"
    if tls and "Peer name" in message:
        return "its certificate is for another name: give the address by a name that is in it"
    if tls and re.search("(?i)certificate|handshake", message):
        return "the authority in `ca` has not signed its certificate, or it wants one of yours: Client(cert=..., key=...)"
    if tls:
        return "it is not there, does not use TLS, or does not take your certificate"
    if re.search("(?i)socket closed|connection reset|broken pipe", message):
        return "if it uses TLS, give Client(ca=FILE) or SYNCBN_TLS_CA"
    return "start one with 'syncbn serve --data DIR', or name another: Client('HOST:PORT') or SYNCBN_SERVER"
