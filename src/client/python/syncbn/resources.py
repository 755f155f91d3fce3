"""What jobs and trials may use, as keyword arguments; and how names and times are written."""
from __future__ import annotations

import datetime
import re
from typing import Any, List, Mapping, Optional, Sequence, Union

from syncbn import arguments
from syncbn.arguments import TimeLimit
from syncbn.errors import InvalidArgument, WrongState
from syncbn.v1 import job_pb2


def resources_of(*, processes: Optional[int] = None, threads: int, memory_mib: int, priority: int, time_limit: TimeLimit,
                 max_retries: Optional[int], host_tags: Sequence[str], hosts: Sequence[str],
                 excluded_hosts: Sequence[str], processes_per_host: int) -> job_pb2.Resources:
    resources = job_pb2.Resources(
        threads_per_process=arguments.whole("threads", threads, 1),
        memory_mib_per_process=arguments.whole("memory_mib", memory_mib, 0, bits=64),
        priority=arguments.whole("priority", priority, -1000),
        host_tags=arguments.texts("host_tags", host_tags), hosts=arguments.texts("hosts", hosts),
        excluded_hosts=arguments.texts("excluded_hosts", excluded_hosts),
        max_processes_per_host=arguments.whole("processes_per_host", processes_per_host, 0))
    if processes is not None:
        resources.processes = arguments.whole("processes", processes, 1)
    limit = arguments.time_limit(time_limit)
    if limit is not None:
        resources.time_limit.FromTimedelta(limit)
    if max_retries is not None:
        resources.max_retries = arguments.whole("max_retries", max_retries, 0)
    return resources


def texts_of(labels: Optional[Mapping[str, object]]) -> Mapping[str, str]:
    def text(key: str, value: object) -> str:
        if value is None:
            raise InvalidArgument(f"labels[{key!r}]", "None", "a text or a number")
        return arguments.text(f"labels[{key!r}]", str(value))
    return {key: text(key, value) for key, value in arguments.mapping("labels", labels).items()}


def resource_name(name: Union[int, str], collection: str) -> str:
    """`jobs/17` of 17, "17" or "jobs/17"."""
    number = str(name)[len(collection) + 1:] if str(name).startswith(collection + "/") else str(name)
    if not re.fullmatch("[0-9]+", number):
        raise InvalidArgument("name", f"{name!r} is no number", f"one as in 17 or '{collection}/17'")
    return f"{collection}/{number}"


def submitted_name(message: Any, kind: str) -> str:
    """The name of a job or study; WrongState for one that was only checked, which has none."""
    if not message.name:
        raise WrongState(f"the {kind} {message.display_name!r} was checked, not submitted: there is no such {kind}",
                         code="FAILED_PRECONDITION", hint="submit it without check=True")
    return str(message.name)


def time_of(message: Any, field: str) -> Optional[datetime.datetime]:
    """A timestamp field in UTC; None where it is not set."""
    if not message.HasField(field):
        return None
    moment: datetime.datetime = getattr(message, field).ToDatetime(tzinfo=datetime.timezone.utc)
    return moment


def filter_of(filter: str, labels: Optional[Mapping[str, object]], states: Sequence[str] = ()) -> str:
    """The terms of ListJobsRequest.filter."""
    terms: List[str] = [arguments.text("filter", filter)] if filter else []
    terms += [f"labels.{key} = {_quoted(f'labels[{key!r}]', value)}" for key, value in texts_of(labels).items()]
    terms += [f"state = {arguments.text('state', state)}" for state in states]
    return " AND ".join(terms)


def _quoted(name: str, value: str) -> str:
    if '"' in value:  # which would end it, and what follows would be read as a filter
        raise InvalidArgument(name, f"{value!r} has a quote in it", "letters, digits, '.', '_' and '-', as labels have")
    return '"' + value + '"'
