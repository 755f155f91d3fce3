#include "app/serve/serve.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "app/serve/hosts_file.h"
#include "app/serve/job_launch.h"
#include "app/serve/own_address.h"
#include "app/study/trial_runner.h"
#include "app/terminal.h"
#include "app/versions.h"
#include "base/error.h"
#include "base/file.h"
#include "base/file_limit.h"
#include "base/host.h"
#include "base/text.h"
#include "coordinator/control/spool_ingest.h"
#include "coordinator/launch/attempt_folder.h"
#include "coordinator/launch/kubernetes/kubernetes_launcher.h"
#include "coordinator/launch/process.h"
#include "coordinator/launch/slurm_launcher.h"
#include "coordinator/launch/supervised_launcher.h"
#include "coordinator/service/address.h"
#include "coordinator/service/admin_service.h"
#include "coordinator/service/cluster_service.h"
#include "coordinator/service/http_server.h"
#include "coordinator/service/job_service.h"
#include "coordinator/service/log_service.h"
#include "coordinator/service/metrics_service.h"
#include "coordinator/service/submission.h"
#include "coordinator/service/worker_service.h"
#include "coordinator/study/study_service.h"
#include "coordinator/web/dashboard.h"

namespace syncbn::app {
namespace {

namespace fs = std::filesystem;
using namespace coordinator;

constexpr std::chrono::milliseconds kGrace = std::chrono::seconds(2);
// Files that may be open: without jobs and clients, and as many as are of use.
constexpr uint64_t kLeastFiles = 64, kMostFiles = 65536;

// Waits for SIGTERM or SIGINT, which no thread of the process handles otherwise. Meanwhile it sees to
// it that no child stays behind as a zombie.
class EndSignals {
 public:
  EndSignals() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGTERM);
    sigaddset(&set_, SIGINT);
    ::pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  }
  int Wait() const {
    while (true) {
      const timespec second{.tv_sec = 1, .tv_nsec = 0};
      const int signal = ::sigtimedwait(&set_, nullptr, &second);
      if (signal > 0) return signal;
      ReapStrays();
    }
  }

 private:
  sigset_t set_;
};

// Jobs would fail one by one for want of them.
void RequireTools(const Launcher& launcher) {
  std::vector<std::string> missing;
  for (const std::string& tool : launcher.Tools()) {
    if (!FindProgram(tool)) missing.push_back(tool);
  }
  if (missing.empty()) return;
  const char* path = std::getenv("PATH");
  const bool slurm = launcher.Name() == "slurm";
  throw Error(ErrorCode::kFailedPrecondition,
              "the launcher " + launcher.Name() + " needs " + Join(missing, ", ") +
                  ", and cannot find " + (missing.size() == 1 ? "it" : "them") + " (PATH is " +
                  (path != nullptr ? path : "not set") + "): install " +
                  (slurm ? "Slurm's client programs (Debian: slurm-client), or choose another --launcher"
                         : "Open MPI and ssh (Debian: openmpi-bin, openssh-client), or name them in "
                           "the hosts file (mpirun, launch_agent)"));
}

class Coordinator {
 public:
  explicit Coordinator(ServeOptions options);
  void Run(const EndSignals& signals);

 private:
  void ChooseLauncher();
  std::unique_ptr<Launcher> MakeKubernetesLauncher() const;
  Controller::Options ControllerOptions();
  // Workers must be able to find this server.
  void CheckAdvertised();
  // Those on which jobs run, in words; empty where there are none.
  std::string OtherMachines() const;
  std::unique_ptr<Server> Listen();
  std::unique_ptr<HttpServer> ListenForHttp();
  ClusterFigures Figures() const;
  void IngestSpoolOf(const AttemptRef& attempt);
  void Log(const std::string& event, const std::string& message) {
    log_.Write({.event = event, .message = message});
  }
  void Warn(const std::string& event, const std::string& message) {
    log_.Write({.level = LogEvent::Level::kWarning, .event = event, .message = message});
  }
  // Where it listens, for who looks into the data folder.
  void WriteServerFile(const std::string& grpc, const std::string& http);

  ServeOptions options_;
  EventLog log_;
  Store store_;
  Cluster cluster_;
  std::unique_ptr<Launcher> launcher_;
  JobLaunch job_launch_;
  std::unique_ptr<Controller> controller_;
  Authenticator authenticator_;
  ServerMetrics metrics_;
  CallGate gate_;
  FollowerPool followers_{{}};
  std::unique_ptr<JobWatcher> watcher_;
  std::unique_ptr<JobService> jobs_;
  std::unique_ptr<ClusterService> hosts_;
  std::unique_ptr<WorkerService> workers_;
  MetricsService series_{store_, gate_, followers_};
  LogService logs_{store_, gate_, followers_};
  AdminService admin_{gate_};
  std::unique_ptr<StudyDrivers> drivers_;
  std::unique_ptr<StudyService> studies_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<Dashboard> dashboard_;
  std::unique_ptr<HttpServer> http_;
};

Coordinator::Coordinator(ServeOptions options)
    : options_(std::move(options)),
      log_(options_.log),
      store_({.folder = options_.data}),
      authenticator_(store_),
      metrics_(
          {.store = &store_, .cluster = [this] { return Figures(); }, .version = ProgramVersion()}),
      gate_({.store = &store_,
             .authenticator = &authenticator_,
             .metrics = &metrics_,
             .log = &log_,
             .user_rate = {.per_second = options_.calls_per_second,
                           .burst = 2 * options_.calls_per_second}}) {
  if (options_.output_root.empty()) options_.output_root = options_.data / "output";
  std::error_code cause;
  fs::create_directories(options_.output_root, cause);
  if (cause) {
    throw Error(ErrorCode::kInvalidArgument, "cannot make the folder of outputs " +
                                                 options_.output_root.string() + ": " +
                                                 cause.message() + "; choose another --output-root");
  }
  options_.output_root = fs::canonical(options_.output_root);
  // Where nothing is said: the folder in which it is started, unless that is where its own secrets are.
  if (options_.data_roots.empty()) {
    const fs::path here = fs::current_path();
    const fs::path within = here.lexically_relative(options_.data);
    if (within.empty() || *within.begin() == "..") options_.data_roots.push_back(here);
  }
  for (fs::path& root : options_.data_roots) root = fs::absolute(root);
  ChooseLauncher();
  job_launch_ = {.program = cluster_.program,
                 .data = options_.data,
                 .store_id = store_.id(),
                 .submission = {.output_root = options_.output_root,
                                .data_roots = options_.data_roots,
                                .allowed_variables = options_.allowed_variables,
                                .runs_here = launcher_->Name() == "local"},
                 .ladder = options_.ladder,
                 .max_log_bytes = options_.max_log_bytes};
  if (options_.worker_ca) job_launch_.tls_ca = fs::absolute(*options_.worker_ca);
  if (options_.worker_certificate && options_.worker_key) {
    job_launch_.tls_certificate = fs::absolute(*options_.worker_certificate);
    job_launch_.tls_key = fs::absolute(*options_.worker_key);
  }
  options_.job_policy = WithTimeToEnd(options_.job_policy, options_.ladder, launcher_->Delays());
  controller_ = std::make_unique<Controller>(ControllerOptions());
  watcher_ = std::make_unique<JobWatcher>(
      store_, gate_, followers_,
      [this](const JobRecord& record) { return controller_->View(record); });
  jobs_ = std::make_unique<JobService>(JobService::Options{.store = &store_,
                                                           .controller = controller_.get(),
                                                           .submission = job_launch_.submission,
                                                           .ownership = options_.ownership,
                                                           .gate = &gate_,
                                                           .watcher = watcher_.get()});
  hosts_ = std::make_unique<ClusterService>(ClusterService::Options{
      .store = &store_,
      .controller = controller_.get(),
      .gate = &gate_,
      .ownership = options_.ownership,
      .version = ProgramVersion(),
      .launcher = launcher_->Name(),
      .max_message_bytes = gate_.options().max_message_bytes,
      .max_run_file_bytes = static_cast<int64_t>(job_launch_.submission.max_run_file_bytes)});
  workers_ = std::make_unique<WorkerService>(
      WorkerService::Options{.controller = controller_.get(),
                             .gate = &gate_,
                             .heartbeat_interval = options_.monitor.heartbeat_interval});
  drivers_ = std::make_unique<StudyDrivers>(
      StudyOptions{.store = &store_,
                   .controller = controller_.get(),
                   .submission = job_launch_.submission,
                   .by = LocalTrialRunner("cpu").by(),
                   .log = [this](const std::string& line) { Warn("study", line); }});
  studies_ = std::make_unique<StudyService>(StudyService::Options{.drivers = drivers_.get(),
                                                                  .ownership = options_.ownership,
                                                                  .submitter = options_.submitter,
                                                                  .gate = &gate_});
}

void Coordinator::ChooseLauncher() {
  const fs::path own = ProgramPath();
  std::string& name = options_.launcher;
  if (name.empty()) name = options_.hosts_file ? "hosts" : "local";
  if ((name == "hosts") != options_.hosts_file.has_value()) {
    throw Error(ErrorCode::kInvalidArgument,
                name == "hosts" ? "--launcher hosts needs --hosts FILE"
                                : "--hosts FILE goes with --launcher hosts, not " + name);
  }
  if (options_.hosts_file) {
    cluster_ = LoadHostsFile(*options_.hosts_file);
  } else if (name == "local") {
    cluster_ = ThisMachine(options_.slots > 0 ? options_.slots : AvailableCores());
  }
  if (cluster_.program.empty()) cluster_.program = own.string();
  if (name == "slurm") {
    SlurmLauncher::Options slurm{.settings = options_.slurm};
    slurm.settings.supervise = {own.string(), "supervise"};
    slurm.settings.program = own.string();
    launcher_ = std::make_unique<SlurmLauncher>(std::move(slurm));
  } else if (name == "kubernetes") {
    cluster_.program = options_.kube_job.program;
    launcher_ = MakeKubernetesLauncher();
  } else {
    launcher_ = std::make_unique<SupervisedLauncher>(
        SupervisedLauncher::Options{.name = name,
                                    .supervise = {own.string(), "supervise"},
                                    .mpirun = cluster_.mpirun,
                                    .remote_program = cluster_.program});
  }
  RequireTools(*launcher_);
}

std::unique_ptr<Launcher> Coordinator::MakeKubernetesLauncher() const {
  KubernetesLauncher::Options kubernetes{
      .access = options_.kube_access, .job = options_.kube_job, .store_id = store_.id()};
  KubeAccess& access = kubernetes.access;
  if (access.server.empty()) {
    const std::string wanted = access.name_space;
    access = AccessOfPod();
    if (!wanted.empty()) access.name_space = wanted;
  }
  kubernetes.job.name_space = access.name_space;
  if (options_.kube_patch_file) {
    kubernetes.job.patch = KubeAnswer::Parse(ReadFile(*options_.kube_patch_file));
    if (!kubernetes.job.patch.is_object()) {
      throw Error(ErrorCode::kInvalidArgument, "--kube-patch " +
                                                   options_.kube_patch_file->string() +
                                                   " must hold a JSON object (RFC 7386)");
    }
  }
  ValidateSettings(kubernetes.job, options_.data);
  return std::make_unique<KubernetesLauncher>(std::move(kubernetes));
}

Controller::Options Coordinator::ControllerOptions() {
  return {.store = &store_,
          .launcher = launcher_.get(),
          .places = !launcher_->ChoosesHosts(),
          .hosts = cluster_.hosts,
          .output_root = options_.output_root,
          .make_launch =
              [this](const JobRecord& record, const RunFileText& run_file,
                     const LaunchContext& context) {
                return MakeJobLaunch(job_launch_, record, run_file, context);
              },
          .check_output = CheckOutputIsFree,
          .ingest_spool = [this](const AttemptRef& attempt) { IngestSpoolOf(attempt); },
          .worker_address = [this] { return job_launch_.coordinator_address; },
          .log = [this](const std::string& line) { Warn("controller", line); },
          .job_policy = options_.job_policy,
          .host_policy = options_.host_policy,
          .monitor = options_.monitor,
          .retention = options_.retention,
          .submitter = options_.submitter,
          .tick = options_.tick,
          .observe_every = options_.observe_every};
}

void Coordinator::IngestSpoolOf(const AttemptRef& attempt) {
  const SpoolIngest ingested =
      IngestSpool(store_, attempt.id, AttemptFolder(attempt.folder).spool(), Clock::System().Now());
  const std::string text = Describe(ingested);
  if (text.empty()) return;
  metrics_.CountMetricPoints(ingested.points);
  metrics_.CountLostPoints(ingested.lost_points);
  log_.Write(
      {.level = ingested.problems.empty() ? LogEvent::Level::kInfo : LogEvent::Level::kWarning,
       .event = "attempt.spool",
       .message = text,
       .job = JobName(attempt.id.job),
       .attempt = attempt.id.attempt});
}

void Coordinator::CheckAdvertised() {
  const bool chosen = !options_.advertise.empty();
  const std::string address =
      chosen ? options_.advertise : ReachableAddress(options_.server.addresses[0]);
  const auto why = WhyUnresolved(address);
  if (!why) return;
  const std::string message = (chosen ? "--advertise " + address
                                      : "workers would look for this server at " + address +
                                            (address == options_.server.addresses[0]
                                                 ? ", which"
                                                 : " (because it listens on all interfaces), which")) +
                              " has no address here: " + *why;
  // Other machines may know names that this one does not, if they were told so on purpose.
  if (chosen && launcher_->Name() != "local") {
    log_.Write({.level = LogEvent::Level::kWarning, .event = "server.address", .message = message});
    return;
  }
  throw Error(ErrorCode::kInvalidArgument,
              message +
                  "; every job would run unheard: say with --advertise HOST:PORT where workers "
                  "reach it");
}

std::string Coordinator::OtherMachines() const {
  if (launcher_->Name() == "slurm") return "the nodes of Slurm";
  if (launcher_->Name() == "kubernetes") return "the pods of Kubernetes";
  std::vector<Share> all;
  for (const HostCapacity& host : cluster_.hosts) all.push_back({.host = host.name, .processes = 1});
  std::vector<std::string> others = RemoteHosts(all);
  constexpr size_t kShown = 3;
  if (others.size() > kShown) {
    const std::string rest = std::to_string(others.size() - kShown) + " more";
    others.resize(kShown);
    others.push_back(rest);
  }
  return Join(others, ", ");
}

std::unique_ptr<Server> Coordinator::Listen() {
  const std::vector<grpc::Service*> services = {jobs_.get(), hosts_.get(), workers_.get(), &series_,
                                                &logs_,      &admin_,      studies_.get()};
  const std::string& wanted = options_.server.addresses[0];
  const auto former =
      HasPortZero(wanted)
          ? FormerAddress(options_.data / "server.json", wanted,
                          [this](const std::string& text) { Warn("server.start", text); })
          : std::nullopt;
  if (former) {
    Server::Options again = options_.server;
    again.addresses[0] = *former;
    try {
      return std::make_unique<Server>(again, gate_, services);
    } catch (const Error& error) {
      // Somebody else has it now: any other will do.
      if (error.code() != ErrorCode::kUnavailable) throw;
    }
  }
  return std::make_unique<Server>(options_.server, gate_, services);
}

std::unique_ptr<HttpServer> Coordinator::ListenForHttp() {
  const Server::Options& api = options_.server;
  const bool in_the_open = !IsLoopback(options_.http) && !api.tls && !api.allow_plaintext;
  // A socket in the file system lets in whom its folder lets in; this port must not let in more.
  const bool everybody_here =
      std::any_of(api.addresses.begin(), api.addresses.end(),
                  [](const std::string& address) { return !address.starts_with("unix:"); });
  dashboard_ = std::make_unique<Dashboard>(Dashboard::Options{
      .channel = server_->InProcessChannel(),
      .authenticator = &authenticator_,
      .tls = api.tls.has_value(),
      .why_closed = in_the_open
                        ? "there is no dashboard at " + options_.http +
                              " without TLS: tokens would travel in the open. Give --tls-cert "
                              "and --tls-key, or listen on 127.0.0.1 (--http)"
                        : "",
      .allow_local = everybody_here,
      .version = ProgramVersion()});
  return std::make_unique<HttpServer>(HttpServer::Options{
      .address = options_.http,
      .why_not_ready =
          [this] {
            const std::string lost = store_.WhyLost();
            return lost.empty() ? server_->WhyNotReady() : lost;
          },
      .metrics = [this] { return metrics_.Text(); },
      .pages = [this](
                   const HttpRequest& request,
                   const std::shared_ptr<HttpReply>& reply) { dashboard_->Answer(request, reply); },
      .tls = api.tls,
      .figures = &metrics_});
}

ClusterFigures Coordinator::Figures() const {
  ClusterFigures figures{.queue_length = static_cast<int64_t>(controller_->Queue().size())};
  for (const Controller::HostView& host : controller_->Hosts()) {
    ++figures.hosts;
    figures.slots += host.capacity.slots;
    figures.used_slots += host.used_slots;
    if (!host.capacity.unusable.empty()) ++figures.unavailable_hosts;
  }
  return figures;
}

void Coordinator::WriteServerFile(const std::string& grpc, const std::string& http) {
  const fs::path file = options_.data / "server.json";
  const nlohmann::json record = {{"grpc", grpc}, {"http", http}, {"pid", ::getpid()}};
  try {
    WriteFileAtomically(file, record.dump() + "\n");
  } catch (const Error& error) {
    // A full disk, a folder in its place: whoever knows the address is served all the same.
    Warn("server.start", std::string(error.what()) + "; serving all the same");
  }
}

void Coordinator::Run(const EndSignals& signals) {
  if (options_.admin_token_file) authenticator_.WriteFirstAdminToken(*options_.admin_token_file);
  CheckAdvertised();
  // Listens first, so that the jobs that are started know where; answers when all is adopted.
  server_ = Listen();
  const std::string address = server_->addresses()[0];
  job_launch_.coordinator_address =
      options_.advertise.empty() ? ReachableAddress(address) : options_.advertise;
  const auto unheard =
      WhyUnheard(server_->addresses(), job_launch_.coordinator_address, OtherMachines());
  if (unheard) Warn("server.address", *unheard);
  controller_->Start();
  drivers_->Start();
  if (options_.http != "off") http_ = ListenForHttp();
  const std::string http = http_ ? http_->address() : "";
  server_->SetServing(true);
  // Whoever finds it finds a coordinator that answers.
  WriteServerFile(address, http);
  Say(stdout, "syncbn serves on %s (http %s), data in %s\n", address.c_str(),
      http.empty() ? "off" : http.c_str(), options_.data.c_str());
  std::fflush(stdout);
  const int signal = signals.Wait();
  Log("server.end",
      std::string("ends on ") + (signal == SIGTERM ? "SIGTERM" : "SIGINT") + "; jobs go on");
  http_.reset();
  followers_.Stop();
  server_->Shutdown(kGrace);
  // Its calls have ended now; it has a channel to the server.
  dashboard_.reset();
  server_.reset();
  drivers_->Stop();
  controller_.reset();
}

}  // namespace

int Serve(ServeOptions options) {
  const EndSignals signals;
  AdoptOrphans();
  RequireFiles(kLeastFiles, "the coordinator");
  RaiseFileLimit(kMostFiles);
  // It becomes part of paths that workers get, whatever their own folder is.
  options.data = fs::weakly_canonical(fs::absolute(options.data));
  Coordinator(std::move(options)).Run(signals);
  return 0;
}

}  // namespace syncbn::app
