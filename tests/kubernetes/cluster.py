"""What happens to objects in a cluster: the MPI operator, the scheduler, and nodes, whose pods are processes of this
machine.

A pod's container is its command, started here; what is mounted into it is where the test has it (claims), or in a folder
of the pod (the key pair). `ssh`, `sshd` and `getent` are found on a PATH of their own: a worker is reached by the name
that the operator's Service would give it, as long as its pod runs, and what is started there belongs to the pod.
"""
import copy
import os
import signal
import subprocess
import threading
import time

from objects import now

POD = "STANDIN_POD"

SSH = """#!/bin/bash
# ssh [options] HOST COMMAND...: runs the command as a process of the worker's pod.
while [[ $1 == -* ]]; do case $1 in -F | -o | -p | -i | -l) shift 2 ;; *) shift ;; esac; done
pod=${{1%%.*}}
shift
if [[ ! -e {folder}/running/$pod ]]; then
  echo "ssh: connect to host $pod port 2222: Connection refused" >&2
  exit 255
fi
exec env -i PATH="$PATH" HOME="$HOME" {pod}="$pod" /bin/sh -c "$*"
"""
SSHD = "#!/bin/sh\nexec sleep 100000\n"
GETENT = "#!/bin/bash\n# getent hosts NAME\n[[ ! -e {folder}/no-names && -e {folder}/running/${{2%%.*}} ]]\n"


def processes_of(pod, root=None):
    """Processes of a pod: its first one, what that has started, and what came by ssh."""
    parents, found = {}, set()
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/environ", "rb") as file:
                if f"{POD}={pod}".encode() in file.read().split(b"\0"):
                    found.add(int(entry))
            with open(f"/proc/{entry}/stat", encoding="latin-1") as file:
                parents[int(entry)] = int(file.read().rpartition(")")[2].split()[1])
        except OSError:
            continue
    if root:
        found.add(root)
        grown = True
        while grown:
            more = {pid for pid, parent in parents.items() if parent in found} - found
            # What ssh has started is another pod's.
            grown = bool(more)
            found |= more
    return found & set(parents)


def kill_all(pod, root):
    for _ in range(50):
        left = processes_of(pod, root)
        left.discard(os.getpid())
        if not left:
            return
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        time.sleep(0.02)


class Cluster:
    def __init__(self, objects, folder, path):
        self.objects = objects
        self.folder = folder
        self.environment = dict(os.environ, PATH=f"{folder}/bin:{path}")
        self.containers = {}  # by pod: {"process", "stopping", "kill_at", "reason"}
        self.lost = set()     # pods whose nodes do not answer
        self.lock = threading.RLock()
        # What a test wants to go wrong.
        self.operator = True
        self.unschedulable = ""     # the scheduler's words
        self.image = ""             # a reason of waiting containers, "ImagePullBackOff"
        self.quota = ""             # why no pod can be made
        self.suspended = False      # a queue lets nothing begin
        for part in ("bin", "running", "logs", "keys"):
            os.makedirs(f"{folder}/{part}", exist_ok=True)
        for name, text in (("ssh", SSH), ("sshd", SSHD), ("getent", GETENT)):
            file = f"{folder}/bin/{name}"
            with open(file, "w", encoding="utf-8") as out:
                out.write(text.format(folder=folder, pod=POD) if name != "sshd" else text)
            os.chmod(file, 0o755)
        for name in ("id_rsa", "id_rsa.pub", "authorized_keys"):
            with open(f"{folder}/keys/{name}", "w", encoding="utf-8") as out:
                out.write("key\n")

    def run(self, stop):
        while not stop.is_set():
            with self.lock:
                self.tick()
            time.sleep(0.02)

    def tick(self):
        jobs, _ = self.objects.list("mpijobs")
        for job in jobs:
            self.sync_job(job)
        pods, _ = self.objects.list("pods")
        for pod in pods:
            self.sync_pod(pod)

    # --- the MPI operator

    def sync_job(self, job):
        name = job["metadata"]["name"]
        pods = {pod["metadata"]["name"]: pod for pod in self.objects.list("pods")[0]
                if pod["metadata"]["labels"].get("training.kubeflow.org/job-name") == name}
        if "deletionTimestamp" in job["metadata"]:
            for pod in pods:
                self.delete_pod(pod)
            if not pods:
                self.objects.remove("mpijobs", name)
            return
        if not self.operator:
            return
        self.condition(name, "Created", "MPIJobCreated", f"MPIJob {name} is created.")
        spec = job["spec"]
        suspend = self.suspended or spec["runPolicy"].get("suspend", False)
        if suspend:
            self.condition(name, "Suspended", "MPIJobSuspended", "MPIJob suspended")
            for pod in pods:
                self.delete_pod(pod)
            return
        if has(job, "Suspended"):
            self.condition(name, "Suspended", "MPIJobResumed", "MPIJob resumed", "False")
        if has(job, "Succeeded") or has(job, "Failed"):
            if spec["runPolicy"]["cleanPodPolicy"] == "Running":
                for pod in pods.values():
                    if "-worker-" in pod["metadata"]["name"] and pod["status"]["phase"] in ("Running", "Pending"):
                        self.delete_pod(pod["metadata"]["name"])
            return
        replicas = spec["mpiReplicaSpecs"]
        wanted = replicas.get("Worker", {}).get("replicas", 0)
        workers = [f"{name}-worker-{i}" for i in range(wanted)]
        for worker in workers:
            if worker not in pods and not self.make_pod(job, worker, "worker", replicas["Worker"]["template"]):
                return
        ready = all(worker in pods and pods[worker]["status"]["phase"] == "Running" for worker in workers)
        launcher = name + "-launcher-x7k2p"
        made = job.get("status", {}).get("launcher")
        if launcher not in pods and not made and ready:
            if self.make_pod(job, launcher, "launcher", replicas["Launcher"]["template"]):
                self.objects.update("mpijobs", name,
                                    lambda item: item.setdefault("status", {}).update(launcher=True))
        elif made and launcher not in pods:
            self.condition(name, "Failed", "BackoffLimitExceeded/", "Job has reached the specified backoff limit")
        elif launcher in pods:
            pod = pods[launcher]
            phase = pod["status"]["phase"]
            if phase == "Running" and ready:
                self.condition(name, "Running", "MPIJobRunning", f"MPIJob {name} is running.")
            elif phase == "Succeeded":
                self.condition(name, "Succeeded", "MPIJobSucceeded", f"MPIJob {name} successfully completed.")
            elif phase == "Failed":
                reason = pod["status"].get("reason", "")
                self.condition(name, "Failed", "BackoffLimitExceeded/" + reason,
                               "Job has reached the specified backoff limit: " + pod["status"].get("message", ""))

    def condition(self, name, kind, reason, message, status="True"):
        def change(item):
            conditions = item.setdefault("status", {}).setdefault("conditions", [])
            for one in conditions:
                if one["type"] == kind:
                    if one["status"] != status:
                        one.update(status=status, reason=reason, message=message, lastTransitionTime=now())
                    return
            conditions.append({"type": kind, "status": status, "reason": reason, "message": message,
                               "lastTransitionTime": now()})
        self.objects.update("mpijobs", name, change)

    def make_pod(self, job, name, role, template):
        job_name = job["metadata"]["name"]
        if self.quota:
            event = f"{job_name}.quota"
            if not self.objects.get("events", event):
                self.objects.create("events", {
                    "metadata": {"name": event}, "type": "Warning", "reason": "MPIJobFailed", "lastTimestamp": now(),
                    "involvedObject": {"kind": "MPIJob", "name": job_name},
                    "message": f'{role} pod created failed: pods "{name}" is forbidden: {self.quota}'})
            return False
        pod = copy.deepcopy(template)
        labels = pod["metadata"].setdefault("labels", {})
        labels.update({"training.kubeflow.org/job-name": job_name, "training.kubeflow.org/job-role": role,
                       "training.kubeflow.org/operator-name": "mpi-operator"})
        pod["metadata"]["name"] = name
        pod["status"] = {"phase": "Pending"}
        ssh = job["spec"].get("sshAuthMountPath", "/root/.ssh")
        pod["spec"]["volumes"].append({"name": "ssh-auth", "secret": {"secretName": job_name + "-ssh"}})
        pod["spec"]["containers"][0]["volumeMounts"].append({"name": "ssh-auth", "mountPath": ssh})
        self.objects.create("pods", pod)
        return True

    # --- scheduler and nodes

    def sync_pod(self, pod):
        name = pod["metadata"]["name"]
        if name in self.lost:
            return
        container = self.containers.get(name)
        if container and container["process"].poll() is not None:
            self.end_container(pod, container)
        elif container and container["kill_at"] and time.time() >= container["kill_at"]:
            container["process"].kill()
        if "deletionTimestamp" in pod["metadata"]:
            if name not in self.containers:
                self.objects.remove("pods", name)
            return
        if container or pod["status"]["phase"] != "Pending":
            return
        if self.unschedulable:
            self.status(name, conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                                           "message": self.unschedulable}])
            return
        self.objects.update("pods", name, lambda item: item["spec"].update(nodeName="node-" + name[-1]))
        spec = pod["spec"]["containers"][0]
        scheduled = [{"type": "PodScheduled", "status": "True"}]
        if self.image:
            self.status(name, conditions=scheduled, containerStatuses=[{
                "name": "syncbn", "image": spec["image"],
                "state": {"waiting": {"reason": self.image,
                                      "message": f'Back-off pulling image "{spec["image"]}"'}}}])
            return
        mounts = {mount["mountPath"]: mount["name"] for mount in spec["volumeMounts"]}
        ssh = next(path for path, volume in mounts.items() if volume == "ssh-auth")
        command = [word.replace(ssh, self.folder + "/keys") for word in spec["command"]]
        log = open(f"{self.folder}/logs/{name}", "ab")
        try:
            process = subprocess.Popen(command, env=dict(self.environment, **{POD: name}), stdout=log,
                                       stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)
        except OSError as error:
            self.status(name, conditions=scheduled, containerStatuses=[{
                "name": "syncbn", "image": spec["image"],
                "state": {"waiting": {"reason": "RunContainerError", "message": str(error)}}}])
            return
        finally:
            log.close()
        self.containers[name] = {"process": process, "kill_at": None, "stopping": False, "end": None}
        open(f"{self.folder}/running/{name}", "w", encoding="utf-8").close()
        self.status(name, phase="Running", conditions=scheduled + [{"type": "Ready", "status": "True"}],
                    containerStatuses=[{"name": "syncbn", "image": spec["image"],
                                        "state": {"running": {"startedAt": now()}}}])

    def status(self, name, **fields):
        def change(item):
            conditions = fields.pop("conditions", [])
            kept = [one for one in item["status"].get("conditions", [])
                    if one["type"] not in [new["type"] for new in conditions]]
            if kept or conditions:
                item["status"]["conditions"] = kept + conditions
            item["status"].update(fields)
        self.objects.update("pods", name, change)

    def end_container(self, pod, container):
        name = pod["metadata"]["name"]
        del self.containers[name]
        if os.path.exists(f"{self.folder}/running/{name}"):
            os.unlink(f"{self.folder}/running/{name}")
        # With the first process of a container all others end.
        kill_all(name, None)
        code = container["process"].returncode
        code = 128 - code if code < 0 else code
        reason, pod_reason = container["end"] or ("Completed" if code == 0 else "Error", "")
        fields = {"phase": "Succeeded" if code == 0 else "Failed",
                  "containerStatuses": [{"name": "syncbn", "image": pod["spec"]["containers"][0]["image"],
                                         "state": {"terminated": {"exitCode": code, "reason": reason}}}]}
        if pod_reason:
            fields.update(reason=pod_reason, message="The node was low on resource: memory.")
        self.status(name, **fields)

    def delete_pod(self, name, grace=None):
        pod = self.objects.get("pods", name)
        if pod is None:
            return
        seconds = pod["spec"].get("terminationGracePeriodSeconds", 30) if grace is None else grace
        # When it is to be gone.
        self.objects.update("pods", name,
                            lambda item: item["metadata"].setdefault("deletionTimestamp", now(seconds)))
        container = self.containers.get(name)
        if container is None or name in self.lost:
            return
        kill_at = time.time() + seconds
        container["kill_at"] = min(kill_at, container["kill_at"] or kill_at)
        if container["stopping"]:
            return
        container["stopping"] = True
        hook = pod["spec"]["containers"][0].get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command")
        environment = dict(self.environment, **{POD: name})

        def stop():
            if hook:
                subprocess.run(hook, env=environment, timeout=seconds, check=False, stdin=subprocess.DEVNULL)
            try:
                container["process"].terminate()
            except OSError:
                pass
        threading.Thread(target=stop, daemon=True).start()

    # --- for tests

    def kill_pod(self, name, reason):
        """All its processes at once; "OOMKilled" is what a container's end is called, others a pod's."""
        container = self.containers[name]
        container["end"] = ("OOMKilled", "") if reason == "OOMKilled" else ("Error", reason)
        kill_all(name, container["process"].pid)

    def evict_pod(self, name):
        """As a node that is drained does it: with time."""
        self.status(name, conditions=[{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
                                       "message": "Eviction API: evicting"}])
        self.delete_pod(name)

    def lose_pod(self, name, status):
        """Its node does not answer, and nothing on it goes on; `status` is what others say of it."""
        self.lost.add(name)
        for pid in processes_of(name, self.containers[name]["process"].pid):
            os.kill(pid, signal.SIGSTOP)
        self.status(name, **status)

    def find_pod(self, name):
        """Its node is back, and has been restarted."""
        kill_all(name, self.containers[name]["process"].pid)
        self.lost.discard(name)

    def end(self):
        for name, container in list(self.containers.items()):
            kill_all(name, container["process"].pid)


def has(item, kind):
    return any(one["type"] == kind and one["status"] == "True"
               for one in item.get("status", {}).get("conditions", []))
