"""A study on a coordinator: many runs of one run file, whose trials are jobs."""
from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Literal, Optional, cast

from syncbn import arguments, html
from syncbn.arguments import PathLike
from syncbn.connection import Connection
from syncbn.errors import Error, MissingPackage, StudyFailed, Unreachable, WaitTimeout
from syncbn.frames import load_pandas
from syncbn.jobs import Job, Jobs
from syncbn.resources import filter_of, submitted_name
from syncbn.v1 import job_pb2, study_service_pb2

if TYPE_CHECKING:
    import pandas

StudyState = Literal["RUNNING", "PAUSING", "PAUSED", "CANCELLING", "SUCCEEDED", "FAILED", "CANCELLED"]
_ENDED = ("SUCCEEDED", "FAILED", "CANCELLED")
# Labels of a trial's job that are no axis.
_OWN_LABELS = ("study", "trial", "seed", "tuned")


@dataclass(frozen=True)
class StudyProgress:
    """How many trials there are by now (where something is tuned, more follow), and what became of them."""
    known: int
    done: int
    running: int
    failed: int
    diverged: int
    best_trial: Optional[str]
    best_test_accuracy: Optional[float]


class Study:
    """Made by Client.submit_study, Client.study and Client.studies. One of Client.submit_study(check=True) has a title
    and notes, and no more: all else raises WrongState."""

    def __init__(self, connection: Connection, message: study_service_pb2.Study) -> None:
        self._connection, self._message = connection, message

    @property
    def name(self) -> str:
        """`studies/3`."""
        return submitted_name(self._message, "study")

    @property
    def id(self) -> int:
        return int(self.name.rpartition("/")[2])

    @property
    def title(self) -> str:
        """The name in its study file."""
        return str(self._message.display_name)

    @property
    def state(self) -> StudyState:
        return _state_of(self._current())

    @property
    def reason(self) -> str:
        """Why it FAILED, or what holds it up."""
        return str(self._current().reason)

    @property
    def notes(self) -> List[str]:
        """What its submitter should know."""
        return list(self._message.notes)

    def refresh(self) -> "Study":
        return self._act(self._connection.studies.GetStudy,
                         study_service_pb2.GetStudyRequest(name=self.name, basic=True))

    def progress(self) -> StudyProgress:
        progress = self._current().progress
        best = progress.best if progress.HasField("best") else None
        return StudyProgress(progress.known, progress.done, progress.running, progress.failed, progress.diverged,
                             best.trial if best is not None else None, best.test_accuracy if best is not None else None)

    def wait(self, timeout: Optional[float] = None, *, check: bool = True, patience: float = 600) -> "Study":
        """Until it has ended; a coordinator that is away is waited for, for `patience` seconds. Raises WaitTimeout
        after `timeout` seconds, and, unless `check` is false, StudyFailed where it did not succeed."""
        if timeout is not None:
            arguments.seconds("timeout", timeout)
        arguments.seconds("patience", patience)
        begin = heard = time.monotonic()
        while True:
            try:
                self.refresh()
                heard = time.monotonic()
            except Unreachable:
                if time.monotonic() - heard > patience:
                    raise
            state = _state_of(self._message)
            if state in _ENDED:
                break
            if timeout is not None and time.monotonic() - begin > timeout:
                raise WaitTimeout(f"{self.name} has not ended within {timeout:g} s", code="DEADLINE_EXCEEDED",
                                  hint="it goes on: wait() again, or cancel() it")
            time.sleep(0.5)
        if check and state != "SUCCEEDED":
            raise StudyFailed(f"{self.name} is {state}" + (f": {self._message.reason}" if self._message.reason else ""),
                              code=state)
        return self

    def jobs(self) -> Jobs:
        """The jobs of its trials, the newest first, as long as the coordinator keeps them."""
        found = self._connection.pages(self._connection.jobs.ListJobs, job_pb2.ListJobsRequest(
            filter=filter_of("", {"study": self.id}), page_size=1000), "jobs")
        return Jobs(Job(self._connection, one) for one in found)

    def results(self) -> List[Dict[str, Any]]:
        """The records of the trials that have ended, as in results.jsonl (`syncbn study fetch`), each trial once."""
        request = study_service_pb2.ReadStudyResultsRequest(name=self.name, max_bytes=3 << 20)
        data = b""
        while True:
            part = self._connection.call(self._connection.studies.ReadStudyResults, request)
            data += part.data
            if part.end:
                break
            request.offset = part.next_offset
        records = (json.loads(line) for line in data.splitlines() if line)
        return list({record["id"]: record for record in records}.values())

    def trials(self) -> "pandas.DataFrame":
        """A row for each trial that has a job or a result: trial, a column for each axis (NaN once the coordinator has
        forgotten the job), seed, tuned, job, state, steps, samples, test_accuracy, best_test_accuracy, test_loss,
        train_loss and seconds. The state of one with a result is finished, diverged or failed; any other's is its
        job's. A trial that has diverged has the accuracy and the loss of guessing, as in reports."""
        pandas = load_pandas()
        jobs: Dict[str, Job] = {}
        for job in self.jobs():
            jobs.setdefault(job.labels["trial"], job)
        records = {record["id"]: record for record in self.results()}
        own = {*_OWN_LABELS, *self._message.labels}
        axes = sorted({key for job in jobs.values() for key in job.labels if key not in own})
        frame = pandas.DataFrame([_trial_row(trial, jobs.get(trial), records.get(trial), axes)
                                  for trial in sorted({*jobs, *records}, key=lambda one: _order(jobs.get(one)))])
        for column in [*axes, "seed", "tuned"]:
            if column in frame:
                frame[column] = _numbers_where_all_are(pandas, frame[column])
        return frame

    def report(self, folder: PathLike, *, program: str = "syncbn") -> Path:
        """Writes results, tables, plots and verdicts into `folder` by `syncbn study fetch` of this machine, and
        returns the path of report.html in it."""
        if shutil.which(program) is None:
            raise MissingPackage(f"reports are made by the program {program!r}, which is not in PATH",
                                 hint="install it, or name it: report(folder, program='build/bin/syncbn')")
        connection, environment = self._connection, dict(os.environ)
        command = [program, "study", "fetch", str(self.id), os.fspath(folder), "--coordinator", connection.address]
        for option, path in (("--tls-ca", connection.ca), ("--tls-cert", connection.cert), ("--tls-key", connection.key)):
            if path is not None:
                command += [option, os.fspath(path)]
        # Not an argument, which everybody on the machine could see.
        environment.pop("SYNCBN_USER_TOKEN", None)
        if connection.token:
            environment["SYNCBN_USER_TOKEN"] = connection.token
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Error(f"`{program} study fetch` has ended with {done.returncode}: {done.stderr.strip()}")
        return Path(folder) / "report.html"

    def cancel(self) -> "Study":
        """Ends it for good; the results so far stay."""
        return self._act(self._connection.studies.CancelStudy, study_service_pb2.CancelStudyRequest(name=self.name))

    def pause(self) -> "Study":
        return self._act(self._connection.studies.PauseStudy, study_service_pb2.PauseStudyRequest(name=self.name))

    def resume(self) -> "Study":
        return self._act(self._connection.studies.ResumeStudy, study_service_pb2.ResumeStudyRequest(name=self.name))

    def retry(self) -> "Study":
        """Has the trials that have failed run anew."""
        return self._act(self._connection.studies.RetryStudy, study_service_pb2.RetryStudyRequest(name=self.name))

    def delete(self) -> None:
        """Forgets a study that has ended, with its results."""
        self._connection.call(self._connection.studies.DeleteStudy,
                              study_service_pb2.DeleteStudyRequest(name=self.name))

    def __repr__(self) -> str:
        if not self._message.name:
            return f"<study {self.title!r}: checked, not submitted>"
        progress = self._message.progress
        return f"<{self.name} {self.title!r} {_state_of(self._message)}, {progress.done} of {progress.known} trials>"

    def _repr_html_(self) -> str:
        return html.table(_COLUMNS, [_table_row(self._message)])

    def _current(self) -> study_service_pb2.Study:
        if _state_of(self._message) not in _ENDED:
            self.refresh()
        return self._message

    def _act(self, method: Any, request: Any) -> "Study":
        self._message = self._connection.call(method, request)
        return self


class Studies(List[Study]):
    """Several studies, which a notebook shows as a table."""

    def _repr_html_(self) -> str:
        return html.table(_COLUMNS, [_table_row(study._message) for study in self])


_COLUMNS = ["study", "name", "state", "trials done", "failed", "best"]


def _state_of(study: study_service_pb2.Study) -> StudyState:
    return cast(StudyState, study_service_pb2.Study.State.Name(study.state))


def _table_row(study: study_service_pb2.Study) -> List[str]:
    if not study.name:
        return ["", str(study.display_name), "checked, not submitted", "", "", ""]
    progress = study.progress
    best = f"{progress.best.test_accuracy:.2%}: {progress.best.description}" if progress.HasField("best") else ""
    return [str(study.name), str(study.display_name), _state_of(study), f"{progress.done} of {progress.known}",
            str(progress.failed), best]


def _order(job: Optional[Job]) -> float:
    """As they were submitted; those whose jobs are forgotten first."""
    return job.id if job is not None else 0


def _trial_row(trial: str, job: Optional[Job], record: Optional[Dict[str, Any]], axes: List[str]) -> Dict[str, object]:
    labels = job.labels if job is not None else {}
    # Of a message as it was listed: a frame asks nothing for each row.
    state = record["end"] if record else job_pb2.Job.State.Name(job._message.state) if job is not None else ""
    row: Dict[str, object] = {"trial": trial, **{axis: labels.get(axis) for axis in axes}, "seed": labels.get("seed")}
    if "tuned" in labels:
        row["tuned"] = labels["tuned"]
    row.update({"job": job.id if job is not None else None, "state": state})
    row.update(_measures(record or {}))
    return row


def _measures(record: Dict[str, Any]) -> Dict[str, object]:
    nan = float("nan")
    # Each evaluation: steps, samples, loss, accuracy.
    test, train = record.get("test") or [], record.get("train") or []
    row: Dict[str, object] = {
        "steps": record.get("steps", 0), "samples": record.get("samples", 0),
        "test_accuracy": test[-1][3] if test else nan,
        "best_test_accuracy": max(_known(one[3]) for one in test) if test else nan,
        "test_loss": test[-1][2] if test else nan, "train_loss": train[-1][2] if train else nan,
        "seconds": record.get("timings", {}).get("seconds", nan),
    }
    classes = record.get("classes") or 0
    if record.get("end") == "diverged" and classes:
        row.update(test_accuracy=1 / classes, best_test_accuracy=1 / classes, test_loss=math.log(classes),
                   train_loss=math.log(classes))
    return row


def _known(value: Any) -> float:
    return value if isinstance(value, float) and not math.isnan(value) else -math.inf


def _numbers_where_all_are(pandas: Any, column: Any) -> Any:
    """Labels are texts; the values of most axes are numbers."""
    numbers = pandas.to_numeric(column, errors="coerce")
    return numbers if numbers.notna().equals(column.notna()) else column
