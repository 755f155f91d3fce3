"""The manifests of launch/kubernetes.

Each object against manifests.json, schemas of what is used of each kind, written for this test (a field that is not
there is an error); then what must agree between them; then the coordinator's own arguments, by starting the program with
them, in the stand-in of a cluster, and asking what its probes ask.

    manifests_test.py SYNCBN MANIFESTS_FOLDER
"""
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import schema  # noqa: E402

try:
    import yaml
except ImportError:
    print("python3-yaml is not installed")
    sys.exit(77)

SYNCBN, FOLDER = sys.argv[1:3]


def documents():
    for name in sorted(os.listdir(FOLDER)):
        if name.endswith(".yaml"):
            with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
                for document in yaml.safe_load_all(file):
                    yield name, document


ALL = list(documents())


def only(kind, name=None):
    found = [item for _, item in ALL if item["kind"] == kind and name in (None, item["metadata"].get("name"))]
    assert len(found) == 1, (kind, name, len(found))
    return found[0]


class Manifests(unittest.TestCase):
    def test_every_object_is_valid_by_the_schema_of_its_kind(self):
        with open(os.path.join(HERE, "manifests.json"), encoding="utf-8") as file:
            schemas = schema.resolved(json.load(file))["kinds"]
        self.assertEqual({item["kind"] for _, item in ALL}, set(schemas))
        for name, item in ALL:
            self.assertEqual(schema.problems(schemas[item["kind"]], item), [], name)

    def test_a_wrong_field_is_found(self):
        with open(os.path.join(HERE, "manifests.json"), encoding="utf-8") as file:
            schemas = schema.resolved(json.load(file))["kinds"]
        service = json.loads(json.dumps(only("Service")))
        service["spec"]["ports"][0]["port"] = "7700"
        service["spec"]["select"] = {}
        self.assertEqual(len(schema.problems(schemas["Service"], service)), 2)

    def test_all_is_in_one_namespace_and_what_is_named_is_there(self):
        namespace = only("Namespace")["metadata"]["name"]
        for name, item in ALL:
            if item["kind"] != "Namespace":
                self.assertEqual(item["metadata"]["namespace"], namespace, name)
        pod = only("StatefulSet")["spec"]["template"]
        self.assertEqual(pod["spec"]["serviceAccountName"], only("ServiceAccount")["metadata"]["name"])
        binding = only("RoleBinding")
        self.assertEqual(binding["roleRef"]["name"], only("Role")["metadata"]["name"])
        self.assertEqual(binding["subjects"][0]["name"], only("ServiceAccount")["metadata"]["name"])
        claims = {item["metadata"]["name"] for _, item in ALL if item["kind"] == "PersistentVolumeClaim"}
        self.assertEqual({volume["persistentVolumeClaim"]["claimName"] for volume in pod["spec"]["volumes"]}, claims)
        labels = pod["metadata"]["labels"]
        self.assertEqual(only("StatefulSet")["spec"]["selector"]["matchLabels"], labels)
        self.assertEqual(only("Service")["spec"]["selector"], labels)
        self.assertEqual(only("StatefulSet")["spec"]["serviceName"], only("Service")["metadata"]["name"])
        # By its ports' names, and at the address that workers are told.
        container = pod["spec"]["containers"][0]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        for port in only("Service")["spec"]["ports"]:
            self.assertEqual(ports[port["targetPort"]], port["port"])
        self.assertIn(f"--advertise=syncbn.{namespace}.svc:{ports['grpc']}", container["args"])

    def test_jobs_have_the_volumes_of_the_coordinator_at_its_paths(self):
        spec = only("StatefulSet")["spec"]["template"]["spec"]
        claims = {volume["name"]: volume["persistentVolumeClaim"]["claimName"] for volume in spec["volumes"]}
        container = spec["containers"][0]
        mounted = {f"--kube-claim={claims[mount['name']]}:{mount['mountPath']}" for mount in container["volumeMounts"]}
        self.assertEqual({word for word in container["args"] if word.startswith("--kube-claim=")}, mounted)
        image = next(entry["value"] for entry in container["env"] if entry["name"] == "SYNCBN_IMAGE")
        self.assertEqual(image, container["image"], "one program everywhere")

    def test_nothing_has_more_rights_than_it_needs(self):
        self.assertNotIn("*", json.dumps(only("Role")["rules"]))
        for item in (only("StatefulSet"), only("Job")):
            spec = item["spec"]["template"]["spec"]
            self.assertTrue(spec["securityContext"]["runAsNonRoot"])
            for container in spec["containers"]:
                self.assertEqual(container["securityContext"],
                                 {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}})
        self.assertFalse(only("Job")["spec"]["template"]["spec"]["automountServiceAccountToken"])

    def test_the_coordinators_arguments_start_it_and_its_probes_are_answered(self):
        container = only("StatefulSet")["spec"]["template"]["spec"]["containers"][0]
        with tempfile.TemporaryDirectory() as folder:
            os.makedirs(folder + "/cluster")
            os.makedirs(folder + "/data")
            stand_in = subprocess.Popen([sys.executable, "-B", HERE + "/stand_in.py", folder + "/cluster", "--role",
                                         os.path.join(FOLDER, "access.yaml")], stdout=subprocess.PIPE, text=True)
            port = stand_in.stdout.readline().split()[-1]
            words = [word.replace("/var/lib/syncbn", folder + "/shared").replace("=/data", f"={folder}/data")
                     .replace(":/data", f":{folder}/data").replace("$(SYNCBN_IMAGE)", container["image"])
                     .replace("0.0.0.0:7700", "127.0.0.1:0").replace("0.0.0.0:7701", "127.0.0.1:0")
                     for word in container["args"]]
            self.assertEqual(container["command"], ["syncbn", "serve"])
            # What a pod has of itself; and a name that only a cluster knows.
            words += [f"--kube-api=http://127.0.0.1:{port}", "--kube-namespace=syncbn"]
            with open(folder + "/errors", "w", encoding="utf-8") as errors:
                serve = subprocess.Popen([SYNCBN, "serve"] + words, stdout=subprocess.PIPE, stderr=errors, text=True)
            try:
                line = serve.stdout.readline()
                with open(folder + "/errors", encoding="utf-8") as errors:
                    self.assertIn("syncbn serves on ", line, errors.read())
                address = re.search(r"http ([0-9.:]+)", line).group(1)
                for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                    path = container[probe]["httpGet"]["path"]
                    self.assertEqual(status(f"http://{address}{path}"), 200, probe)
                self.assertTrue(os.path.exists(folder + "/shared/coordinator/admin-token"))
            finally:
                serve.terminate()
                self.assertEqual(serve.wait(30), 0)
                stand_in.terminate()
                stand_in.wait(30)


def status(url):
    """Ready a moment after it serves."""
    for _ in range(100):
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            last = error.code
        time.sleep(0.1)
    return last


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
