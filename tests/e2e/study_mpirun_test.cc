// Studies whose trials have several processes: under mpirun, started, ended and killed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>

#include "tests/e2e/study_fixture.h"

namespace syncbn {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr const char* kTwoProcesses = R"(name: two
run:
  data: {dataset: shapes, shapes: {train_samples: 4096, test_samples: 64}}
  model: {architecture: mlp, hidden: [64], norm: batch}
  cluster: {replicas: 2, batch_per_replica: 8}
  train: {epochs: 10000}
set: {processes: 2}
seeds: 1
)";

TEST_F(StudyTest, WithoutMpirunTrialsOfSeveralProcessesAreRefusedBeforeAnythingIsMade) {
  WriteFileAtomically(file_, kTwoProcesses);
  ProcessOptions run = RunInto("out");
  run.environment = {{"PATH", "/nonexistent"}};
  const ProcessResult result = RunProcess(run);
  EXPECT_NE(result.status, 0);
  EXPECT_THAT(result.err, HasSubstr("trials of up to 2 processes are started with mpirun"));
  EXPECT_FALSE(fs::exists(folder_.path() / "out"));
  ProcessOptions plan = Command({"plan", file_.string(), "--no-estimate"});
  plan.environment = run.environment;
  EXPECT_THAT(RunProcess(plan).out, HasSubstr("with mpirun, which is not installed"));
}

TEST_F(StudyTest, TheTimeOfAPlanHoldsTheStartsOfMpirun) {
  WriteFileAtomically(file_, kTwoProcesses);
  const auto plan = [&](const std::string& processes) {
    return RunProcess(Command({"plan", file_.string(), "--set",
                               "set={processes: " + processes + ", train.epochs: 1}"}))
        .out;
  };
  EXPECT_THAT(plan("2"), HasSubstr("and starts of mpirun"));
  EXPECT_THAT(plan("1"), testing::Not(HasSubstr("mpirun")));
}

TEST_F(StudyTest, AfterCtrlCItEndsWhenTheRanksOfItsTrialsHave) {
  WriteFileAtomically(file_, kTwoProcesses);
  Process process(RunInto("out"));
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  // mpirun and two ranks.
  while (ProcessesNaming(folder_.path(), process.pid()).size() < 3 &&
         std::chrono::steady_clock::now() < end) {
    ::usleep(20'000);
  }
  ASSERT_EQ(ProcessesNaming(folder_.path(), process.pid()).size(), 3u);
  ::kill(-process.pid(), SIGINT);  // what a terminal does
  EXPECT_EQ(process.Wait().status, 75);
  EXPECT_THAT(ProcessesNaming(folder_.path()), testing::IsEmpty());
}

TEST_F(StudyTest, ARankThatIsKilledIsWhatItsTrialsReasonTells) {
  WriteFileAtomically(file_, kTwoProcesses);
  Process process(RunInto("out"));
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  // A rank that has trained a step: before, mpirun says less.
  const auto trains = [&] {
    try {
      for (const auto& entry : fs::recursive_directory_iterator(folder_.path())) {
        if (entry.path().filename() == "metrics.jsonl" && entry.file_size() > 0) return true;
      }
    } catch (const fs::filesystem_error&) {  // something has gone meanwhile
    }
    return false;
  };
  pid_t rank = 0;
  while (rank == 0 && std::chrono::steady_clock::now() < end) {
    ::usleep(20'000);
    if (!trains()) continue;
    for (const pid_t one : ProcessesNaming(folder_.path(), process.pid())) {
      if (ReadFile("/proc/" + std::to_string(one) + "/comm") == "syncbn\n") rank = one;
    }
  }
  ASSERT_NE(rank, 0);
  ::kill(rank, SIGKILL);
  EXPECT_EQ(process.Wait().status, 0);
  EXPECT_THAT(Read("out/results.jsonl"), HasSubstr("of 2 processes: "));
  EXPECT_THAT(Read("out/results.jsonl"), HasSubstr("exited on signal 9"));
}

// Trials on 1 and on 2 processes end in the same bits, and one page shows both studies.
TEST_F(StudyTest, ProcessesAreAnAxisAndAnOverviewShowsSeveralStudies) {
  WriteFileAtomically(file_, R"(name: processes
run:
  data: {dataset: shapes, shapes: {train_samples: 64, test_samples: 32}}
  model: {architecture: mlp, hidden: [8], norm: batch}
  cluster: {replicas: 2, batch_per_replica: 8}
axes:
  - {path: processes, values: [1, 2]}
  - {name: rate, path: train.learning_rate.base, values: [0.01, 0.1]}
seeds: 2
at_once: 1
claims:
  - {text: Same bits, compare: same_bits, arm: {processes: 1}, against: {processes: 2}}
  - {text: Other bits, compare: same_bits, arm: {rate: 0.1}, against: {rate: 0.01}, control: refuted}
  - {text: Two exchange messages, measure: step_messages, arm: {processes: 2}, against: {processes: 1}, supported: {above: 0}}
  - {text: Memory, measure: tensor_bytes, compare: ratio, arm: {processes: 2}, against: {processes: 1}, supported: {below: 1}}
  - {text: Time, measure: step_ms, arm: {processes: 2}, against: {processes: 1}, supported: {below: 0}}
)");
  const ProcessResult run = RunProcess(RunInto("out"));
  ASSERT_EQ(run.status, 0) << run.err << run.out;
  EXPECT_EQ(Results("out"), 8u);
  EXPECT_THAT(Read("out/report.md"), HasSubstr("waiting for statistics"));
  EXPECT_THAT(Read("out/timings.csv"), HasSubstr(",tensor_bytes,step_ms\n"));
  // 3072 x 8 of the first layer, 2 x 8 of the norm, 8 x 10 + 10 of the last one; in the own process
  // as under mpirun.
  const std::string results = Read("out/results.jsonl"), parameters = "\"parameters\":24682.0";
  size_t with = 0;
  for (size_t at = 0; (at = results.find(parameters, at)) != std::string::npos; ++at) ++with;
  EXPECT_EQ(with, 8u) << results;
  EXPECT_THAT(Read("out/report.md"), HasSubstr("**Supported**: Two exchange messages"));
  const std::string out = (folder_.path() / "out").string();
  const std::string folder = (folder_.path() / "page").string();
  const ProcessResult twice = RunProcess(Command({"overview", out, out + "/.", "--out", folder}));
  EXPECT_EQ(twice.status, 2);
  EXPECT_THAT(twice.err, HasSubstr("are the same folder: its claims would count twice"));
  const std::string copy = (folder_.path() / "copy").string();
  fs::copy(out, copy, fs::copy_options::recursive);
  std::ofstream(fs::path(copy) / "rules.jsonl", std::ios::app)
      << R"({"date":"2026-11-30T10:00:00Z","results":3,"rules":"0"})"
      << "\n";
  const ProcessResult overview = RunProcess(Command({"overview", out, copy, "--out", folder}));
  ASSERT_EQ(overview.status, 0) << overview.err;
  EXPECT_THAT(overview.out, HasSubstr("Of 2 negative controls 2 came out as they must."));
  EXPECT_THAT(Read("page/overview.md"),
              HasSubstr("| processes | Same bits             | supported "));
  EXPECT_THAT(Read("page/overview.md"), HasSubstr("# 2 studies"));
  EXPECT_THAT(Read("page/overview.md"),
              HasSubstr("processes: The rules were changed after 3 trials had ended"));
  EXPECT_THAT(Read("page/overview.html"), HasSubstr("Other bits"));
  // Each form leads to the report of its own kind.
  for (const auto& [file, begin, end] :
       {std::array{"page/overview.html", "href=\"", "\""}, {"page/overview.md", "](", ")"}}) {
    const std::string page = Read(file), extension = fs::path(file).extension();
    int links = 0;
    for (size_t at = page.find(begin); at != std::string::npos; at = page.find(begin, at + 1)) {
      const size_t first = at + std::string(begin).size();
      const std::string target = page.substr(first, page.find(end, first) - first);
      if (target.starts_with("#") || target.starts_with("data:")) continue;
      EXPECT_THAT(target,
                  testing::AnyOf("../out/report" + extension, "../copy/report" + extension));
      EXPECT_TRUE(fs::exists(folder_.path() / "page" / target)) << target;
      ++links;
    }
    EXPECT_EQ(links, 2) << page;
  }
}

}  // namespace
}  // namespace syncbn
