#include "tests/bench/load_server.h"

#include <grpcpp/grpcpp.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/file.h"
#include "coordinator/control/secret.h"
#include "coordinator/service/caller.h"
#include "coordinator/store/store.h"

namespace syncbn::bench {
namespace {

namespace fs = std::filesystem;
using std::chrono::steady_clock;

constexpr std::chrono::seconds kPatience{60};
constexpr const char* kRunFile =
    "name: load\n"
    "data: {dataset: shapes, shapes: {train_samples: 64, test_samples: 20}}\n"
    "model: {layers: [global_average_pool, linear: 10]}\n"
    "cluster: {replicas: 64, batch_per_replica: 1}\n"
    "train: {epochs: 1}\n";

void PrepareCall(grpc::ClientContext& context, const std::string& token) {
  Authorize(context, token);
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
}

}  // namespace

void Check(const grpc::Status& status, const std::string& doing) {
  if (!status.ok()) throw std::runtime_error(doing + ": " + status.error_message());
}

std::shared_ptr<grpc::Channel> Connect(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

void Authorize(grpc::ClientContext& context, const std::string& token) {
  context.AddMetadata("authorization", "Bearer " + token);
}

Usage UsageOf(pid_t pid) {
  Usage usage;
  const std::string folder = "/proc/" + std::to_string(pid) + "/";
  std::ifstream status(folder + "status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) usage.rss_mib = std::atof(line.c_str() + 6) / 1024;
    if (line.starts_with("RssAnon:")) usage.anonymous_mib = std::atof(line.c_str() + 8) / 1024;
  }
  std::ifstream stat(folder + "stat");
  std::string text((std::istreambuf_iterator<char>(stat)), {});
  // After the name, which may hold blanks: state is field 3, user and system time 14 and 15.
  std::istringstream fields(text.substr(text.rfind(')') + 1));
  std::string skipped;
  for (int i = 3; i < 14; ++i) fields >> skipped;
  double user = 0, system = 0;
  fields >> user >> system;
  usage.cpu_seconds = (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
  return usage;
}

std::string LoadAverage() {
  std::ifstream file("/proc/loadavg");
  std::string one, five;
  file >> one >> five;
  return one + " (1 min), " + five + " (5 min)";
}

std::string AddUser(const fs::path& data, const std::string& name) {
  coordinator::Store store({.folder = data});
  const std::string secret = coordinator::NewSecret();
  store.Write([&](coordinator::Tables& tables) {
    tables.tokens.Add({.hash = coordinator::HashSecret(secret),
                       .name = name,
                       .role = static_cast<int>(coordinator::Role::kAdmin),
                       .create_time = Clock::System().Now()});
  });
  return secret;
}

ServeProcess::ServeProcess(const fs::path& folder, const std::string& program,
                           const std::string& token) {
  const fs::path data = folder / "data", hosts = folder / "hosts.yaml";
  WriteFileAtomically(hosts, "program: " + program + "\nhosts: [{name: localhost, slots: 8}]\n");
  fs::remove(data / "server.json");
  ProcessOptions options;
  options.argv = {SyncbnProgram(), "serve", "--data", data.string(), "--hosts", hosts.string(),
                  "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0",
                  // The benchmark asks without pause.
                  "--calls-per-second", "100000"};
  options.environment = {{"OMPI_ALLOW_RUN_AS_ROOT", "1"},
                         {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"}};
  options.timeout = std::chrono::seconds(1200);
  const auto start = steady_clock::now();
  process_.emplace(options);
  while (!fs::exists(data / "server.json")) {
    if (steady_clock::now() - start > kPatience)
      throw std::runtime_error("the coordinator does not serve: " + process_->Err());
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  address_ = nlohmann::json::parse(ReadFile(data / "server.json"))["grpc"];
  const auto jobs = v1::JobService::NewStub(Connect(address_));
  v1::ListJobsRequest request;
  request.set_page_size(1);
  while (true) {
    grpc::ClientContext context;
    PrepareCall(context, token);
    v1::ListJobsResponse response;
    const grpc::Status status = jobs->ListJobs(&context, request, &response);
    if (status.ok()) break;
    if (status.error_code() != grpc::StatusCode::UNAVAILABLE ||
        steady_clock::now() - start > kPatience)
      Check(status, "the first call");
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  start_seconds_ = std::chrono::duration<double>(steady_clock::now() - start).count();
}

ServeProcess::~ServeProcess() {
  try {
    Stop();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
  }
}

void ServeProcess::Stop() {
  if (!process_) return;
  ::kill(process_->pid(), SIGTERM);
  const ProcessResult result = process_->Wait();
  process_.reset();
  if (result.status != 0) throw std::runtime_error("the coordinator ended badly: " + result.err);
}

LiveJob::LiveJob(const ServeProcess& server, const std::string& user_token, int ranks)
    : channel_(Connect(server.address())),
      jobs_(v1::JobService::NewStub(channel_)),
      workers_(v1::WorkerService::NewStub(channel_)),
      user_token_(user_token),
      ranks_(ranks) {
  v1::CreateJobRequest request;
  request.mutable_job()->set_run_file(kRunFile);
  request.mutable_job()->set_run_file_name("load.yaml");
  request.mutable_job()->mutable_resources()->set_processes(ranks);
  grpc::ClientContext context;
  PrepareCall(context, user_token_);
  v1::Job job;
  Check(jobs_->CreateJob(&context, request, &job), "CreateJob");
  name_ = job.name();
  attempt_ = name_ + "/attempts/1";
  output_ = job.output_folder();
  const auto end = steady_clock::now() + kPatience;
  for (int rank = 0; rank < ranks_; ++rank) {
    const fs::path file = output_ / ("rank-" + std::to_string(rank));
    while (!fs::exists(file)) {
      if (steady_clock::now() > end)
        throw std::runtime_error("the job's processes do not start: " + Get().DebugString());
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    std::ifstream words(file);
    v1::RegisterRequest registration;
    int64_t pid = 0;
    words >> pid >> token_;
    *registration.mutable_rank() = Rank(rank);
    registration.set_processes(ranks_);
    registration.set_host("localhost");
    registration.set_pid(pid);
    registration.set_version("load");
    registration.set_total_steps(1'000'000'000);
    grpc::ClientContext own;
    PrepareCall(own, token_);
    v1::RegisterResponse response;
    Check(workers_->Register(&own, registration, &response), "Register");
  }
  heartbeats_ = std::thread([this] { Beat(); });
}

LiveJob::~LiveJob() {
  stop_ = true;
  if (heartbeats_.joinable()) heartbeats_.join();
}

v1::RankName LiveJob::Rank(int rank) const {
  v1::RankName name;
  name.set_attempt(attempt_);
  name.set_rank(rank);
  return name;
}

v1::Job LiveJob::Get() {
  grpc::ClientContext context;
  PrepareCall(context, user_token_);
  v1::GetJobRequest request;
  request.set_name(name_);
  request.set_view(v1::JOB_VIEW_BASIC);
  v1::Job job;
  Check(jobs_->GetJob(&context, request, &job), "GetJob");
  return job;
}

void LiveJob::Beat() {
  for (int64_t beat = 0; !stop_; ++beat) {
    for (int rank = 0; beat % 10 == 0 && rank < ranks_; ++rank) {
      v1::HeartbeatRequest request;
      *request.mutable_rank() = Rank(rank);
      request.set_phase("train");
      request.set_step(beat);
      request.set_reduction(beat);
      request.set_progress(beat);
      grpc::ClientContext context;
      PrepareCall(context, token_);
      v1::HeartbeatResponse response;
      const grpc::Status status = workers_->Heartbeat(&context, request, &response);
      if (!status.ok()) std::fprintf(stderr, "heartbeat: %s\n", status.error_message().c_str());
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

void LiveJob::End() {
  stop_ = true;
  heartbeats_.join();
  for (int rank = 0; rank < ranks_; ++rank) {
    v1::ReportExitRequest request;
    *request.mutable_rank() = Rank(rank);
    request.mutable_exit()->set_outcome(v1::ATTEMPT_OUTCOME_COMPLETED);
    request.mutable_exit()->set_host("localhost");
    grpc::ClientContext context;
    PrepareCall(context, token_);
    v1::ReportExitResponse response;
    Check(workers_->ReportExit(&context, request, &response), "ReportExit");
  }
  WriteFileAtomically(output_ / "stop", "");
  const auto end = steady_clock::now() + kPatience;
  while (true) {
    const v1::Job job = Get();
    if (job.state() == v1::Job::SUCCEEDED) return;
    if (job.state() > v1::Job::SUCCEEDED || steady_clock::now() > end)
      throw std::runtime_error("the job did not succeed: " + job.DebugString());
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

bool IsStandIn(int argc, char** argv) {
  return argc > 1 && std::strcmp(argv[1], "train") == 0;
}

int RunStandIn(int argc, char** argv) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  fs::path out;
  for (int i = 1; i + 1 < argc; ++i) {
    if (std::strcmp(argv[i], "--out") == 0) out = argv[i + 1];
  }
  const char* token = std::getenv("SYNCBN_TOKEN");
  const char* rank = std::getenv("OMPI_COMM_WORLD_RANK");
  if (out.empty() || token == nullptr || rank == nullptr) return 2;
  WriteFileAtomically(out / ("rank-" + std::string(rank)),
                      std::to_string(::getpid()) + " " + token + "\n");
  const auto end = steady_clock::now() + std::chrono::minutes(15);
  for (int line = 0; !fs::exists(out / "stop") && steady_clock::now() < end; ++line) {
    if (std::strcmp(rank, "0") == 0) {
      const auto now = std::chrono::duration_cast<std::chrono::microseconds>(
          std::chrono::system_clock::now().time_since_epoch());
      std::printf("line %d at %lld\n", line, static_cast<long long>(now.count()));
      std::fflush(stdout);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return 0;
}

}  // namespace syncbn::bench
