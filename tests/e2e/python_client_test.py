"""The API from another language: stubs are generated, a job is submitted to a real coordinator,
followed to its end, and its metrics are read.

Usage: python_client_test.py SYNCBN PROTO_FOLDER PROTOC GRPC_PYTHON_PLUGIN
"""
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import test_report  # noqa: E402

PATIENCE = 120

RUN_FILE = """\
# comments travel with the job
name: python-client
data: {dataset: shapes, shapes: {train_samples: 64, test_samples: 16}}
model: {layers: [{conv: {out: 4, kernel: 3, stride: 4}}, norm, relu, global_average_pool, {linear: 10}]}
cluster: {replicas: 2, batch_per_replica: 8}
train: {epochs: 2}
"""

try:
    import grpc
    import google.protobuf  # noqa: F401
except ImportError as error:
    test_report.skip(f"{error}; install python3-grpcio and python3-protobuf")


def generate_stubs(protos, protoc, plugin, folder):
    names = [
        os.path.join("syncbn/v1", name)
        for name in sorted(os.listdir(os.path.join(protos, "syncbn/v1")))
        if name.endswith(".proto")
    ]
    subprocess.run(
        [protoc, f"-I{protos}", f"--python_out={folder}", f"--grpc_python_out={folder}",
         f"--plugin=protoc-gen-grpc_python={plugin}"] + names,
        check=True, timeout=PATIENCE)
    sys.path.insert(0, folder)


def wait_for_server(data, server):
    deadline = time.monotonic() + PATIENCE
    path = os.path.join(data, "server.json")
    while time.monotonic() < deadline:
        assert server.poll() is None, "syncbn serve has ended"
        if os.path.exists(path):
            with open(path) as file:
                return json.load(file)["grpc"]
        time.sleep(0.05)
    raise AssertionError("syncbn serve has not written server.json")


def run(channel):
    from syncbn.v1 import error_pb2, job_pb2, job_pb2_grpc, metrics_pb2, metrics_pb2_grpc

    jobs = job_pb2_grpc.JobServiceStub(channel)
    metrics = metrics_pb2_grpc.MetricsServiceStub(channel)

    # A wrong run file is refused with the place of the mistake.
    wrong = job_pb2.Job(run_file=RUN_FILE.replace("epochs", "epocs"), run_file_name="run.yaml")
    try:
        jobs.CreateJob(job_pb2.CreateJobRequest(job=wrong), timeout=30)
        raise AssertionError("a wrong run file was accepted")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
        details = dict(error.trailing_metadata())["grpc-status-details-bin"]
        status = error_pb2.ErrorStatus.FromString(details)
        info, faults = error_pb2.ErrorInfo(), error_pb2.RunFileErrors()
        assert status.details[0].Unpack(info) and info.reason == "RUN_FILE_INVALID", status
        assert status.details[1].Unpack(faults), status
        assert faults.errors[0].line == 6 and "epocs" in faults.errors[0].text, faults

    # Submitted twice with one request id, there is one job.
    request = job_pb2.CreateJobRequest(
        job=job_pb2.Job(run_file=RUN_FILE, run_file_name="run.yaml", labels={"from": "python"},
                        resources=job_pb2.Resources(processes=2)),
        request_id=str(uuid.uuid4()))
    job = jobs.CreateJob(request, timeout=30)
    assert jobs.CreateJob(request, timeout=30).name == job.name
    listed = jobs.ListJobs(job_pb2.ListJobsRequest(filter="labels.from = python"), timeout=30)
    assert [one.name for one in listed.jobs] == [job.name], listed
    assert jobs.GetJob(job_pb2.GetJobRequest(name=job.name), timeout=30).run_file == RUN_FILE

    # Followed to its end.
    ended = (job_pb2.Job.SUCCEEDED, job_pb2.Job.FAILED, job_pb2.Job.CANCELLED)
    state = None
    for response in jobs.WatchJobs(job_pb2.WatchJobsRequest(job=job.name), timeout=PATIENCE):
        event = response.WhichOneof("event")
        if event == "snapshot":
            state = response.snapshot.state
        elif event == "change":
            state = response.change.job.state
        if state in ended:
            break
    final = jobs.GetJob(job_pb2.GetJobRequest(name=job.name), timeout=30)
    assert final.state == job_pb2.Job.SUCCEEDED, final

    # 64 samples in batches of 16, twice: 8 steps.
    answer = metrics.QueryMetrics(
        metrics_pb2.QueryMetricsRequest(job=job.name, names=["train/loss"]), timeout=30)
    assert len(answer.series) == 1, answer
    assert list(answer.series[0].first_step) == list(range(8)), answer
    assert all(value > 0 for value in answer.series[0].mean), answer
    points = 0
    for response in metrics.WatchMetrics(
            metrics_pb2.WatchMetricsRequest(job=job.name, names=["train/loss"]), timeout=PATIENCE):
        event = response.WhichOneof("event")
        if event == "update":
            points += len(response.update.batch.value)
        elif event == "end":
            break
    assert points == 8, points


def main():
    program, protos, protoc, plugin = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="syncbn-python-") as folder:
        stubs, data = os.path.join(folder, "stubs"), os.path.join(folder, "data")
        os.mkdir(stubs)
        generate_stubs(protos, protoc, plugin, stubs)
        server = subprocess.Popen(
            [program, "serve", "--data", data, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0",
             "--slots", "4"])
        try:
            address = wait_for_server(data, server)
            with grpc.insecure_channel(address) as channel:
                run(channel)
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(timeout=60)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
    test_report.end(passed=1)


if __name__ == "__main__":
    main()
