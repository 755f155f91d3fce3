// What happens to jobs that run: a worker that dies, a coordinator that is away.
#include "base/error.h"
#include "tests/e2e/resilience.h"

namespace syncbn {
namespace {

namespace fs = std::filesystem;

class OutageTest : public ResilienceTest {
 protected:
  // Until the job's processes have gone by themselves.
  void WaitUntilGone(const std::string& name) {
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (!Processes(name).empty() || !fs::exists(AttemptFolderOf(name, 1) / "exit.json")) {
      ASSERT_LT(std::chrono::steady_clock::now(), end);
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }
};

TEST_F(OutageTest, AfterAKilledWorkerEveryStepIsThereOnceAndTheEarlierAttemptIsKept) {
  Serve();
  const int steps = 200;
  const std::string name = Submit(MakeJob(TinyRun(steps), 2)).name();
  WaitForState(name, v1::Job::RUNNING);
  WaitForSteps(name, 30);
  ASSERT_EQ(::kill(static_cast<pid_t>(Attempts(name).at(0).ranks(1).pid()), SIGKILL), 0);
  WaitForEnd(name);
  ExpectDoneOnce(name, steps);
  // Where the second went on from: everything before is the first's.
  ASSERT_EQ(Attempts(name).size(), 2u);
  const std::vector<v1::Series> earlier = AllSeries(name, 1), later = AllSeries(name, 2);
  ASSERT_FALSE(earlier.empty());
  ASSERT_FALSE(later.empty());
  auto loss = [](const std::vector<v1::Series>& all) {
    for (const v1::Series& series : all) {
      if (series.name() == "train/loss") return series;
    }
    return v1::Series();
  };
  const v1::Series first = loss(earlier), second = loss(later), shown = loss(AllSeries(name));
  EXPECT_EQ(first.first_step(0), 0);
  const int64_t resumed = second.first_step(0);
  EXPECT_GT(resumed, 0);
  EXPECT_EQ(second.points(), steps - resumed);
  // Each step of the first up to its death: also those that were done again.
  const int64_t last = first.first_step(first.first_step_size() - 1);
  EXPECT_EQ(first.points(), last + 1);
  EXPECT_GE(last, resumed - 1);
  ASSERT_EQ(shown.attempt_size(), steps);
  for (int i = 0; i < steps; ++i) EXPECT_EQ(shown.attempt(i), i < resumed ? 1 : 2) << "step " << i;
}

TEST_F(OutageTest, WithoutACoordinatorFromTheStartToTheEndEverythingArrivesAfterwards) {
  const std::string mark = (data() / "killed-once").string();
  PutOnPath("mpirun", "mkdir " + mark + " 2>/dev/null && kill -KILL $(sed "
                      "'s/.*\"pid\":\\([0-9]*\\).*/\\1/' " + (data() / "server.json").string() +
                      ")\nexec /usr/bin/mpirun \"$@\"\n");
  Serve();
  const std::string name = Submit(MakeJob(TinyRun(40), 2)).name();
  WaitUntilGone(name);
  ASSERT_TRUE(ServerHasDied());
  Kill();
  EXPECT_TRUE(fs::exists(AttemptFolderOf(name, 1) / "spool")) << "where the figures wait";
  Serve();
  EXPECT_EQ(Get(name).state(), v1::Job::SUCCEEDED) << Describe(name);
  ExpectDoneOnce(name, 40);
  EXPECT_EQ(Attempts(name).size(), 1u);
}

}  // namespace
}  // namespace syncbn
