"""What jobs and trials may use, as keyword arguments; and how names and times are written."""
from __future__ import annotations

import datetime
from typing import Any, List, Mapping, Optional, Sequence, Union

from syncbn.errors import InvalidRequest
from syncbn.v1 import job_pb2

TimeLimit = Union[None, float, datetime.timedelta]


def resources_of(*, processes: int = 0, threads: int, memory_mib: int, priority: int, time_limit: TimeLimit,
                 max_retries: Optional[int], host_tags: Sequence[str], hosts: Sequence[str],
                 excluded_hosts: Sequence[str], processes_per_host: int) -> job_pb2.Resources:
    resources = job_pb2.Resources(
        processes=processes, threads_per_process=threads, memory_mib_per_process=memory_mib, priority=priority,
        host_tags=host_tags, hosts=hosts, excluded_hosts=excluded_hosts, max_processes_per_host=processes_per_host)
    if time_limit is not None:
        limit = time_limit if isinstance(time_limit, datetime.timedelta) else datetime.timedelta(seconds=time_limit)
        resources.time_limit.FromTimedelta(limit)
    if max_retries is not None:
        resources.max_retries = max_retries
    return resources


def texts_of(labels: Optional[Mapping[str, object]]) -> Mapping[str, str]:
    return {key: str(value) for key, value in (labels or {}).items()}


def resource_name(name: Union[int, str], collection: str) -> str:
    """`jobs/17` of 17, "17" or "jobs/17"."""
    number = str(name)[len(collection) + 1:] if str(name).startswith(collection + "/") else str(name)
    if not number.isdigit():
        raise InvalidRequest(f"{name!r} is no number, as in 17 or '{collection}/17'", code="INVALID_ARGUMENT")
    return f"{collection}/{number}"


def time_of(message: Any, field: str) -> Optional[datetime.datetime]:
    """A timestamp field in UTC; None where it is not set."""
    if not message.HasField(field):
        return None
    moment: datetime.datetime = getattr(message, field).ToDatetime(tzinfo=datetime.timezone.utc)
    return moment


def filter_of(filter: str, labels: Optional[Mapping[str, object]], states: Sequence[str] = ()) -> str:
    """The terms of ListJobsRequest.filter."""
    terms: List[str] = [filter] if filter else []
    terms += [f"labels.{key} = {_quoted(value)}" for key, value in texts_of(labels).items()]
    terms += [f"state = {state}" for state in states]
    return " AND ".join(terms)


def _quoted(value: str) -> str:
    return '"' + value + '"'
