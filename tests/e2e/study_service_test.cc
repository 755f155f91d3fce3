// Studies on a real coordinator, by its users' commands: handed in, killed under way, fetched.
#include <gmock/gmock.h>

#include <chrono>
#include <fstream>
#include <random>
#include <thread>

#include "tests/e2e/serve_fixture.h"

namespace syncbn {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr const char* kStudy = R"(name: tiny
question: Does the normalization batch matter?
run: run.yaml
axes:
  - {path: model.norm.batch, values: [2, 16]}
seeds: 2
tune: {log: {from: 0.01, to: 0.1, points: 2}, widen: 0}
claims:
  - {text: It does, arm: {batch: 16}, against: {batch: 2}, supported: {above: 0.3}}
)";
constexpr const char* kRun =
    R"(data: {dataset: shapes, shapes: {train_samples: 64, test_samples: 32}}
model: {architecture: mlp, hidden: [8], norm: batch}
cluster: {replicas: 2, batch_per_replica: 8}
train: {epochs: 2}
)";

class StudyServiceE2eTest : public ServeTest {
 protected:
  StudyServiceE2eTest() {
    WriteFileAtomically(folder_.path() / "tiny.yaml", kStudy);
    WriteFileAtomically(folder_.path() / "run.yaml", kRun);
  }
  ProcessOptions Command(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {SyncbnProgram(), "study"});
    ProcessOptions options{.argv = arguments,
                           .timeout = std::chrono::seconds(180),
                           .working_folder = folder_.path().string()};
    if (serving()) {
      const auto server = nlohmann::json::parse(ReadFile(data() / "server.json"));
      options.environment = {{"SYNCBN_SERVER", server["grpc"].get<std::string>()}};
    }
    return options;
  }
  ProcessResult Run(std::vector<std::string> arguments) const {
    return RunProcess(Command(std::move(arguments)));
  }
  // The table of the same study, run without a coordinator.
  std::string TableHere() const {
    const ProcessResult here = Run({"run", "tiny.yaml", "--out", "here", "--quiet"});
    EXPECT_EQ(here.status, 0) << here.err;
    return Read("here/trials.csv");
  }
  std::string Read(const std::string& path) const { return ReadFile(folder_.path() / path); }
  size_t Lines(const std::string& path) const {
    const std::string text = Read(path);
    return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
  }
  size_t Jobs() {
    grpc::ClientContext context;
    v1::ListJobsRequest request;
    request.set_page_size(1000);
    request.set_filter("labels.study = 1");
    v1::ListJobsResponse response;
    EXPECT_TRUE(jobs().ListJobs(&context, request, &response).ok());
    return static_cast<size_t>(response.jobs_size());
  }

  TempFolder folder_;
};

TEST_F(StudyServiceE2eTest, IsHandedInWaitedForFetchedAndReportedWithTheResultsOfARunHere) {
  Serve();
  const ProcessResult wrong = Run({"submit", "tiny.yaml", "--set", "axis=3"});
  EXPECT_EQ(wrong.status, 2);
  EXPECT_THAT(wrong.err, HasSubstr("did you mean `axes`?"));
  const ProcessResult cell = Run({"submit", "tiny.yaml", "--set", "set={train.epochs: -1}"});
  EXPECT_EQ(cell.status, 2);
  EXPECT_THAT(cell.err, HasSubstr("train.epochs"));
  const ProcessResult submit = Run({"submit", "tiny.yaml", "--wait", "--label", "team=vision"});
  ASSERT_EQ(submit.status, 0) << submit.out << submit.err;
  EXPECT_THAT(submit.out, HasSubstr("studies/1 submitted: tiny"));
  EXPECT_THAT(submit.out, HasSubstr("8 of 8 trials; best "));
  const ProcessResult fetch = Run({"fetch", "1", "out"});
  ASSERT_EQ(fetch.status, 0) << fetch.err;
  EXPECT_THAT(fetch.out, HasSubstr("Of 1 claim: 1 "));
  EXPECT_THAT(fetch.out, HasSubstr("report: out/report.html"));
  const std::string table = TableHere();
  EXPECT_EQ(Read("out/trials.csv"), table);
  EXPECT_EQ(Read("out/study.yaml"), kStudy);
  EXPECT_EQ(Read("out/run.yaml"), kRun);
  EXPECT_EQ(Run({"report", "out"}).status, 0);
  // It is a folder like any other: nothing is left to run, here neither.
  const size_t results = Lines("out/results.jsonl");
  EXPECT_EQ(results, 8u);
  EXPECT_EQ(Run({"run", "tiny.yaml", "--out", "out", "--quiet"}).status, 0);
  EXPECT_EQ(Lines("out/results.jsonl"), results) << "by the same program";
  EXPECT_EQ(Run({"fetch", "1", "out"}).status, 0);
  const ProcessResult other = Run({"fetch", "1", "here"});
  EXPECT_EQ(other.status, 2);
  EXPECT_THAT(other.err, HasSubstr("here has results of this study that did not come from here"));

  EXPECT_EQ(Jobs(), 8u);
  EXPECT_FALSE(fs::exists(data() / "output/study-1") && !fs::is_empty(data() / "output/study-1"));
  EXPECT_THAT(Run({"list"}).out, HasSubstr("SUCCEEDED"));
  EXPECT_THAT(Run({"show", "1"}).out, HasSubstr("syncbn jobs --label study=1"));
  EXPECT_EQ(Run({"show", "1", "--study-file"}).out, kStudy);
  const auto json = nlohmann::json::parse(Run({"show", "studies/1", "--json"}).out);
  EXPECT_EQ(json["progress"]["done"], 8);
  EXPECT_EQ(Run({"pause", "1"}).status, 2) << "it has ended";
  EXPECT_THAT(Run({"delete", "1"}).out, HasSubstr("studies/1 deleted"));
  EXPECT_EQ(Run({"show", "1"}).status, 2);
}

// The output folder of the job, where it could be replayed, is removed when its result is there.
TEST_F(StudyServiceE2eTest, TheReasonOfATrialThatDivergedNamesNoFolderAndItsPlaceIsKept) {
  WriteFileAtomically(folder_.path() / "wild.yaml", R"(name: wild
run:
  data: {dataset: shapes, shapes: {train_samples: 128, test_samples: 64}}
  model: {architecture: mlp, hidden: [16, 16, 16], norm: none}
  cluster: {replicas: 2, batch_per_replica: 8}
  train: {epochs: 4, learning_rate: {base: 1000}}
seeds: 1
)");
  Serve();
  const ProcessResult submit = Run({"submit", "wild.yaml", "--wait"});
  ASSERT_EQ(submit.status, 0) << submit.out << submit.err;
  ASSERT_EQ(Run({"fetch", "1", "out"}).status, 0);
  const auto result = nlohmann::json::parse(Read("out/results.jsonl"));
  EXPECT_EQ(result["end"], "diverged") << result;
  const auto reason = result["reason"].get<std::string>();
  EXPECT_THAT(reason, HasSubstr("not finite"));
  EXPECT_THAT(reason, testing::Not(HasSubstr("replay")));
  EXPECT_EQ(result["place"]["hosts"].size(), 1u) << result;
  EXPECT_FALSE(result["place"]["ended"].get<std::string>().empty());
}

TEST_F(StudyServiceE2eTest, KilledAtAnyMomentTheCoordinatorEndsInTheSameTableAndRunsNoTrialTwice) {
  Serve();
  Process wait(Command({"submit", "tiny.yaml", "--wait"}));
  ASSERT_TRUE(wait.WaitForText("studies/1 submitted", kPatience)) << wait.Err();
  std::mt19937 random(7);
  for (int kill = 0; kill < 4; ++kill) {
    std::this_thread::sleep_for(std::chrono::milliseconds(random() % 700));
    Restart();
  }
  const ProcessResult waited = wait.Wait();
  ASSERT_EQ(waited.status, 0) << waited.out << waited.err;
  ASSERT_EQ(Run({"fetch", "1", "out"}).status, 0);
  EXPECT_EQ(Read("out/trials.csv"), TableHere());
  EXPECT_EQ(Lines("out/results.jsonl"), 8u);
  EXPECT_EQ(Jobs(), 8u);
}

TEST_F(StudyServiceE2eTest, PausedAndResumedItEndsInTheSameTableAndCancelledWith11) {
  Pace(1000);
  Serve();
  Process wait(Command({"submit", "tiny.yaml", "--wait"}));
  ASSERT_TRUE(wait.WaitForText("studies/1 submitted", kPatience)) << wait.Err();
  // It is made after the answer.
  for (const auto start = std::chrono::steady_clock::now();
       Jobs() == 0 && std::chrono::steady_clock::now() - start < kPatience;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  WaitForState("jobs/1", v1::Job::RUNNING);
  EXPECT_THAT(Run({"pause", "1"}).out, HasSubstr("studies/1 PAUSING"));
  ASSERT_TRUE(wait.WaitForText("PAUSED", kPatience)) << wait.Out();
  Pace(0);
  EXPECT_THAT(Run({"resume", "1"}).out, HasSubstr("studies/1 RUNNING"));
  ASSERT_EQ(wait.Wait().status, 0);
  ASSERT_EQ(Run({"fetch", "1", "out"}).status, 0);
  EXPECT_EQ(Read("out/trials.csv"), TableHere());
  EXPECT_EQ(Jobs(), 8u);

  Pace(1000);
  Process cancelled(Command({"submit", "tiny.yaml", "--wait"}));
  ASSERT_TRUE(cancelled.WaitForText("studies/2 submitted", kPatience)) << cancelled.Err();
  EXPECT_EQ(Run({"cancel", "2"}).status, 0);
  EXPECT_EQ(cancelled.Wait().status, 11);
}

TEST_F(StudyServiceE2eTest, RestoredElsewhereFromABackupItIsWhatItWas) {
  Serve();
  ASSERT_EQ(Run({"submit", "tiny.yaml", "--wait"}).status, 0);
  ProcessOptions back_up = Command({});
  back_up.argv = {SyncbnProgram(), "backup", "--json"};
  const ProcessResult backup = RunProcess(back_up);
  ASSERT_EQ(backup.status, 0) << backup.err;
  const auto look = [&](const std::string& folder) {
    std::string all = Run({"list", "--json"}).out + Run({"show", "1", "--json"}).out;
    EXPECT_EQ(Run({"fetch", "1", folder}).status, 0);
    EXPECT_EQ(Run({"report", folder}).status, 0);
    for (const char* file : {"study.yaml", "run.yaml", "results.jsonl", "rules.jsonl", "trials.csv",
                             "timings.csv", "report.md"}) {
      all += Read(folder + "/" + file);
    }
    return all;
  };
  const std::string before = look("before");
  EXPECT_EQ(Lines("before/results.jsonl"), 8u);
  ASSERT_EQ(Stop(), 0);
  const fs::path copy = nlohmann::json::parse(backup.out)["path"].get<std::string>();
  const fs::path kept = tools_.path() / "kept.db";
  fs::copy_file(copy, kept);
  fs::remove_all(data());
  fs::create_directories(data());
  fs::copy_file(kept, data() / "store.db");
  Serve();
  EXPECT_EQ(look("after"), before);
}

TEST_F(StudyServiceE2eTest, OneThatIsDeletedWhileItIsFollowedEndsWith11AndASentence) {
  Pace(1000);
  Serve();
  Process wait(Command({"submit", "tiny.yaml", "--wait"}));
  ASSERT_TRUE(wait.WaitForText("RUNNING", kPatience)) << wait.Err();
  ::kill(wait.pid(), SIGSTOP);
  EXPECT_EQ(Run({"cancel", "1"}).status, 0);
  for (const auto start = std::chrono::steady_clock::now();
       Run({"delete", "1"}).status != 0 && std::chrono::steady_clock::now() - start < kPatience;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  ::kill(wait.pid(), SIGCONT);
  const ProcessResult waited = wait.Wait();
  EXPECT_EQ(waited.status, 11);
  EXPECT_THAT(waited.err, HasSubstr("studies/1 was deleted meanwhile, with its results; when last "
                                    "seen it was "));
}

TEST_F(StudyServiceE2eTest, SaysWhatIsWrongWithItsArgumentsAndKeepsToAHundredColumns) {
  Serve();
  std::vector<std::string> submit = {"submit", "tiny.yaml", "--wait"};
  for (int i = 0; i < 8; ++i) {
    submit.insert(submit.end(),
                  {"--set", "set={train.label_smoothing: 0." + std::to_string(i) + "}"});
  }
  ASSERT_EQ(Run(submit).status, 0);
  std::istringstream shown(Run({"show", "1"}).out);
  for (std::string line; std::getline(shown, line);) EXPECT_LE(line.size(), 100u) << line;
  for (const char* verb : {"show", "retry", "cancel"}) {
    const ProcessResult none = Run({verb, "0"});
    EXPECT_EQ(none.status, 2);
    EXPECT_THAT(none.err, HasSubstr("there is no study 0"));
  }
  const ProcessResult fetch = Run({"fetch", "1", ""});
  EXPECT_EQ(fetch.status, 2);
  EXPECT_THAT(fetch.err, HasSubstr("the value is empty"));
  const ProcessResult retry = Run({"retry", "1"});
  EXPECT_EQ(retry.status, 2);
  EXPECT_THAT(retry.err, HasSubstr("only trials that have failed"));
}

}  // namespace
}  // namespace syncbn
