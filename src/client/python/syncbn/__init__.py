"""Runs and studies on a syncbn coordinator.

    client = syncbn.Client("localhost:7700")
    job = client.submit("run.yaml", processes=2).wait()
    job.metrics("train/loss").plot(x="step")
"""
import importlib.metadata

from syncbn.client import Client
from syncbn.errors import (AccessDenied, Conflict, Error, Fault, FileError, InvalidArgument, InvalidRequest, JobCancelled,
                           JobFailed, LimitReached, MissingPackage, NotFound, StudyFailed, Unreachable, WaitTimeout,
                           WrongState)
from syncbn.follow import Event, LogLine, Metric, StateChange
from syncbn.jobs import Failure, Job, JobResult, Jobs, Progress
from syncbn.studies import Studies, Study, StudyProgress

# That of the program whose schemas its stubs are made of.
__version__ = importlib.metadata.version("syncbn")

__all__ = [
    "AccessDenied", "Client", "Conflict", "Error", "Event", "Failure", "Fault", "FileError", "InvalidArgument",
    "InvalidRequest", "Job", "JobCancelled", "JobFailed", "JobResult", "Jobs", "LimitReached", "LogLine", "Metric",
    "MissingPackage", "NotFound", "Progress", "StateChange", "Studies", "Study", "StudyFailed", "StudyProgress",
    "Unreachable", "WaitTimeout", "WrongState", "__version__",
]
