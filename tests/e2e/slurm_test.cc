// Jobs that a coordinator gives to a real Slurm on this machine, started and ended by the test;
// skipped where Slurm is not installed.
#include <gmock/gmock.h>

#include <algorithm>

#include "tests/coordinator/launch/slurm_cluster.h"
#include "tests/e2e/serve_fixture.h"

namespace syncbn {
namespace {

using coordinator::SlurmCluster;
using ::testing::HasSubstr;

class ServeSlurmTest : public ServeTest {
 protected:
  static void SetUpTestSuite() {
    if (SlurmCluster::Missing().empty()) slurm_ = std::make_unique<SlurmCluster>();
  }
  static void TearDownTestSuite() { slurm_.reset(); }
  void SetUp() override {
    if (!slurm_) GTEST_SKIP() << SlurmCluster::Missing();
    Serve({"--launcher", "slurm"});
  }

  static std::unique_ptr<SlurmCluster> slurm_;
};

std::unique_ptr<SlurmCluster> ServeSlurmTest::slurm_;

TEST_F(ServeSlurmTest, AJobSucceedsWithTheSameDigestAtOneAndTwoProcesses) {
  std::vector<std::string> digests;
  for (const int processes : {1, 2}) {
    const v1::Job job = SubmitAndWait(MakeJob(TinyRun(), processes));
    ASSERT_EQ(job.state(), v1::Job::SUCCEEDED) << Describe(job.name());
    EXPECT_EQ(job.progress().step(), 20);
    const std::vector<v1::Attempt> attempts = Attempts(job.name());
    ASSERT_EQ(attempts.size(), 1u);
    EXPECT_EQ(attempts[0].ranks_size(), processes);
    EXPECT_THAT(ReadFile(AttemptFolderOf(job.name(), 1) / "output.log"), HasSubstr("4 replicas"));
    EXPECT_EQ(PointsOf(job.name(), "train/loss"), 20) << Describe(job.name());
    digests.push_back(SummaryOf(job.name())["digest"]);
  }
  EXPECT_EQ(digests[0], digests[1]);
}

TEST_F(ServeSlurmTest, ARunningJobIsCancelledAndSlurmHasNothingOfItLeft) {
  const std::string name = Submit(MakeJob(LongRun(), 2)).name();
  WaitForSteps(name, 5);
  Cancel(name);
  EXPECT_EQ(WaitForEnd(name).state(), v1::Job::CANCELLED) << Describe(name);
  EXPECT_EQ(Attempts(name).at(0).outcome(), v1::ATTEMPT_OUTCOME_STOPPED) << Describe(name);
  EXPECT_EQ(slurm_->Ask({"squeue", "--noheader", "--states=PENDING,RUNNING"}), "");
  EXPECT_TRUE(Processes(name).empty());
}

TEST_F(ServeSlurmTest, AJobThatSlurmLetsWaitSaysWhyAndRunsWhenThereIsRoom) {
  std::vector<std::string> first;
  for (int node = 0; node < 2; ++node) first.push_back(Submit(MakeJob(LongRun(), 2)).name());
  for (const std::string& name : first) WaitForSteps(name, 1);
  const std::string second = Submit(MakeJob(TinyRun(), 2)).name();
  WaitFor(second, "Slurm's reason", [](const v1::Job& job) {
    return job.pending().message().find("Resources") != std::string::npos;
  });
  for (const std::string& name : first) Cancel(name, /*kill=*/true);
  EXPECT_EQ(WaitForEnd(second).state(), v1::Job::SUCCEEDED) << Describe(second);
  for (const std::string& name : first) EXPECT_EQ(WaitForEnd(name).state(), v1::Job::CANCELLED);
}

TEST_F(ServeSlurmTest, AJobOutlivesItsCoordinator) {
  const std::string name = Submit(MakeJob(LongRun(), 2)).name();
  WaitForSteps(name, 5);
  Restart();
  // It is the same attempt: it goes on from the line it had come to.
  const std::string so_far = ReadFile(OutputOf(name) / "metrics.jsonl");
  WaitForSteps(name, static_cast<int>(std::count(so_far.begin(), so_far.end(), '\n')) + 10);
  EXPECT_EQ(Get(name).state(), v1::Job::RUNNING) << Describe(name);
  Cancel(name);
  EXPECT_EQ(WaitForEnd(name).state(), v1::Job::CANCELLED) << Describe(name);
  EXPECT_EQ(Attempts(name).size(), 1u);
}

}  // namespace
}  // namespace syncbn
