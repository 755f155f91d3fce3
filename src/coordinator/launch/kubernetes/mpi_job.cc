#include "coordinator/launch/kubernetes/mpi_job.h"

#include <unistd.h>

#include <algorithm>

#include "base/environment.h"
#include "base/error.h"
#include "coordinator/launch/mpirun_command.h"
#include "coordinator/launch/spool_transfer.h"
#include "coordinator/launch/supervised_launcher.h"

namespace syncbn::coordinator {
namespace {

using nlohmann::json;

// Where the operator mounts the key pair, readable by everybody in the pod; but at /root/.ssh, its
// default, by root alone, from whom ssh would not take it otherwise.
std::string SshFolder() {
  return ::geteuid() == 0 ? "/root/.ssh" : "/run/syncbn-ssh";
}
constexpr int kSshPort = 2222;
// For the supervisor, mpirun and its daemons, beside what the processes of a pod are given.
constexpr int64_t kOverheadMib = 192;
// Names are found by the cluster's DNS some time after the pods are ready.
constexpr double kNameSeconds = 60;

int PerPod(const KubeJobSettings& settings, const SlotRequest& slots) {
  const int most = slots.max_per_host > 0 ? slots.max_per_host : settings.processes_per_pod;
  return std::clamp(std::min(most, settings.processes_per_pod), 1, slots.processes);
}

int PodCount(const KubeJobSettings& settings, const SlotRequest& slots) {
  const int per_pod = PerPod(settings, slots);
  return (slots.processes + per_pod - 1) / per_pod;
}

std::string WorkerHost(const KubeJobSettings& settings, const std::string& job, int worker) {
  return job + "-worker-" + std::to_string(worker) + "." + job + "." + settings.name_space + ".svc";
}

std::string StoreOf(const std::string& marker) {
  return marker.substr(0, marker.find('/'));
}

json LabelsOf(const LaunchRequest& request) {
  return {{kStoreLabel, StoreOf(request.marker)},
          {kJobLabel, std::to_string(request.attempt.id.job)},
          {kAttemptLabel, std::to_string(request.attempt.id.attempt)},
          {"app.kubernetes.io/name", "syncbn"},
          {"app.kubernetes.io/component", "worker"}};
}

int64_t CeilSeconds(std::chrono::microseconds time) {
  return std::chrono::ceil<std::chrono::seconds>(time).count();
}

// From SIGTERM to the supervisor to its exit record: its ladder from that rung on.
int64_t GraceSeconds(const LaunchRequest& request) {
  return CeilSeconds(request.ladder.terminate + request.ladder.launcher + 2 * request.kill_time +
                     4 * request.remote_time + std::chrono::seconds(5));
}

// `tag`, or `tag=value`, is a label of nodes.
json NodeAffinity(const SlotRequest& slots) {
  json terms = json::array();
  auto add = [&](const std::string& key, const char* relation,
                 const std::vector<std::string>& values) {
    json term = {{"key", key}, {"operator", relation}};
    if (!values.empty()) term["values"] = values;
    terms.push_back(std::move(term));
  };
  if (!slots.hosts.empty()) add("kubernetes.io/hostname", "In", slots.hosts);
  if (!slots.excluded_hosts.empty()) add("kubernetes.io/hostname", "NotIn", slots.excluded_hosts);
  for (const std::string& tag : slots.tags) {
    const size_t equals = tag.find('=');
    if (equals == std::string::npos) {
      add(tag, "Exists", {});
    } else {
      add(tag.substr(0, equals), "In", {tag.substr(equals + 1)});
    }
  }
  if (terms.empty()) return nullptr;
  json selector;
  selector["nodeSelectorTerms"] = json::array({json{{"matchExpressions", terms}}});
  return {{"nodeAffinity", {{"requiredDuringSchedulingIgnoredDuringExecution", selector}}}};
}

// A pod has no more processes than a host may have; two on one node might.
json OnePodANode(const LaunchRequest& request) {
  json labels = LabelsOf(request);
  json term;
  for (const char* label : {kStoreLabel, kJobLabel, kAttemptLabel})
    term["labelSelector"]["matchLabels"][label] = labels[label];
  term["topologyKey"] = "kubernetes.io/hostname";
  return {{"requiredDuringSchedulingIgnoredDuringExecution", json::array({term})}};
}

json Resources(const KubeJobSettings& settings, const SlotRequest& slots) {
  const int per_pod = PerPod(settings, slots);
  // No limit of processors: it would only hold processes up that nobody is in the way of.
  json requests = {{"cpu", std::to_string(per_pod * slots.threads)}};
  json limits = json::object();
  if (slots.memory_mib > 0) {
    const std::string memory = std::to_string(slots.memory_mib * per_pod + kOverheadMib) + "Mi";
    requests["memory"] = memory;
    limits["memory"] = memory;
  }
  if (settings.gpus_per_process > 0)
    limits["nvidia.com/gpu"] = std::to_string(settings.gpus_per_process * per_pod);
  json resources = {{"requests", requests}};
  if (!limits.empty()) resources["limits"] = limits;
  return resources;
}

// The same user as this process, so that both own what is on the volume.
json PodSecurity() {
  json context = {{"seccompProfile", {{"type", "RuntimeDefault"}}}};
  if (::geteuid() != 0) {
    context["runAsNonRoot"] = true;
    context["runAsUser"] = ::geteuid();
    context["runAsGroup"] = ::getegid();
    context["fsGroup"] = ::getegid();
    context["fsGroupChangePolicy"] = "OnRootMismatch";
  }
  return context;
}

json ContainerSecurity() {
  // An sshd of root's wants its capabilities, to give them up.
  if (::geteuid() == 0) return {{"allowPrivilegeEscalation", false}};
  json drop;
  drop["drop"] = json::array({"ALL"});
  return {{"allowPrivilegeEscalation", false}, {"capabilities", drop}};
}

json PodTemplate(const KubeJobSettings& settings, const LaunchRequest& request,
                 const std::vector<std::string>& command) {
  json mounts = json::array(), volumes = json::array();
  for (size_t i = 0; i < settings.claims.size(); ++i) {
    const std::string name = "shared-" + std::to_string(i);
    mounts.push_back({{"name", name}, {"mountPath", settings.claims[i].path.string()}});
    volumes.push_back(
        {{"name", name}, {"persistentVolumeClaim", {{"claimName", settings.claims[i].name}}}});
  }
  // Ranks of one pod exchange messages through it; a container's own has 64 MiB.
  mounts.push_back({{"name", "shm"}, {"mountPath", "/dev/shm"}});
  volumes.push_back({{"name", "shm"}, {"emptyDir", {{"medium", "Memory"}}}});

  json container = {{"name", "syncbn"},       {"image", settings.image},
                    {"command", command},     {"resources", Resources(settings, request.request)},
                    {"volumeMounts", mounts}, {"securityContext", ContainerSecurity()}};
  json spec = {{"containers", json::array({container})},
               {"volumes", volumes},
               {"securityContext", PodSecurity()},
               // What runs here has no business with the API server.
               {"automountServiceAccountToken", false},
               {"terminationGracePeriodSeconds", GraceSeconds(request)}};
  json affinity = NodeAffinity(request.request);
  if (request.request.max_per_host > 0 && PodCount(settings, request.request) > 1)
    affinity["podAntiAffinity"] = OnePodANode(request);
  if (!affinity.is_null()) spec["affinity"] = std::move(affinity);
  json metadata = {{"labels", LabelsOf(request)}};
  return {{"metadata", metadata}, {"spec", spec}};
}

// An sshd that takes the MPIJob's key alone and shows it, too. A key that others can read, as the
// files of a secret are, is none that ssh's programs take from their own user.
std::vector<std::string> WorkerCommand() {
  const std::string ssh = SshFolder();
  const std::string script =
      "umask 077; own=$(mktemp -d) && cp " + ssh +
      "/id_rsa \"$own/key\" && "
      "{ [ \"$(id -u)\" != 0 ] || mkdir -p /run/sshd; } && "
      "sshd=$(command -v sshd || echo /usr/sbin/sshd) && "
      "exec \"$sshd\" -D -e -f /dev/null -p " +
      std::to_string(kSshPort) + " -h \"$own/key\" -o AuthorizedKeysFile=" + ssh +
      "/authorized_keys"
      " -o PidFile=none -o StrictModes=no -o UsePAM=no -o AuthenticationMethods=publickey"
      " -o PermitRootLogin=prohibit-password -o X11Forwarding=no -o AllowTcpForwarding=no"
      " -o AllowAgentForwarding=no -o PrintMotd=no"
      // What the image and the node's plugins have set is nothing that a login would get.
      " -o \"SetEnv=PATH=$PATH LD_LIBRARY_PATH=$LD_LIBRARY_PATH\"";
  return {"/bin/sh", "-c", script};
}

// A pod that is told to end while ranks are in it (its node is drained, another pod is worth more)
// asks them to leave, and its sshd stays until they have.
json WaitForRanks(const KubeJobSettings& settings, const LaunchRequest& request) {
  const std::string sweep = settings.program + " sweep --marker " + request.marker;
  const std::string script = sweep + " --terminate; while ! " + sweep +
                             " --look | grep -q '^activity 0 '; do sleep 0.2; done";
  json exec;
  exec["command"] = json::array({"/bin/sh", "-c", script});
  return {{"preStop", {{"exec", exec}}}};
}

// The operator's settings of communication libraries for all jobs, by value: the pods' own
// processes do not have this process's environment.
std::vector<std::string> SettingsOfOperator() {
  std::vector<std::string> settings;
  for (const std::string& entry : BaseEnvironment()) {
    for (const char* prefix : {"OMPI_", "PMIX_", "PRTE_", "UCX_", "NCCL_", "ASAN_", "TSAN_"}) {
      if (entry.starts_with(prefix)) settings.push_back(entry);
    }
  }
  return settings;
}

}  // namespace

void ValidateSettings(const KubeJobSettings& settings, const std::filesystem::path& data) {
  auto refuse = [](const std::string& why) { throw Error(ErrorCode::kInvalidArgument, why); };
  if (settings.image.empty())
    refuse(
        "--launcher kubernetes needs --kube-image IMAGE, in which jobs run (docker/Dockerfile "
        "makes one)");
  if (!IsPlainWord(settings.program) || settings.program[0] != '/')
    refuse("--kube-program must be an absolute path of plain characters, found '" +
           settings.program + "'");
  bool held = false;
  for (const KubeClaim& claim : settings.claims) {
    const std::filesystem::path within = data.lexically_relative(claim.path);
    held = held || (!within.empty() && *within.begin() != "..");
  }
  if (!held) {
    refuse("--launcher kubernetes needs --kube-claim NAME:PATH with a PATH that holds --data (" +
           data.string() + "): coordinator and pods share that volume, at the same path");
  }
  if (!IsPlainWord(data.string()))
    refuse("--data " + data.string() +
           " must be a path of plain characters with the launcher "
           "kubernetes: ssh hands it to a shell");
  if (settings.patch.is_null()) return;
  if (!settings.patch.is_object()) refuse("--kube-patch must hold a JSON object");
  for (const char* path : {"/apiVersion", "/kind", "/metadata/name", "/metadata/namespace",
                           "/spec/mpiReplicaSpecs/Launcher/template/spec/containers",
                           "/spec/mpiReplicaSpecs/Worker/template/spec/containers",
                           "/spec/mpiReplicaSpecs/Launcher/template/spec/volumes",
                           "/spec/mpiReplicaSpecs/Worker/template/spec/volumes"}) {
    if (settings.patch.contains(json::json_pointer(path)))
      refuse(std::string("--kube-patch cannot replace ") + path + ", which the launcher writes");
  }
}

std::string MpiJobName(const std::string& marker) {
  const AttemptId id = ParseAttemptName(std::string_view(marker).substr(marker.find('/') + 1));
  return "syncbn-" + StoreOf(marker).substr(0, 8) + "-" + std::to_string(id.job) + "-" +
         std::to_string(id.attempt);
}

Placement PodsOf(const KubeJobSettings& settings, const LaunchRequest& request) {
  const std::string name = MpiJobName(request.marker);
  const int per_pod = PerPod(settings, request.request);
  Placement placement;
  for (int first = 0, pod = 0; first < request.request.processes; first += per_pod, ++pod) {
    placement.push_back({.host = pod == 0 ? "localhost" : WorkerHost(settings, name, pod - 1),
                         .processes = std::min(per_pod, request.request.processes - first)});
  }
  return placement;
}

std::filesystem::path HostfileOf(const std::filesystem::path& folder) {
  return folder / "hostfile";
}

std::filesystem::path SshConfigOf(const std::filesystem::path& folder) {
  return folder / "ssh_config";
}

std::string SshConfigText() {
  const std::string ssh = SshFolder();
  return "Host *\n"
         "  Port " +
         std::to_string(kSshPort) +
         "\n"
         "  BatchMode yes\n"
         "  ConnectTimeout 5\n"
         "  ConnectionAttempts 10\n"
         "  ServerAliveInterval 15\n"
         "  IdentityFile " +
         ssh +
         "/id_rsa\n"
         "  IdentitiesOnly yes\n"
         // Every pod of the MPIJob shows its key pair, and nobody else has it.
         "  UserKnownHostsFile /dev/null\n"
         "  GlobalKnownHostsFile /dev/null\n"
         "  KnownHostsCommand /bin/sed \"s|^|%H |\" " +
         ssh +
         "/id_rsa.pub\n"
         "  StrictHostKeyChecking yes\n"
         "  LogLevel ERROR\n";
}

v1::AttemptSpec PodAttemptSpec(const KubeJobSettings& settings, const LaunchRequest& request) {
  LaunchRequest placed = request;
  placed.placement = PodsOf(settings, request);
  MpirunSettings mpirun{.mca = settings.mca, .exports = settings.exports};
  mpirun.launch_agent = {"ssh", "-F", SshConfigOf(request.attempt.folder).string()};
  v1::AttemptSpec spec = MakeAttemptSpec(placed);
  for (std::string& word :
       MpirunCommand(mpirun, placed, HostfileOf(request.attempt.folder).string()))
    spec.add_command(std::move(word));
  std::vector<std::string> environment = SettingsOfOperator();
  for (const std::string& entry : request.environment) {
    const std::string name = VariableName(entry);
    SetVariable(environment, name, entry.substr(name.size() + 1));
  }
  // The operator's own file of hosts would be read beside ours.
  SetVariable(environment, "OMPI_MCA_orte_default_hostfile", "none");
  for (std::string& entry : environment) spec.add_environment(std::move(entry));
  for (const char* name :
       {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_*", "TZ", "LD_LIBRARY_PATH",
        "OPAL_PREFIX", "OMPI_*", "PMIX_*", "UCX_*", "NCCL_*", "NVIDIA_*", "CUDA_*"}) {
    spec.add_inherit(name);
  }
  for (std::string& host : RemoteHosts(placed.placement)) spec.add_remote_hosts(std::move(host));
  spec.set_name_seconds(kNameSeconds);
  for (const std::string& word : mpirun.launch_agent) spec.add_launch_agent(word);
  spec.set_remote_program(settings.program);
  spec.set_tagged_output(true);
  return spec;
}

nlohmann::json MpiJob(const KubeJobSettings& settings, const LaunchRequest& request) {
  const SlotRequest& slots = request.request;
  const int pods = PodCount(settings, slots);
  json launcher = PodTemplate(
      settings, request,
      {settings.program, "supervise", "--foreground", "--folder", request.attempt.folder.string()});
  if (request.time_limit) {
    // The last resort, behind the coordinator's own limit and the whole ladder. Of the pod, not of
    // the MPIJob's runPolicy, whose time also runs while no node takes the pod.
    launcher["spec"]["activeDeadlineSeconds"] =
        CeilSeconds(*request.time_limit + LongestEnd(request) + std::chrono::minutes(2));
  }
  json replicas = {
      {"Launcher", {{"replicas", 1}, {"restartPolicy", "Never"}, {"template", launcher}}}};
  if (pods > 1) {
    json worker = PodTemplate(settings, request, WorkerCommand());
    json& container = worker["spec"]["containers"][0];
    container["lifecycle"] = WaitForRanks(settings, request);
    // The launcher is made when all workers are ready.
    container["readinessProbe"] = {{"tcpSocket", {{"port", kSshPort}}}, {"periodSeconds", 1}};
    replicas["Worker"] = {{"replicas", pods - 1}, {"restartPolicy", "Never"}, {"template", worker}};
  }
  json metadata = {{"name", MpiJobName(request.marker)},
                   {"namespace", settings.name_space},
                   {"labels", LabelsOf(request)},
                   {"annotations", {{kFolderAnnotation, request.attempt.folder.string()}}}};
  if (!settings.queue.empty()) metadata["labels"]["kueue.x-k8s.io/queue-name"] = settings.queue;
  // Attempts are the coordinator's: nothing is tried again here. Pods that have ended stay, to be
  // asked why, until the object goes.
  json policy = {{"backoffLimit", 0}, {"cleanPodPolicy", "Running"}};
  json spec = {{"slotsPerWorker", PerPod(settings, slots)},
               {"runLauncherAsWorker", true},
               {"launcherCreationPolicy", "WaitForWorkersReady"},
               {"mpiImplementation", "OpenMPI"},
               {"sshAuthMountPath", SshFolder()},
               {"runPolicy", policy},
               {"mpiReplicaSpecs", replicas}};
  json job = {{"apiVersion", "kubeflow.org/v2beta1"},
              {"kind", "MPIJob"},
              {"metadata", metadata},
              {"spec", spec}};
  if (!settings.patch.is_null()) {
    json patch = settings.patch;
    // Of workers that there are not nothing can be changed.
    if (pods == 1 && patch.contains("/spec/mpiReplicaSpecs/Worker"_json_pointer))
      patch["spec"]["mpiReplicaSpecs"].erase("Worker");
    job.merge_patch(patch);
    // By these it is found.
    job["metadata"]["labels"].update(LabelsOf(request));
    job["metadata"]["annotations"][kFolderAnnotation] = request.attempt.folder.string();
  }
  return job;
}

}  // namespace syncbn::coordinator
