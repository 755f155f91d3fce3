"""How each block of shell commands of the pages is run by pages_test.py: (page, heading, number below it)."""
import dataclasses
import sys


@dataclasses.dataclass
class Block:
    changes: list = dataclasses.field(default_factory=list)  # (text, what stands in its place)
    before: str = ""     # commands before the page's
    after: str = ""      # and behind them
    stand_ins: dict = dataclasses.field(default_factory=dict)  # programs that this machine has not: name -> body
    says: list = dataclasses.field(default_factory=list)     # words of its output, or of how stand-ins were called
    leaves: list = dataclasses.field(default_factory=list)   # files that are there afterwards
    tools: list = dataclasses.field(default_factory=list)
    modules: list = dataclasses.field(default_factory=list)  # of the Python that runs this
    needs_data: bool = False
    seconds: int = 240


# Words behind `syncbn` that are no subcommands.
ONLY_LOOKED_AT = ()

DEMO = "configs/shapes-demo.yaml"
SMALL = DEMO + " --set data.shapes.train_samples=256 --set data.shapes.test_samples=64 --set train.epochs=2"
# A coordinator is there when it answers; its ports may be taken here.
SERVES = ("syncbn serve --data runs/coordinator &",
          "syncbn serve --data runs/coordinator --listen $SYNCBN_SERVER --http off & until syncbn status >/dev/null 2>&1; do sleep 0.1; done")
SERVE = "build/bin/" + SERVES[1] + "\n"
MPI = ". launch/mpi-environment\n"

# A mirror of CIFAR-10 as its publisher packs it, every image black, and the sums of its archive.
MIRROR = """mkdir -p mirror/cifar-10-batches-bin
(cd mirror
for name in data_batch_1 data_batch_2 data_batch_3 data_batch_4 data_batch_5 test_batch; do
  head -c 30730000 /dev/zero > cifar-10-batches-bin/$name.bin
done
echo airplane > cifar-10-batches-bin/batches.meta.txt
tar c cifar-10-batches-bin | gzip -1 > cifar-10-binary.tar.gz
rm -r cifar-10-batches-bin
md5sum cifar-10-binary.tar.gz > sums)
rm -f data/cifar-10-batches-bin
export SYNCBN_MIRROR=file://$PWD/mirror SYNCBN_MD5SUMS=$PWD/mirror/sums
"""

# Of a path among its words, that it is there.
LOOKS = """for word in "$@"; do
  case $word in
    */*.yaml | */Dockerfile | */*.sbatch) [[ $word == /usr/* || -e $TREE/$word ]] || { echo "there is no $word" >&2; exit 1; } ;;
  esac
done
"""
DOCKER = LOOKS + """
if [[ $* == *' exec coordinator '* ]]; then
  grep -q '^  coordinator:' $TREE/docker/compose.yaml || { echo 'no such service' >&2; exit 1; }
fi
"""
# Its `exec` shows the token of a coordinator that runs here.
KUBECTL = """for word in "$@"; do
  case $word in
    https://*) ;;
    */*.yaml) [[ -e $TREE/$word ]] || { echo "there is no $word" >&2; exit 1; } ;;
  esac
done
if [[ $* == *' exec syncbn-0 -- cat '* ]]; then cat $TREE/runs/token; fi
"""
# A PNG of one pixel.
IMAGE = ("echo iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg== "
         "| base64 -d > image.png")
# The study of the pages with two seeds and few samples.
FEW_SEEDS = ("configs/studies/norm-batch.yaml", "fewer/norm-batch.yaml")
FEWER = """mkdir fewer
sed 's/^seeds: .*/seeds: 2/; s/train_samples: 4096/train_samples: 256/' configs/studies/norm-batch.yaml > fewer/norm-batch.yaml
"""
# A study whose larger batches reach the target in fewer steps.
COUNTED = """cat > counted.yaml <<'TEXT'
name: batch
question: How many steps?
run:
  data: {dataset: mnist, path: data/mnist, train_limit: 2048, test_limit: 512}
  model: {architecture: mlp}
  cluster: {replicas: 2, batch_per_replica: 8}
  train: {epochs: 8, learning_rate: {base: 0.02}}
axes: [{name: batch, path: cluster.batch_per_replica, values: [8, 32, 128]}]
seeds: 2
targets: [{name: 90 %, metric: test_accuracy, at_least: 0.6}]
TEXT
syncbn study run counted.yaml --out studies/batch --quiet
"""

# Real installations by pip, which has to find all it needs here; the distribution's Python, whatever is first in PATH.
NO_NETWORK = "export PIP_NO_INDEX=1 PYTHONDONTWRITEBYTECODE=1; unset PYTHONPATH\n"
THIS_PYTHON = {"python3": f'exec {sys.executable} "$@"\n'}
STUB_TOOLS = ["protoc", "grpc_python_plugin"]
PYTHON_LIBRARIES = ["grpc", "google.protobuf", "yaml", "pandas", "setuptools", "wheel"]

BLOCKS = {
    ("README.md", "syncbn", 1): Block(
        changes=[("launch/demo ", "launch/demo --set data.shapes.train_samples=256 --set train.epochs=1 ")],
        says=["build release syncbn", "identical to the last bit", "\ntest \n"]),
    ("README.md", "Train", 1): Block(
        changes=[("--out runs/r20", "--out runs/r20 --set train.max_steps=2 --set data.train_limit=512 --set data.test_limit=64")],
        before=MIRROR, tools=["curl"], says=["cifar10 is complete in "], leaves=["runs/r20/summary.json"]),
    ("README.md", "Serve", 1): Block(changes=[SERVES, (DEMO, SMALL)], says=["SUCCEEDED"]),
    ("README.md", "Study", 1): Block(
        changes=[FEW_SEEDS], before=FEWER, leaves=["studies/norm-batch/report.html"]),
    ("configs/README.md", "Run files", 1): Block(
        changes=[(DEMO, SMALL), ("--step 100", "--step 3")], says=["default", "layer3"], leaves=["runs/first/summary.json"]),
    ("configs/README.md", "Where the time goes", 1): Block(
        changes=[(DEMO, SMALL)], before=MPI, leaves=["runs/profiled/profile/trace.json", "runs/profiled/profile/layers.csv"]),
    ("configs/README.md", "Use what was trained", 1): Block(
        changes=[(DEMO, SMALL)], before=IMAGE, says=["precise", '{"image":"image.png","top":[{"label":'], leaves=["tuned.onnx"]),
    ("configs/claims/README.md", "Claims about batch normalization", 1): Block(
        needs_data=True, leaves=["claims-quick/overview.html"]),
    ("configs/studies/README.md", "Studies", 1): Block(
        changes=[FEW_SEEDS], before=FEWER, leaves=["studies/norm-batch/report.html"]),
    ("configs/studies/README.md", "As jobs of a coordinator", 1): Block(
        changes=[FEW_SEEDS], before=FEWER + SERVE, leaves=["studies/norm-batch/report.html"]),
    ("configs/studies/README.md", "Forecast", 1): Block(says=["     1024   8192", "free of charge"]),
    ("configs/studies/README.md", "Forecast", 2): Block(
        changes=[("RUN.yaml", SMALL)],
        needs_data=True, before=COUNTED + f"syncbn train {SMALL} --set probes.noise_scale=2 --out runs/r20\n", says=["90 %"]),
    ("docker/README.md", "Images", 1): Block(stand_ins={"docker": DOCKER}, says=["docker build -f docker/Dockerfile"]),
    ("launch/README.md", "A first run", 1): Block(changes=[(DEMO, SMALL)], leaves=["runs/first/summary.json"]),
    ("launch/README.md", "The coordinator", 1): Block(changes=[SERVES, (DEMO, SMALL)], says=["SUCCEEDED"]),
    # This machine alone, by the name that others know it by.
    ("launch/README.md", "Several machines", 1): Block(
        changes=[("0.0.0.0:7700", "0.0.0.0:${SYNCBN_SERVER#*:}"), ("NAME:7700", "$(hostname):${SYNCBN_SERVER#*:}"),
                 ("DIR", "$PWD/data/coordinator"), ("--allow-plaintext", "--allow-plaintext --http off &")],
        before="echo 'hosts: [{name: localhost, slots: 2}]' > hosts.yaml",
        after="""until syncbn status --token-file $PWD/data/coordinator/admin-token; do sleep 0.2; done
syncbn status && { echo 'answers without a token'; exit 1; } || echo refused with $?""",
        says=["refused with 2"]),
    ("launch/README.md", "Slurm", 1): Block(
        changes=[("DIR", "runs/slurm --listen $SYNCBN_SERVER --http off & until syncbn status; do sleep 0.2; done")],
        stand_ins={"sbatch": LOOKS, "squeue": "", "scancel": "", "srun": ""},
        says=["sbatch --ntasks=8 launch/syncbn.sbatch " + DEMO]),
    ("launch/kubernetes/README.md", "What it needs", 1): Block(
        stand_ins={"kubectl": KUBECTL}, says=["kubectl apply --server-side -f https://"]),
    ("launch/kubernetes/README.md", "Set up, submit, see, remove", 1): Block(
        changes=[(DEMO, SMALL)], stand_ins={"kubectl": KUBECTL},
        before="""syncbn serve --data runs/coordinator --admin-token-file runs/token --listen $SYNCBN_SERVER --http off &
until syncbn status --token-file runs/token >/dev/null 2>&1; do sleep 0.1; done""",
        after="grep REGISTRY launch/kubernetes/coordinator.yaml launch/kubernetes/submit.yaml",
        says=["SUCCEEDED", "kubectl create -f launch/kubernetes/submit.yaml", "image: REGISTRY/syncbn:1", "&image REGISTRY/syncbn:1"]),
    ("launch/README.md", "Reading a stall report", 1): Block(
        # Where in a step the rank is stopped is left to chance.
        says=["ended with 5", "), reduction ", "; who is missing:\n  rank 1 on ", " has not been heard of for ",
              "\n  in waiting for '", "\n  in replica "]),
    # Where there is no GPU every part says so; tests/gpu/script_test.py has the others.
    ("src/backend/cuda/README.md", "On a GPU", 1): Block(
        changes=[("--out gpu-results", "--out gpu-results conformance || test $? = 3")], says=["conformance"]),
    ("src/client/python/README.md", "syncbn from Python", 1): Block(
        before=NO_NETWORK, stand_ins=THIS_PYTHON, tools=STUB_TOOLS, modules=["ensurepip", *PYTHON_LIBRARIES],
        says=["Successfully installed syncbn-"], leaves=["build/python/bin/activate"]),
    ("src/client/python/README.md", "syncbn from Python", 2): Block(
        before=NO_NETWORK, stand_ins=THIS_PYTHON, tools=STUB_TOOLS, modules=["pip", *PYTHON_LIBRARIES],
        says=["Successfully installed syncbn-"], leaves=["build/site/syncbn/v1/job_pb2.py"]),
    ("tests/README.md", "Tests and figures", 1): Block(says=["test \n", "test --image\n", "test -R config\n", "test --sanitize\n"]),
}
