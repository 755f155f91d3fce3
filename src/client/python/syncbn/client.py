"""The way in: a coordinator, its jobs and its studies."""
from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Mapping, Optional, Sequence, Union

from syncbn import arguments, files
from syncbn.arguments import PathLike, TimeLimit
from syncbn.connection import Connection
from syncbn.errors import InvalidArgument
from syncbn.files import RunSource
from syncbn.jobs import Job, Jobs
from syncbn.resources import filter_of, resource_name, resources_of, texts_of
from syncbn.studies import Studies, Study
from syncbn.v1 import job_pb2, study_service_pb2


class Client:
    """A coordinator. Nothing is sent before the first request; safe to use from several threads.

    address   HOST:PORT or unix:/PATH; by default SYNCBN_SERVER, else 127.0.0.1:7700
    token     by default SYNCBN_USER_TOKEN; or `token_file`, a file that holds it
    ca        PEM file of the authority that signed the server's certificate: use TLS. By default SYNCBN_TLS_CA
    cert, key PEM files of your own certificate, for mutual TLS
    deadline  seconds for each try of a request
    tries     of a request when the coordinator cannot be reached, with growing pauses and one request id, so that
              it is carried out once
    The environment is that of the commands (`syncbn jobs`).
    """

    def __init__(self, address: Optional[str] = None, *, token: Optional[str] = None,
                 token_file: Optional[PathLike] = None, ca: Optional[PathLike] = None, cert: Optional[PathLike] = None,
                 key: Optional[PathLike] = None, deadline: float = 30, tries: int = 4) -> None:
        if token is not None and token_file is not None:
            raise InvalidArgument("token and token_file", "both are given", "one of them")
        if token_file is not None:
            token = arguments.token("token_file", arguments.file_text("token_file", token_file).strip())
            if not token:
                raise InvalidArgument("token_file", f"{os.fspath(token_file)} is empty", "a file with a token")
        elif token is not None:
            token = arguments.token("token", token)
        else:
            token = arguments.token("SYNCBN_USER_TOKEN", os.environ.get("SYNCBN_USER_TOKEN", ""))
        self._connection = Connection(
            address or os.environ.get("SYNCBN_SERVER") or "127.0.0.1:7700",
            token=token, ca=ca if ca is not None else os.environ.get("SYNCBN_TLS_CA") or None, cert=cert, key=key,
            deadline=deadline, tries=tries)

    @classmethod
    def of_data_folder(cls, folder: PathLike, **options: Any) -> "Client":
        """The coordinator that serves this folder (`syncbn serve --data FOLDER`) on this machine."""
        if not isinstance(folder, (str, os.PathLike)):
            raise InvalidArgument("folder", f"a {type(folder).__name__}", "the path of a folder")
        file = Path(folder) / "server.json"
        try:
            address = json.loads(file.read_text())["grpc"]
        except (FileNotFoundError, NotADirectoryError):
            raise InvalidArgument("folder", f"there is no {file}: no coordinator serves this folder", "one that is served",
                                  hint=f"syncbn serve --data {os.fspath(folder)}") from None
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise InvalidArgument("folder", f"{file} cannot be read ({error})", "what a coordinator writes there") from None
        return cls(address, **options)

    @property
    def address(self) -> str:
        return self._connection.address

    def submit(self, run: RunSource, *, name: Optional[str] = None, overrides: Optional[Mapping[str, Any]] = None,
               labels: Optional[Mapping[str, object]] = None, processes: int = 1, threads: int = 1,
               memory_mib: int = 0, priority: int = 0, time_limit: TimeLimit = None,
               max_retries: Optional[int] = None, host_tags: Sequence[str] = (), hosts: Sequence[str] = (),
               excluded_hosts: Sequence[str] = (), processes_per_host: int = 0, output_folder: str = "",
               environment: Optional[Mapping[str, str]] = None, request_id: str = "", check: bool = False) -> Job:
        """Queues a run. `run` is the path of a run file, a dict of its keys, or its YAML text (a str with line breaks);
        a relative data.path means a path from here. FileError lists its mistakes with their places.

        overrides   {"train.epochs": 3}, as --set; `name` is that of "name"
        processes   1 to the run file's replicas; the result does not depend on them, to the last bit
        threads, memory_mib   of each process
        priority    higher runs first, -1000 to 1000
        time_limit  of running: "2h", "30m", "1h30m", a number of seconds, or a timedelta
        request_id  the same id again gives the same job; by default a new one with each call
        check       checks all and submits nothing: what comes back has a title and labels, and says so if asked for more
        """
        text, file_name = files.read(run, "run")
        named = {} if name is None else {"name": arguments.text("name", name)}
        changes = files.overrides({**arguments.mapping("overrides", overrides), **named})
        job = job_pb2.Job(
            run_file=text, run_file_name=file_name, overrides=changes + files.absolute_inputs(text, changes),
            labels=texts_of(labels), output_folder=arguments.text("output_folder", output_folder),
            environment={key: arguments.text(f"environment[{key!r}]", value)
                         for key, value in arguments.mapping("environment", environment).items()},
            resources=resources_of(
                processes=processes, threads=threads, memory_mib=memory_mib, priority=priority, time_limit=time_limit,
                max_retries=max_retries, host_tags=host_tags, hosts=hosts, excluded_hosts=excluded_hosts,
                processes_per_host=processes_per_host))
        request = job_pb2.CreateJobRequest(job=job, request_id=arguments.text("request_id", request_id),
                                           validate_only=bool(check))
        return Job(self._connection, self._connection.call(self._connection.jobs.CreateJob, request))

    def job(self, name: Union[int, str]) -> Job:
        """By its number, as in 17 or "jobs/17"."""
        request = job_pb2.GetJobRequest(name=resource_name(name, "jobs"), view=job_pb2.JOB_VIEW_BASIC)
        return Job(self._connection, self._connection.call(self._connection.jobs.GetJob, request))

    def jobs(self, filter: str = "", *, labels: Optional[Mapping[str, object]] = None, state: Optional[str] = None,
             limit: Optional[int] = None) -> Jobs:
        """The newest `limit` jobs, by default all, with these labels, in this state ("RUNNING", "open", "ended"), and
        matching `filter`: "name : resnet AND priority > 0"; ListJobsRequest in job.proto has its fields."""
        request = job_pb2.ListJobsRequest(filter=filter_of(filter, labels, [state] if state else []), page_size=1000)
        found = self._connection.pages(self._connection.jobs.ListJobs, request, "jobs", limit)
        return Jobs(Job(self._connection, one) for one in found)

    def submit_study(self, study: RunSource, *, form: str = "", overrides: Optional[Mapping[str, Any]] = None,
                     labels: Optional[Mapping[str, object]] = None, at_once: int = 0, threads: int = 1,
                     memory_mib: int = 0, priority: int = 0, time_limit: TimeLimit = None,
                     max_retries: Optional[int] = None, host_tags: Sequence[str] = (), hosts: Sequence[str] = (),
                     excluded_hosts: Sequence[str] = (), processes_per_host: int = 0, request_id: str = "",
                     check: bool = False) -> Study:
        """Begins a study, given like a run of submit(); its `run` is a path from where its file lies (from here for
        a dict or text), or the keys themselves. `at_once`: processes of trials under way at a time, by default as the
        file says, else as many as there are slots. Resources are of each trial. The rest is as in submit()."""
        text, file_name = files.read(study, "study")
        message = study_service_pb2.Study(
            study_file=text, study_file_name=file_name, overrides=files.overrides(overrides),
            form=arguments.text("form", form), at_once=arguments.whole("at_once", at_once, 0),
            labels=texts_of(labels), data_folder=os.getcwd(),
            resources=resources_of(
                threads=threads, memory_mib=memory_mib, priority=priority, time_limit=time_limit,
                max_retries=max_retries, host_tags=host_tags, hosts=hosts, excluded_hosts=excluded_hosts,
                processes_per_host=processes_per_host))
        run = files.run_of_study(text, file_name, message.overrides)
        if run is not None:
            message.run_file, message.run_file_name = run
        request = study_service_pb2.CreateStudyRequest(
            study=message, request_id=arguments.text("request_id", request_id), validate_only=bool(check))
        return Study(self._connection, self._connection.call(self._connection.studies.CreateStudy, request))

    def study(self, name: Union[int, str]) -> Study:
        """By its number, as in 3 or "studies/3"."""
        request = study_service_pb2.GetStudyRequest(name=resource_name(name, "studies"), basic=True)
        return Study(self._connection, self._connection.call(self._connection.studies.GetStudy, request))

    def studies(self, *, open: bool = False, limit: Optional[int] = None) -> Studies:
        """The newest first; with `open` only those that have not ended."""
        request = study_service_pb2.ListStudiesRequest(open=open, page_size=1000)
        found = self._connection.pages(self._connection.studies.ListStudies, request, "studies", limit)
        return Studies(Study(self._connection, one) for one in found)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        # Not the token.
        return f"<syncbn.Client of {self.address}>"
