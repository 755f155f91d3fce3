"""Figures as pandas frames. pandas is imported when the first one is asked for."""
from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence, Tuple, Union

from syncbn import arguments
from syncbn.connection import Connection
from syncbn.errors import MissingPackage, NotFound
from syncbn.v1 import metrics_pb2

if TYPE_CHECKING:
    import pandas

Names = Union[None, str, Sequence[str]]

# What the server thins a series out to at most, and so how many steps of it come in one answer.
_MOST_STEPS = 20_000
# Of all series of an answer: it has at most 3 MiB, and a point up to 50 bytes.
_MOST_POINTS = 50_000


def load_pandas() -> Any:
    try:
        import pandas
    except ImportError:
        raise MissingPackage("figures come as pandas frames, and pandas is not installed", hint="pip install pandas, or "
                             "on Debian: apt-get install python3-pandas") from None
    return pandas


def name_list(names: Names) -> List[str]:
    return [] if names is None else [arguments.text("names", names)] if isinstance(names, str) else \
        arguments.texts("names", names)


def series_of(connection: Connection, job: str) -> List[metrics_pb2.SeriesInfo]:
    return list(connection.call(connection.metrics.ListSeries, metrics_pb2.ListSeriesRequest(job=job)).series)


def check_fit(names: Names, series: Sequence[metrics_pb2.SeriesInfo], of: str, ended: bool) -> None:
    """Says so where a name fits no series, and which there are: as NotFound where all has been reported, as a warning
    while another may still come."""
    there = sorted({one.name for one in series})
    unfit = [name for name in name_list(names) if not any(_matches(one, name) for one in there)]
    if not unfit:
        return
    most = 30
    known = ", ".join(there[:most]) + (f" and {len(there) - most} more" if len(there) > most else "")
    message = (f"{of} no series that fits " + " or ".join(repr(name) for name in unfit) + ("" if ended else " by now")
               + (f"; there are {known}" if there else "; there is none at all"))
    if ended:
        raise NotFound(message, code="NOT_FOUND", reason="SERIES_NOT_FOUND",
                       hint="a * at the end of a name stands for all that begin so")
    warnings.warn(message, stacklevel=3)


def metrics_frame(connection: Connection, job: str, there: Sequence[metrics_pb2.SeriesInfo], *, names: Names,
                  rank: Optional[int], attempt: Optional[int], points: Optional[int],
                  steps_per_epoch: Optional[int]) -> "pandas.DataFrame":
    """See Job.metrics; `there` are all its series."""
    pandas = load_pandas()
    wanted = name_list(names)
    found = [one for one in there if not wanted or any(_matches(one.name, name) for name in wanted)]
    columns: Dict[str, Tuple[List[int], List[float]]] = {one.name: ([], []) for one in found}
    for request in _requests(found, job, points):
        if rank is not None:
            request.rank = rank
        if attempt is not None:
            request.attempt = attempt
        for series in connection.call(connection.metrics.QueryMetrics, request).series:
            columns[series.name][0].extend(series.first_step)
            columns[series.name][1].extend(series.mean)
    steps = sorted({step for at, _ in columns.values() for step in at})
    frame = pandas.DataFrame({"step": pandas.Series(steps, dtype="int64")})
    if steps_per_epoch:
        frame["epoch"] = frame["step"] // steps_per_epoch
    for name, (at, values) in columns.items():
        series = pandas.Series(values, index=at, dtype="float64")
        frame[name] = series.reindex(steps).to_numpy()
    return frame


def _matches(name: str, wanted: str) -> bool:
    return name.startswith(wanted[:-1]) if wanted.endswith("*") else name == wanted


def _requests(found: Sequence[Any], job: str, points: Optional[int]) -> List[Any]:
    """The questions by which all that was asked for comes, in order."""
    if not found:
        return []
    first, last = min(one.first_step for one in found), max(one.last_step for one in found)
    window = _MOST_STEPS if points is None else last - first + 1
    buckets = min(_MOST_STEPS, last - first + 1) if points is None else max(1, min(points, _MOST_STEPS))
    at_once = max(1, _MOST_POINTS // buckets)
    requests = []
    for begin in range(first, last + 1, window):
        for group in range(0, len(found), at_once):
            requests.append(metrics_pb2.QueryMetricsRequest(
                job=job, names=[one.name for one in found[group:group + at_once]], first_step=begin,
                last_step=begin + window - 1, max_buckets=buckets))
    return requests
