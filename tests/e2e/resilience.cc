#include "tests/e2e/resilience.h"

#include <regex>
#include <set>

#include "app/run/metric_points.h"
#include "base/error.h"
#include "train/metrics.h"

namespace syncbn {
namespace {

namespace fs = std::filesystem;

using Figure = std::pair<std::string, int64_t>;  // name, step

void SetDeadline(grpc::ClientContext& context) {
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
}

}  // namespace

void ResilienceTest::CrashAt(const std::string& moment, const std::string& in) {
  environment_["LD_PRELOAD"] = SYNCBN_CRASH_LIBRARY;
  environment_["SYNCBN_TEST_CRASH_IN"] = in;
  environment_["SYNCBN_TEST_CRASH_AT"] = moment;
  environment_["SYNCBN_TEST_CRASH_SINCE"] = in == "serve" ? "server.json" : "";
  environment_["SYNCBN_TEST_CRASH_MARK"] = (tools_.path() / "crashed").string();
}

bool ResilienceTest::HasCrashed() const {
  return fs::exists(tools_.path() / "crashed");
}

void ResilienceTest::Revive() {
  if (serving() && !ServerHasDied()) return;
  // One that crashes while it starts is started again.
  for (int i = 0;; ++i) {
    if (serving()) Kill();
    try {
      return Serve();
    } catch (const std::runtime_error&) {
      if (i == 3) throw;
    }
  }
}

std::string ResilienceTest::SubmitSurely(const v1::Job& job) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (true) {
    grpc::ClientContext context;
    Authorize(context);
    SetDeadline(context);
    v1::CreateJobRequest request;
    *request.mutable_job() = job;
    request.set_request_id("the-one");
    v1::Job answer;
    const grpc::Status status = jobs().CreateJob(&context, request, &answer);
    if (status.ok()) return answer.name();
    if (std::chrono::steady_clock::now() > end)
      throw std::runtime_error("no answer: " + status.error_message());
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    Revive();
  }
}

std::optional<v1::Job> ResilienceTest::TryGet(const std::string& name) {
  grpc::ClientContext context;
  Authorize(context);
  SetDeadline(context);
  v1::GetJobRequest request;
  request.set_name(name);
  v1::Job job;
  if (!jobs().GetJob(&context, request, &job).ok()) return std::nullopt;
  return job;
}

v1::Job ResilienceTest::WaitForEndSurely(const std::string& name) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (true) {
    Revive();
    const auto job = TryGet(name);
    if (job && job->state() >= v1::Job::SUCCEEDED) return *job;
    if (std::chrono::steady_clock::now() > end) {
      ADD_FAILURE() << name << " never ended\n" << Describe(name);
      return job.value_or(v1::Job());
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

int ResilienceTest::StepsDone(const std::string& name) const {
  const std::string text = ReadFile(OutputOf(name) / "metrics.jsonl");
  return static_cast<int>(std::count(text.begin(), text.end(), '\n'));
}

std::string ResilienceTest::DigestOfUndisturbed(int steps) {
  std::string& digest = undisturbed_[steps];
  if (!digest.empty()) return digest;
  const fs::path out = tools_.path() / ("undisturbed-" + std::to_string(steps));
  const fs::path file = tools_.path() / "undisturbed.yaml";
  WriteFileAtomically(file, TinyRun(steps));
  const ProcessResult result = RunProcess(
      {.argv = {SyncbnProgram(), "train", file.string(), "--out", out.string(), "--no-live"},
       .timeout = kPatience});
  EXPECT_EQ(result.status, 0) << result.err;
  return digest = nlohmann::json::parse(ReadFile(out / "summary.json"))["digest"];
}

void ResilienceTest::ExpectDoneOnce(const std::string& name, int steps, bool log_is_whole) {
  const v1::Job job = Get(name);
  ASSERT_EQ(job.state(), v1::Job::SUCCEEDED) << Describe(name);
  EXPECT_EQ(Ends(name), 1) << Describe(name);
  const std::vector<v1::Attempt> attempts = Attempts(name);
  for (const v1::Attempt& attempt : attempts) {
    const bool last = &attempt == &attempts.back();
    EXPECT_EQ(attempt.outcome() == v1::ATTEMPT_OUTCOME_COMPLETED, last) << Describe(name);
  }
  EXPECT_FALSE(fs::exists(data() / attempts.back().name() / "spool")) << "all was delivered";
  EXPECT_TRUE(Processes(name).empty()) << Describe(name);
  EXPECT_EQ(SummaryOf(name)["digest"], DigestOfUndisturbed(steps));
  ExpectMetricsOnce(name, steps);
  const int last = static_cast<int>(attempts.size());
  if (log_is_whole) ExpectLogWhole(name, last, /*from_the_start=*/last == 1);
}

std::vector<v1::Series> ResilienceTest::AllSeries(const std::string& name,
                                                  std::optional<int> attempt) {
  grpc::ClientContext context;
  Authorize(context);
  SetDeadline(context);
  v1::QueryMetricsRequest query;
  query.set_job(name);
  query.set_max_buckets(20000);
  if (attempt) query.set_attempt(*attempt);
  v1::QueryMetricsResponse answer;
  const grpc::Status status = metrics().QueryMetrics(&context, query, &answer);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return {answer.series().begin(), answer.series().end()};
}

void ResilienceTest::ExpectMetricsOnce(const std::string& name, int steps) {
  std::map<Figure, double> expected;
  std::set<int64_t> trained;
  for (const train::MetricRecord& record : train::ReadMetrics(OutputOf(name) / "metrics.jsonl")) {
    if (record.split == "train") {
      EXPECT_TRUE(trained.insert(record.step).second) << "step " << record.step << " twice";
    }
    for (const report::Point& point : app::PointsOf(record, "running", 0))
      EXPECT_TRUE(expected.emplace(Figure(point.name, point.step), point.value).second)
          << point.name << " of step " << point.step << " twice";
  }
  ASSERT_EQ(trained.size(), static_cast<size_t>(steps));
  EXPECT_EQ(*trained.begin(), 0);
  EXPECT_EQ(*trained.rbegin(), steps - 1);

  std::map<Figure, double> stored;
  for (const v1::Series& series : AllSeries(name)) {
    EXPECT_EQ(series.points(), series.mean_size()) << series.name();
    for (int i = 0; i < series.mean_size(); ++i) {
      EXPECT_EQ(series.count(i), 1) << series.name() << " of step " << series.first_step(i);
      stored.emplace(Figure(series.name(), series.first_step(i)), series.mean(i));
    }
  }
  // Not as one EXPECT_EQ, which would print hundreds.
  EXPECT_EQ(stored.size(), expected.size());
  int wrong = 0;
  for (const auto& [figure, value] : expected) {
    const auto found = stored.find(figure);
    if (found != stored.end() && found->second == value) continue;
    if (++wrong > 5) break;
    ADD_FAILURE() << figure.first << " of step " << figure.second << " is "
                  << (found == stored.end() ? "missing" : std::to_string(found->second))
                  << ", not " << value << "\n"
                  << (wrong == 1 ? Describe(name) : "");
  }
  grpc::ClientContext context;
  Authorize(context);
  SetDeadline(context);
  v1::ListSeriesRequest request;
  request.set_job(name);
  v1::ListSeriesResponse series;
  ASSERT_TRUE(metrics().ListSeries(&context, request, &series).ok());
  EXPECT_EQ(series.lost_points(), 0);
}

void ResilienceTest::ExpectLogWhole(const std::string& name, int attempt, bool from_the_start) {
  const std::string file = ReadFile(AttemptFolderOf(name, attempt) / "output.log");
  std::string text;
  while (true) {
    grpc::ClientContext context;
    Authorize(context);
    SetDeadline(context);
    v1::ReadLogRequest request;
    request.set_name(name + "/attempts/" + std::to_string(attempt) + "/logs/output");
    request.set_offset(static_cast<int64_t>(text.size()));
    v1::LogChunk chunk;
    const grpc::Status status = logs().ReadLog(&context, request, &chunk);
    ASSERT_TRUE(status.ok()) << status.error_message();
    text += chunk.data();
    if (chunk.end()) break;
    ASSERT_FALSE(chunk.data().empty());
  }
  EXPECT_EQ(text, file);
  // What it prints once an epoch, and at the end.
  std::vector<int> epochs;
  const std::regex pattern("0: epoch ([0-9]+) +step [0-9]+ +train loss ");
  for (std::sregex_iterator match(text.begin(), text.end(), pattern), none; match != none; ++match)
    epochs.push_back(std::stoi((*match)[1]));
  ASSERT_FALSE(epochs.empty()) << text;
  for (size_t i = 0; i < epochs.size(); ++i)
    EXPECT_EQ(epochs[i], epochs[0] + static_cast<int>(i)) << text;
  if (from_the_start) {
    EXPECT_EQ(epochs[0], 1) << text;
  }
  const std::string digest = "0: digest ";
  const size_t at = text.find(digest);
  EXPECT_NE(at, std::string::npos) << text;
  EXPECT_EQ(text.find(digest, at + 1), std::string::npos) << text;
}

}  // namespace syncbn
