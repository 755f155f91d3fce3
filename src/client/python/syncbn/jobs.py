"""A job of a coordinator: what it is, what becomes of it, its figures and its log."""
from __future__ import annotations

import datetime
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Literal, Mapping, Optional, Union, cast

from syncbn import arguments
from syncbn import follow as following
from syncbn import html
from syncbn.connection import Connection, Stream
from syncbn.errors import JobCancelled, JobFailed, NotFound, WaitTimeout, WrongState
from syncbn.frames import Names, check_fit, load_pandas, metrics_frame, name_list, series_of
from syncbn.resources import submitted_name, time_of
from syncbn.v1 import job_pb2, log_pb2, metrics_pb2

if TYPE_CHECKING:
    import pandas

JobState = Literal["QUEUED", "STARTING", "RUNNING", "PAUSING", "PAUSED", "RECOVERING", "CANCELLING", "SUCCEEDED",
                   "FAILED", "CANCELLED"]
ENDED = ("SUCCEEDED", "FAILED", "CANCELLED")


@dataclass(frozen=True)
class Progress:
    """Where a job is. total_steps is 0 while not known."""
    step: int
    total_steps: int
    epoch: float
    phase: str
    checkpoint_step: Optional[int]


@dataclass(frozen=True)
class Failure:
    """Why a job failed. failure_class is CONFIG, USER, INFRA, STALL, OOM, TIMEOUT, DIVERGED or STORAGE."""
    failure_class: str
    message: str
    rank: Optional[int]
    host: str
    excerpt: str


@dataclass(frozen=True)
class JobResult:
    """What a job that has ended came to. Accuracies are shares of the test split, None where nothing was evaluated;
    seconds are of STARTING and RUNNING over all attempts."""
    state: JobState
    steps: int
    test_accuracy: Optional[float]
    best_test_accuracy: Optional[float]
    seconds: float
    attempts: int
    output_folder: str
    failure: Optional[Failure]


class Job:
    """Made by Client.submit, Client.job and Client.jobs. What can change (state, progress, ...) is asked of the
    coordinator when it is read, until the job has been seen to have ended; refresh() asks in any case. One of
    Client.submit(check=True) has a title and labels, and no more: all else raises WrongState."""

    def __init__(self, connection: Connection, message: job_pb2.Job) -> None:
        self._connection, self._message = connection, message

    @property
    def name(self) -> str:
        """`jobs/17`."""
        return submitted_name(self._message, "job")

    @property
    def id(self) -> int:
        return int(self.name.rpartition("/")[2])

    @property
    def title(self) -> str:
        """The name in its run file."""
        return str(self._message.display_name)

    @property
    def labels(self) -> Dict[str, str]:
        return dict(self._message.labels)

    @property
    def processes(self) -> int:
        return int(self._current().resources.processes or 1)

    @property
    def state(self) -> JobState:
        return _state_of(self._current())

    @property
    def waits_for(self) -> str:
        """Why a job that is QUEUED waits, in words; empty for any other."""
        return str(self._current().pending.message)

    @property
    def progress(self) -> Progress:
        progress = self._current().progress
        return Progress(progress.step, progress.total_steps, progress.epoch, progress.phase,
                        progress.checkpoint_step if progress.HasField("checkpoint_step") else None)

    @property
    def failure(self) -> Optional[Failure]:
        """Why the job failed, or its last attempt did."""
        return _failure_of(self._current())

    @property
    def result(self) -> JobResult:
        """Raises WrongState while the job goes on."""
        job = self._current()
        if _state_of(job) not in ENDED:
            raise WrongState(f"{self.name} is {_state_of(job)} and has no result yet", code="FAILED_PRECONDITION",
                             hint="wait() for its end")
        evaluation = job.evaluation
        return JobResult(
            state=_state_of(job), steps=job.progress.step,
            test_accuracy=evaluation.accuracy if evaluation.HasField("accuracy") else None,
            best_test_accuracy=evaluation.best_accuracy if evaluation.HasField("best_accuracy") else None,
            seconds=job.used_time.ToTimedelta().total_seconds(), attempts=job.attempt,
            output_folder=job.output_folder, failure=_failure_of(job))

    @property
    def created(self) -> Optional[datetime.datetime]:
        return time_of(self._message, "create_time")

    def run_file(self, effective: bool = False) -> str:
        """As it was submitted, or with the value in effect of every key and where it is from."""
        job = self._connection.call(self._connection.jobs.GetJob,
                                    job_pb2.GetJobRequest(name=self.name, view=job_pb2.JOB_VIEW_FULL))
        return str(job.effective_run_file if effective else job.run_file)

    def refresh(self) -> "Job":
        self._message = self._connection.call(
            self._connection.jobs.GetJob, job_pb2.GetJobRequest(name=self.name, view=job_pb2.JOB_VIEW_BASIC))
        return self

    def wait(self, timeout: Optional[float] = None, *, check: bool = True) -> "Job":
        """Until it has ended; a coordinator that is being restarted meanwhile is waited for. Ctrl-C leaves the job
        running. Raises WaitTimeout after `timeout` seconds, and, unless `check` is false, JobFailed or JobCancelled
        where it did not succeed."""
        if timeout is not None:
            arguments.seconds("timeout", timeout)
        stream = self._watch()
        timer = threading.Timer(timeout, stream.close) if timeout is not None else None
        if timer is not None:
            timer.daemon = True
            timer.start()
        try:
            for response in stream:
                job = _job_in(response, self.name)
                if job is not None and _state_of(job) in ENDED:
                    break
            else:
                raise WaitTimeout(f"{self.name} has not ended within {timeout:g} s", code="DEADLINE_EXCEEDED",
                                  hint="it goes on: wait() again, or cancel() it")
        finally:
            if timer is not None:
                timer.cancel()
            stream.close()
        self.refresh()
        if check:
            self._raise_unless_succeeded()
        return self

    def follow(self, *, metrics: Union[bool, Names] = True, log: bool = False) -> "Iterator[following.Event]":
        """What happens until the job has ended, the past first: StateChange, Metric and LogLine. Goes on where it was
        cut when the connection or the coordinator was lost; nothing comes twice, nothing is missing. The last is the
        change to its end. `metrics` are names of series ("train/loss"; a name that ends in * stands for all that begin
        so), True for all, False for none."""
        names = None if metrics is False else [] if metrics is True else name_list(metrics)
        if names and _state_of(self._current()) in ENDED:
            check_fit(names, series_of(self._connection, self.name), f"{self.name} has", True)
        return following.follow(self._connection, self.name, self._watch(), names, log)

    def metrics(self, names: Names = None, *, rank: Optional[int] = None, attempt: Optional[int] = None,
                points: Optional[int] = None) -> "pandas.DataFrame":
        """A frame with the columns step, epoch (where it is known) and one for each series, NaN where a series has no
        value at a step or one that is not finite. Steps and epochs count from 0. Of all steps; with `points` each
        series is thinned out to so many means, at the first step of each. Where two attempts did the same step, the
        later one counts, unless `attempt` says which. A name that fits no series of a job that has ended raises
        NotFound, which lists those that there are; while the job goes on that is a warning."""
        load_pandas()
        job = self._current()
        there = series_of(self._connection, self.name)
        check_fit(names, there, f"{self.name} has", _state_of(job) in ENDED)
        frame = self._frame(there, names, rank=rank, attempt=attempt, points=points)
        if rank is not None and there and frame.empty and _state_of(job) in ENDED:
            raise NotFound(f"{self.name} has no metrics of rank {rank}", code="NOT_FOUND", reason="SERIES_NOT_FOUND",
                           hint="ranks count from 0; rank 0 reports what is of the whole job")
        return frame

    def log(self, *, attempt: Optional[int] = None, rank: Optional[int] = None) -> str:
        """What the processes of an attempt, by default the last, have printed by now, each line led by its rank
        ("3: text"). Empty where none was started."""
        number = arguments.optional_whole("attempt", attempt, 1) or self._current().attempt
        if not number:
            return ""
        request = log_pb2.ReadLogRequest(name=f"{self.name}/attempts/{number}/logs/output", max_bytes=3 << 20)
        if rank is not None:
            request.rank = arguments.whole("rank", rank, 0)
        data = b""
        while True:
            chunk = self._connection.call(self._connection.logs.ReadLog, request)
            data += chunk.data
            if chunk.end or chunk.next_offset == chunk.offset:
                return data.decode(errors="replace")
            request.offset = chunk.next_offset

    def cancel(self, *, kill: bool = False, reason: str = "") -> "Job":
        """Ends it for good: with a checkpoint, or with `kill` at once. Returns before it has ended."""
        return self._act(self._connection.jobs.CancelJob,
                         job_pb2.CancelJobRequest(name=self.name, kill=bool(kill), reason=arguments.text("reason", reason)))

    def pause(self, *, reason: str = "") -> "Job":
        """Ends its attempt with a checkpoint and gives its slots back."""
        return self._act(self._connection.jobs.PauseJob,
                         job_pb2.PauseJobRequest(name=self.name, reason=arguments.text("reason", reason)))

    def resume(self, *, processes: Optional[int] = None, reason: str = "") -> "Job":
        """Queues a paused job again; it goes on from its last checkpoint, with the same bits on any number of
        processes."""
        return self._again(self._connection.jobs.ResumeJob,
                           job_pb2.ResumeJobRequest(name=self.name, reason=arguments.text("reason", reason)), processes)

    def retry(self, *, processes: Optional[int] = None, reason: str = "") -> "Job":
        """Queues a job that has failed or was cancelled again, from its last checkpoint."""
        return self._again(self._connection.jobs.RetryJob,
                           job_pb2.RetryJobRequest(name=self.name, reason=arguments.text("reason", reason)), processes)

    def delete(self) -> None:
        """Forgets a job that has ended, with its metrics, log and history; its output folder stays."""
        self._connection.call(self._connection.jobs.DeleteJob, job_pb2.DeleteJobRequest(name=self.name))

    def __repr__(self) -> str:
        if not self._message.name:
            return f"<job {self.title!r}: checked, not submitted>"
        return f"<{self.name} {self.title!r} {_state_of(self._message)}{_progress_text(self._message)}>"

    def _repr_html_(self) -> str:
        return html.table(_COLUMNS, [job_row(self._message)])

    def _current(self) -> job_pb2.Job:
        if _state_of(self._message) not in ENDED:
            self.refresh()
        return self._message

    def _act(self, method: Any, request: Any) -> "Job":
        self._message = self._connection.call(method, request)
        return self

    def _frame(self, there: List[metrics_pb2.SeriesInfo], names: Names, *, points: Optional[int],
               rank: Optional[int] = None, attempt: Optional[int] = None) -> "pandas.DataFrame":
        progress = self._message.progress
        per_epoch = round(progress.step / progress.epoch) if progress.step and progress.epoch else None
        return metrics_frame(self._connection, self.name, there, names=names,
                             rank=arguments.optional_whole("rank", rank, 0),
                             attempt=arguments.optional_whole("attempt", attempt, 1),
                             points=arguments.optional_whole("points", points, 1), steps_per_epoch=per_epoch)

    def _again(self, method: Any, request: Any, processes: Optional[int]) -> "Job":
        if processes is not None:
            arguments.whole("processes", processes, 1)
            # All of its resources are replaced; the etag keeps them from being those of before somebody else's change.
            job = self._connection.call(self._connection.jobs.GetJob, job_pb2.GetJobRequest(name=self.name))
            request.resources.CopyFrom(job.resources)
            request.resources.processes = processes
            request.etag = job.etag
        return self._act(method, request)

    def _watch(self) -> "Stream[job_pb2.WatchJobsResponse]":
        request = job_pb2.WatchJobsRequest(job=self.name)

        def advance(response: job_pb2.WatchJobsResponse) -> None:
            if response.cursor:
                request.cursor = response.cursor

        def restart() -> None:
            request.cursor = ""
        return Stream(
            self._connection,
            open=lambda: self._connection.jobs.WatchJobs(request, metadata=self._connection.metadata()),
            advance=advance, restart=restart)

    def _raise_unless_succeeded(self) -> None:
        state = _state_of(self._message)
        if state == "FAILED":
            failure = self._message.failure
            failure_class = job_pb2.Failure.Class.Name(getattr(failure, "class"))
            raise JobFailed(f"{self.name} FAILED ({failure_class}): {failure.message}", failure_class=failure_class,
                            excerpt=failure.excerpt)
        if state == "CANCELLED":
            raise JobCancelled(f"{self.name} was cancelled at step {self._message.progress.step}", code="CANCELLED",
                               hint="retry() lets it go on from its last checkpoint")


class Jobs(List[Job]):
    """Several jobs, which a notebook shows as a table."""

    def wait(self, timeout: Optional[float] = None, *, check: bool = True) -> "Jobs":
        """Until all have ended; see Job.wait. `timeout` is for all together."""
        end = None if timeout is None else time.monotonic() + arguments.seconds("timeout", timeout)
        for job in self:
            job.wait(None if end is None else max(0.0, end - time.monotonic()), check=check)
        return self

    def frame(self) -> "pandas.DataFrame":
        """A row for each job as it was when last seen, with a column `label.KEY` for each label."""
        pandas = load_pandas()
        keys = sorted({key for job in self for key in job.labels})
        return pandas.DataFrame([_frame_row(job._message, keys) for job in self])

    def metrics(self, names: Names = None, *, points: Optional[int] = None) -> "pandas.DataFrame":
        """The frames of Job.metrics below one another, with the columns job, name, processes and `label.KEY` before
        them. A name has to fit a series of one of them."""
        pandas = load_pandas()
        keys = sorted({key for job in self for key in job.labels})
        states = [_state_of(job._current()) for job in self]
        there = [series_of(job._connection, job.name) for job in self]
        if self:
            check_fit(names, [one for of_job in there for one in of_job],
                      f"{self[0].name} has" if len(self) == 1 else "these jobs have", all(state in ENDED for state in states))
        frames = []
        for job, of_job in zip(self, there):
            frame = job._frame(of_job, names, points=points)
            leading: Mapping[str, object] = {"job": job.id, "name": job.title, "processes": job.processes,
                                             **{"label." + key: job.labels.get(key) for key in keys}}
            for position, (column, value) in enumerate(leading.items()):
                frame.insert(position, column, value)
            frames.append(frame)
        return pandas.concat(frames, ignore_index=True) if frames else pandas.DataFrame()

    def _repr_html_(self) -> str:
        return html.table(_COLUMNS, [job_row(job._message) for job in self])


_COLUMNS = ["job", "name", "state", "step", "test accuracy"]


def job_row(job: job_pb2.Job) -> List[str]:
    if not job.name:
        return ["", str(job.display_name), "checked, not submitted", "", ""]
    evaluation = job.evaluation
    accuracy = f"{evaluation.accuracy:.2%}" if evaluation.HasField("accuracy") else ""
    return [str(job.name), str(job.display_name), _state_of(job), _steps_text(job), accuracy]


def _state_of(job: job_pb2.Job) -> JobState:
    return cast(JobState, job_pb2.Job.State.Name(job.state))


def _job_in(response: job_pb2.WatchJobsResponse, name: str) -> Optional[job_pb2.Job]:
    event = response.WhichOneof("event")
    if event == "deleted":
        raise NotFound(f"{name} has been deleted", code="NOT_FOUND", reason="JOB_NOT_FOUND")
    job: Optional[job_pb2.Job] = None
    if event == "snapshot":
        job = response.snapshot
    elif event == "change":
        job = response.change.job
    return job


def _failure_of(job: job_pb2.Job) -> Optional[Failure]:
    if not job.HasField("failure"):
        return None
    failure = job.failure
    return Failure(job_pb2.Failure.Class.Name(getattr(failure, "class")), failure.message,
                   failure.rank if failure.HasField("rank") else None, failure.host, failure.excerpt)


def _steps_text(job: job_pb2.Job) -> str:
    total = job.progress.total_steps
    return f"{job.progress.step}/{total}" if total else ""


def _progress_text(job: job_pb2.Job) -> str:
    steps = _steps_text(job)
    return f" step {steps}" if steps else ""


def _frame_row(job: job_pb2.Job, keys: List[str]) -> Dict[str, object]:
    evaluation, nan = job.evaluation, float("nan")
    return {
        "job": int(job.name.rpartition("/")[2]), "name": job.display_name, "state": _state_of(job),
        "step": job.progress.step, "total_steps": job.progress.total_steps, "epoch": job.progress.epoch,
        "test_accuracy": evaluation.accuracy if evaluation.HasField("accuracy") else nan,
        "best_test_accuracy": evaluation.best_accuracy if evaluation.HasField("best_accuracy") else nan,
        "processes": job.resources.processes or 1, "attempts": job.attempt, "submitter": job.submitter,
        "created": time_of(job, "create_time"), "ended": time_of(job, "end_time"),
        "seconds": job.used_time.ToTimedelta().total_seconds(),
        **{"label." + key: job.labels.get(key) for key in keys},
    }
