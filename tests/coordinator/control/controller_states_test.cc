// What can be asked of a job in each of its states, and what the next coordinator makes of it.
#include "tests/coordinator/control/controller_fixture.h"

namespace syncbn::coordinator {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A job in each state that is no end, by the shortest way.
class InState : public ControllerTest, public ::testing::WithParamInterface<JobState> {
 protected:
  int64_t Bring(JobState state) {
    if (state == JobState::kQueued) {
      controller().SetDrained("node1", true, "", By("carla"));
      return Submit();
    }
    const int64_t job = Submit();
    WaitForAttempt(job, 1);
    if (state == JobState::kStarting) return job;
    Register({job, 1});
    if (state == JobState::kRunning) return job;
    if (state == JobState::kRecovering) {
      launcher.End({job, 1}, FakeLauncher::Killed());
    } else if (state == JobState::kPaused) {
      Act(job, EventKind::kPause);
    } else {
      launcher.obedient = false;
      Act(job, state == JobState::kPausing ? EventKind::kPause : EventKind::kCancel);
      WaitUntil("it is told", [&] { return !launcher.Get({job, 1}).stops.empty(); });
      launcher.obedient = true;
    }
    WaitForState(job, state);
    return job;
  }
};

TEST_P(InState, CancelEndsTheJobAndLeavesNothingAlive) {
  const int64_t job = Bring(GetParam());
  Act(job, EventKind::kCancel);
  if (GetParam() == JobState::kCancelling) Act(job, EventKind::kKill);
  WaitForState(job, JobState::kCancelled);
  EXPECT_EQ(Ends(job), 1);
  EXPECT_EQ(launcher.AllAlive(), 0);
}

TEST_P(InState, KillEndsTheJobAndLeavesNothingAlive) {
  const int64_t job = Bring(GetParam());
  Act(job, EventKind::kKill);
  WaitForState(job, JobState::kCancelled);
  EXPECT_EQ(Ends(job), 1);
  EXPECT_EQ(launcher.AllAlive(), 0);
}

TEST_P(InState, PauseHoldsTheJobUnlessItIsBeingCancelledAndResumeGoesOn) {
  const int64_t job = Bring(GetParam());
  if (GetParam() == JobState::kCancelling) {
    EXPECT_THAT(ErrorOf([&] { Act(job, EventKind::kPause); }),
                HasSubstr(JobName(job) + ": the job is CANCELLING: it is being ended for good"));
    return;
  }
  Act(job, EventKind::kPause);
  if (GetParam() == JobState::kPausing) launcher.End({job, 1}, FakeLauncher::Stopped());
  WaitForState(job, JobState::kPaused);
  EXPECT_EQ(launcher.AllAlive(), 0);
  const int next = Get(job).status.attempt + 1;
  controller().SetDrained("node1", false, "", By("carla"));
  v1::Resources wider = TestSpec().resources();
  wider.set_processes(3);
  controller().Act(job, {.verb = EventKind::kResume, .resources = wider}, By("anna"));
  WaitForAttempt(job, next);
  EXPECT_THAT(launcher.Get({job, next}).request.placement, ElementsAre(Share{"node1", 3}));
  launcher.End({job, next}, FakeLauncher::Ended(0));
  WaitForState(job, JobState::kSucceeded);
  EXPECT_EQ(Ends(job), 1);
}

TEST_P(InState, ResumeAndRetryAreRefusedWithWhatToDoInstead) {
  const int64_t job = Bring(GetParam());
  if (GetParam() != JobState::kPaused) {
    EXPECT_THAT(ErrorOf([&] { Act(job, EventKind::kResume); }), HasSubstr("FAILED_PRECONDITION"));
  }
  EXPECT_THAT(ErrorOf([&] { Act(job, EventKind::kRetry); }), HasSubstr("FAILED_PRECONDITION"));
  Act(job, EventKind::kKill);
  WaitForState(job, JobState::kCancelled);
}

// Whatever state the coordinator leaves a job in, its successor brings it to one end.
TEST_P(InState, TheNextCoordinatorBringsTheJobToItsOneEnd) {
  const int64_t job = Bring(GetParam());
  if (GetParam() == JobState::kQueued) controller().SetDrained("node1", false, "", By("carla"));
  End();
  clock.Advance(seconds(20));
  controller();
  if (GetParam() == JobState::kPaused) Act(job, EventKind::kResume);
  if (GetParam() == JobState::kPausing) {
    // The order is given again.
    WaitForState(job, JobState::kPaused);
    Act(job, EventKind::kResume);
  }
  if (GetParam() == JobState::kCancelling) {
    WaitForState(job, JobState::kCancelled);
  } else {
    WaitUntil("it runs", [&] { return launcher.AllAlive() == 1; });
    launcher.End({job, Get(job).status.attempt}, FakeLauncher::Ended(0));
    WaitForState(job, JobState::kSucceeded);
  }
  EXPECT_EQ(Ends(job), 1);
}

INSTANTIATE_TEST_SUITE_P(Each, InState,
                         ::testing::Values(JobState::kQueued, JobState::kStarting,
                                           JobState::kRunning, JobState::kPausing,
                                           JobState::kPaused, JobState::kRecovering,
                                           JobState::kCancelling),
                         [](const auto& info) { return std::string(JobStateName(info.param)); });

}  // namespace
}  // namespace syncbn::coordinator
