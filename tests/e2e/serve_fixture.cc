#include "tests/e2e/serve_fixture.h"

#include "base/error.h"

namespace syncbn {
namespace {

namespace fs = std::filesystem;
using coordinator::MarkedProcess;

// Empty where there is none, or none any more: a process may be gone between two looks.
std::string ReadIfThere(const fs::path& path) {
  try {
    return ReadFile(path);
  } catch (const Error&) {
    return "";
  }
}

// All processes whose marker begins so: the marker of a store, or of a job of it.
std::vector<MarkedProcess> FindMarkedFrom(const std::string& prefix) {
  std::vector<MarkedProcess> found;
  const std::string wanted = std::string(coordinator::kMarkerVariable) + "=" + prefix;
  for (const fs::directory_entry& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const std::string environment = ReadIfThere(entry.path() / "environ");
    for (size_t at = 0; at < environment.size();) {
      const size_t end = std::min(environment.find('\0', at), environment.size());
      if (environment.compare(at, wanted.size(), wanted) == 0) {
        std::string words = ReadIfThere(entry.path() / "cmdline");
        std::replace(words.begin(), words.end(), '\0', ' ');
        found.push_back({.pid = std::stoll(name), .command = words});
        break;
      }
      at = end + 1;
    }
  }
  return found;
}

}  // namespace

ServeTest::~ServeTest() {
  if (server_) {
    EXPECT_EQ(Stop(), 0);
  }
  // Jobs that a test has left running are not of interest to it; their processes are, to the
  // machine.
  for (const MarkedProcess& process : Processes()) {
    ADD_FAILURE() << "process " << process.pid << " was left: " << process.command;
    ::kill(static_cast<pid_t>(process.pid), SIGKILL);
  }
}

void ServeTest::Serve(const std::vector<std::string>& extra) {
  extra_.insert(extra_.end(), extra.begin(), extra.end());
  ProcessOptions options;
  options.argv = {SyncbnProgram(), "serve", "--data", data().string(), "--listen", listen_,
                  "--http", "127.0.0.1:0", "--slots", "4"};
  // Everything that takes minutes in real life takes a moment here.
  for (const char* option :
       {"--heartbeat=0.2", "--backoff=0.2", "--ask-time=10", "--checkpoint-time=2",
        "--terminate-time=10", "--launcher-time=3"}) {
    options.argv.push_back(option);
  }
  options.argv.insert(options.argv.end(), extra_.begin(), extra_.end());
  options.environment = {{"OMPI_ALLOW_RUN_AS_ROOT", "1"},
                         {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"},
                         {"OMP_NUM_THREADS", "1"}};
  for (const auto& [name, value] : environment_) options.environment[name] = value;
  options.timeout = std::chrono::seconds(600);
  server_.emplace(options);
  if (!server_->WaitForText("syncbn serves on ", kPatience)) {
    const std::string said = server_->Out() + server_->Err();
    server_.reset();
    throw std::runtime_error("the coordinator does not serve: " + said);
  }
  const nlohmann::json record = nlohmann::json::parse(ReadFile(data() / "server.json"));
  EXPECT_EQ(record["pid"], server_->pid());
  channel_ = grpc::CreateChannel(record["grpc"], grpc::InsecureChannelCredentials());
  jobs_ = v1::JobService::NewStub(channel_);
  cluster_ = v1::ClusterService::NewStub(channel_);
  metrics_ = v1::MetricsService::NewStub(channel_);
  logs_ = v1::LogService::NewStub(channel_);
}

void ServeTest::Authorize(grpc::ClientContext& context) const {
  if (!token_.empty()) context.AddMetadata("authorization", "Bearer " + token_);
}

bool ServeTest::ServerHasDied() const {
  // Not waited for yet: a zombie.
  const std::string stat = ReadFile("/proc/" + std::to_string(server_->pid()) + "/stat");
  return stat.find(") Z") != std::string::npos;
}

int ServeTest::Kill() {
  // The process alone: what it has started must not depend on it.
  ::kill(server_->pid(), SIGKILL);
  const int status = server_->Wait().status;
  server_.reset();
  return status;
}

int ServeTest::Stop() {
  // A client at rest does not read that the server leaves, which then waits for it.
  jobs_.reset(), cluster_.reset(), metrics_.reset(), logs_.reset(), channel_.reset();
  ::kill(server_->pid(), SIGTERM);
  const ProcessResult result = server_->Wait();
  EXPECT_FALSE(result.timed_out);
  if (result.status != 0) std::printf("%s%s\n", result.out.c_str(), result.err.c_str());
  server_.reset();
  return result.status;
}

std::string ServeTest::TinyRun(int steps, int replicas) {
  return "name: tiny\n"
         "seed: 3\n"
         "data: {dataset: shapes, shapes: {train_samples: 64, test_samples: 20}}\n"
         "model:\n"
         "  layers:\n"
         "    - conv: {out: 4, kernel: 3, stride: 4, padding: 1}\n"
         "    - norm\n"
         "    - relu\n"
         "    - global_average_pool\n"
         "    - linear: 10\n"
         "cluster: {replicas: " + std::to_string(replicas) + ", batch_per_replica: 4}\n"
         "train: {epochs: 100000, max_steps: " + std::to_string(steps) +
         ", checkpoint: {every_epochs: 1}}\n"
         "output: {digests: true}\n";
}

void ServeTest::PutOnPath(const std::string& name, const std::string& script) {
  const fs::path folder = tools_.path() / "bin";
  fs::create_directories(folder);
  WriteFileAtomically(folder / name, "#!/bin/sh\n" + script);
  fs::permissions(folder / name, fs::perms::owner_all);
  environment_["PATH"] = folder.string() + ":" + std::getenv("PATH");
}

void ServeTest::Pace(int milliseconds, int from_step) {
  const fs::path file = tools_.path() / "pace";
  if (!fs::exists(file)) {
    PutOnPath("mpirun", std::string("LD_PRELOAD=") + SYNCBN_PACE_LIBRARY + " SYNCBN_TEST_PACE=" +
                            file.string() + " exec /usr/bin/mpirun \"$@\"\n");
  }
  WriteFileAtomically(file, std::to_string(from_step) + " " + std::to_string(milliseconds) + "\n");
}

v1::Job ServeTest::MakeJob(const std::string& run_file, int processes) const {
  v1::Job job;
  job.set_run_file(run_file);
  job.set_run_file_name("tiny.yaml");
  job.mutable_resources()->set_processes(processes);
  return job;
}

template <typename Response, typename Call>
Response ServeTest::Ask(const Call& call) {
  grpc::ClientContext context;
  Authorize(context);
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  context.set_wait_for_ready(true);
  Response response;
  const grpc::Status status = call(context, response);
  EXPECT_TRUE(status.ok()) << status.error_code() << ": " << status.error_message();
  return response;
}

v1::Job ServeTest::Submit(const v1::Job& job) {
  return Ask<v1::Job>([&](grpc::ClientContext& context, v1::Job& response) {
    v1::CreateJobRequest request;
    *request.mutable_job() = job;
    return jobs_->CreateJob(&context, request, &response);
  });
}

v1::Job ServeTest::Get(const std::string& name) {
  return Ask<v1::Job>([&](grpc::ClientContext& context, v1::Job& response) {
    v1::GetJobRequest request;
    request.set_name(name);
    return jobs_->GetJob(&context, request, &response);
  });
}

v1::Job ServeTest::Cancel(const std::string& name, bool kill) {
  return Ask<v1::Job>([&](grpc::ClientContext& context, v1::Job& response) {
    v1::CancelJobRequest request;
    request.set_name(name);
    request.set_kill(kill);
    return jobs_->CancelJob(&context, request, &response);
  });
}

v1::Job ServeTest::Pause(const std::string& name) {
  return Ask<v1::Job>([&](grpc::ClientContext& context, v1::Job& response) {
    v1::PauseJobRequest request;
    request.set_name(name);
    return jobs_->PauseJob(&context, request, &response);
  });
}

v1::Job ServeTest::Resume(const std::string& name, std::optional<int> processes) {
  return Ask<v1::Job>([&](grpc::ClientContext& context, v1::Job& response) {
    v1::ResumeJobRequest request;
    request.set_name(name);
    if (processes) request.mutable_resources()->set_processes(*processes);
    return jobs_->ResumeJob(&context, request, &response);
  });
}

std::vector<v1::Attempt> ServeTest::Attempts(const std::string& name) {
  const auto response = Ask<v1::ListAttemptsResponse>(
      [&](grpc::ClientContext& context, v1::ListAttemptsResponse& answer) {
        v1::ListAttemptsRequest request;
        request.set_parent(name);
        return jobs_->ListAttempts(&context, request, &answer);
      });
  return {response.attempts().begin(), response.attempts().end()};
}

std::vector<v1::Transition> ServeTest::History(const std::string& name) {
  const auto response = Ask<v1::ListTransitionsResponse>(
      [&](grpc::ClientContext& context, v1::ListTransitionsResponse& answer) {
        v1::ListTransitionsRequest request;
        request.set_parent(name);
        request.set_page_size(1000);
        return jobs_->ListTransitions(&context, request, &answer);
      });
  return {response.transitions().begin(), response.transitions().end()};
}

v1::Job ServeTest::WaitFor(const std::string& name, const std::string& what,
                           const std::function<bool(const v1::Job&)>& holds) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (true) {
    v1::Job job = Get(name);
    if (holds(job)) return job;
    if (std::chrono::steady_clock::now() > end || ::testing::Test::HasFatalFailure()) {
      ADD_FAILURE() << name << " never came to " << what << "\n" << Describe(name);
      return job;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

v1::Job ServeTest::WaitForState(const std::string& name, v1::Job::State state) {
  return WaitFor(name, v1::Job::State_Name(state),
                 [&](const v1::Job& job) { return job.state() == state; });
}

v1::Job ServeTest::WaitForEnd(const std::string& name) {
  return WaitFor(name, "an end", [](const v1::Job& job) {
    return job.state() == v1::Job::SUCCEEDED || job.state() == v1::Job::FAILED ||
           job.state() == v1::Job::CANCELLED;
  });
}

void ServeTest::WaitForSteps(const std::string& name, int steps) {
  const fs::path file = OutputOf(name) / "metrics.jsonl";
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (true) {
    const std::string text = ReadIfThere(file);
    if (std::count(text.begin(), text.end(), '\n') >= steps) return;
    if (std::chrono::steady_clock::now() > end) {
      ADD_FAILURE() << name << " never did " << steps << " steps\n" << Describe(name);
      return;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

fs::path ServeTest::OutputOf(const std::string& name) const {
  return data() / "output" / ("job-" + name.substr(name.find('/') + 1));
}

fs::path ServeTest::AttemptFolderOf(const std::string& name, int attempt) const {
  return data() / name / "attempts" / std::to_string(attempt);
}

nlohmann::json ServeTest::SummaryOf(const std::string& name) const {
  return nlohmann::json::parse(ReadIfThere(OutputOf(name) / "summary.json"), nullptr, false);
}

int64_t ServeTest::PointsOf(const std::string& job, const std::string& series) {
  v1::QueryMetricsRequest query;
  query.set_job(job);
  query.add_names(series);
  const auto answer = Ask<v1::QueryMetricsResponse>(
      [&](auto& context, auto& response) { return metrics_->QueryMetrics(&context, query, &response); });
  return answer.series_size() == 1 ? answer.series(0).points() : 0;
}

int ServeTest::Ends(const std::string& name) {
  int ends = 0;
  for (const v1::Transition& one : History(name)) ends += one.to_state() >= v1::Job::SUCCEEDED;
  return ends;
}

std::vector<MarkedProcess> ServeTest::Processes(const std::string& name) const {
  // Known from the first attempt that was started. What jobs write comes and goes: only their
  // attempts are looked at.
  std::error_code none;
  for (const fs::directory_entry& job : fs::directory_iterator(data() / "jobs", none)) {
    for (const fs::directory_entry& attempt : fs::directory_iterator(job.path() / "attempts", none)) {
      // Some tests damage it.
      const auto spec =
          nlohmann::json::parse(ReadIfThere(attempt.path() / "attempt.json"), nullptr, false);
      if (!spec.is_object() || !spec.contains("marker")) continue;
      const std::string marker = spec["marker"];
      const std::string store = marker.substr(0, marker.find('/') + 1);
      return FindMarkedFrom(name.empty() ? store : store + name + "/");
    }
  }
  return {};
}

std::string ServeTest::Describe(const std::string& name) {
  std::string text;
  if (server_) {
    text += Get(name).DebugString() + server_->Err();
    for (const v1::Transition& one : History(name)) text += one.ShortDebugString() + "\n";
  }
  for (int attempt = 1; fs::exists(AttemptFolderOf(name, attempt)); ++attempt) {
    for (const char* file : {"supervisor.log", "output.log", "exit.json"})
      text += "attempt " + std::to_string(attempt) + " " + file + ":\n" +
              ReadIfThere(AttemptFolderOf(name, attempt) / file) + "\n";
  }
  for (const MarkedProcess& process : Processes())
    text += std::to_string(process.pid) + " " + process.command + "\n";
  return text;
}

}  // namespace syncbn
