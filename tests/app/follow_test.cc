// Following jobs and logs: what is printed, and how the command ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

#include "tests/app/run_command.h"

namespace syncbn {
namespace {

using testing::HasSubstr;

constexpr std::chrono::seconds kPatience{60};

v1::Job JobIn(v1::Job::State state) {
  v1::Job job;
  job.set_name("jobs/17");
  job.set_display_name("shapes-demo");
  job.set_state(state);
  job.set_attempt(1);
  return job;
}

v1::WatchJobsResponse Snapshot(const v1::Job& job) {
  v1::WatchJobsResponse response;
  *response.mutable_snapshot() = job;
  return response;
}

v1::WatchJobsResponse Change(const v1::Job& job, const std::string& reason) {
  v1::WatchJobsResponse response;
  *response.mutable_change()->mutable_job() = job;
  v1::Transition& transition = *response.mutable_change()->mutable_transition();
  transition.set_job(job.name());
  transition.set_reason(reason);
  transition.set_to_state(job.state());
  transition.mutable_time()->set_seconds(3600);
  return response;
}

int Count(const std::string& text, const std::string& part) {
  int count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

// A job that runs and then ends as `end`.
void Play(FakeCoordinator& fake, const v1::Job& end) {
  fake.jobs.jobs["jobs/17"] = end;
  fake.jobs.watch = {Snapshot(JobIn(v1::Job::STARTING)),
                     Change(JobIn(v1::Job::RUNNING), "all 2 ranks have registered"), Change(end, "done")};
}

TEST(Watch, OfAJobThatSucceedsEndsWith0AndItsLastFigures) {
  FakeCoordinator fake;
  v1::Job end = JobIn(v1::Job::SUCCEEDED);
  end.mutable_progress()->set_step(1024);
  end.mutable_used_time()->set_seconds(125);
  end.set_output_folder("/data/job-17");
  Play(fake, end);
  v1::SeriesInfo& series = *fake.metrics.series.add_series();
  series.set_name("test/accuracy");
  series.set_last_value(0.988);
  series.set_max_value(0.991);
  const ProcessResult result = RunCommand(fake, {"watch", "17"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out,
            "jobs/17  shapes-demo  STARTING\n"
            "01:00:00  RUNNING     all 2 ranks have registered\n"
            "01:00:00  SUCCEEDED   done\n"
            "jobs/17 SUCCEEDED at step 1,024 after 2 min 05 s\n"
            "  output    /data/job-17\n"
            "  test/accuracy 98.80 % (best 99.10 %)\n");
}

TEST(Watch, OfAJobThatFailsEndsWith10AndTheReason) {
  FakeCoordinator fake;
  v1::Job end = JobIn(v1::Job::FAILED);
  end.mutable_failure()->set_class_(v1::Failure::USER);
  end.mutable_failure()->set_message("rank 1 on node2 exited with 3");
  end.mutable_failure()->set_excerpt("1: out of luck\n1: leaving\n");
  Play(fake, end);
  const ProcessResult result = RunCommand(fake, {"watch", "jobs/17"});
  EXPECT_EQ(result.status, 10) << result.err;
  EXPECT_THAT(result.out, HasSubstr("jobs/17 FAILED after 0 s\n"
                                    "  USER: rank 1 on node2 exited with 3\n"
                                    "  | 1: out of luck\n"
                                    "  | 1: leaving\n"
                                    "  All its output: syncbn logs 17. To start it again: syncbn retry 17.\n"));
}

TEST(Watch, OfAJobThatIsCancelledEndsWith11) {
  FakeCoordinator fake;
  Play(fake, JobIn(v1::Job::CANCELLED));
  EXPECT_EQ(RunCommand(fake, {"watch", "17"}).status, 11);
}

TEST(Watch, AsJsonPrintsEveryEventOnALineOfItsOwn) {
  FakeCoordinator fake;
  Play(fake, JobIn(v1::Job::SUCCEEDED));
  const ProcessResult result = RunCommand(fake, {"watch", "17", "--json"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(std::count(result.out.begin(), result.out.end(), '\n'), 3);
  EXPECT_THAT(result.out, HasSubstr("\"reason\":\"all 2 ranks have registered\""));
}

TEST(Watch, CtrlCLeavesTheJobRunningAndSaysHowToEndIt) {
  FakeCoordinator fake;
  fake.jobs.jobs["jobs/17"] = JobIn(v1::Job::RUNNING);
  fake.jobs.watch = {Snapshot(JobIn(v1::Job::RUNNING))};
  Process watch(CommandFor(fake.address(), {"watch", "17"}));
  ASSERT_TRUE(watch.WaitForText("RUNNING", kPatience));
  watch.Signal(SIGINT);
  const ProcessResult result = watch.Wait();
  EXPECT_EQ(result.status, 130);
  EXPECT_EQ(result.err,
            "jobs/17 goes on. To follow it again: syncbn watch 17. To end it: syncbn cancel 17.\n");
  EXPECT_TRUE(fake.jobs.cancelled.empty());
}

TEST(Watch, WaitsForACoordinatorThatIsRestartedMeanwhile) {
  FakeCoordinator fake;
  fake.jobs.jobs["jobs/17"] = JobIn(v1::Job::RUNNING);
  fake.jobs.watch = {Snapshot(JobIn(v1::Job::RUNNING)), Change(JobIn(v1::Job::RUNNING), "first")};
  Process watch(CommandFor(fake.address(), {"watch", "17"}));
  ASSERT_TRUE(watch.WaitForText("first", kPatience));
  fake.Stop();
  ASSERT_TRUE(watch.WaitForText("the coordinator is away", kPatience)) << watch.Out();
  Play(fake, JobIn(v1::Job::SUCCEEDED));
  fake.Start();
  const ProcessResult result = watch.Wait();
  EXPECT_EQ(result.status, 0) << result.out << result.err;
  EXPECT_THAT(result.out, HasSubstr("the coordinator is back"));
}

TEST(Watch, OfAJobThatIsNotThereSaysSo) {
  FakeCoordinator fake;
  const ProcessResult result = RunCommand(fake, {"watch", "99"});
  EXPECT_EQ(result.status, 2);
  EXPECT_EQ(result.err, "syncbn: there is no jobs/99\n");
  EXPECT_EQ(RunCommand(fake, {"watch", "17", "--filter", "name : a"}).err,
            "syncbn: JOB and --filter exclude each other\n");
}

TEST(Logs, PrintsTheWholeLogOrItsLastLines) {
  FakeCoordinator fake;
  fake.jobs.jobs["jobs/17"] = JobIn(v1::Job::RUNNING);
  std::string log;
  for (int i = 0; i < 500; ++i) log += "0: line " + std::to_string(i) + "\n";
  fake.logs.logs["jobs/17/attempts/1/logs/output"] = log;
  EXPECT_EQ(RunCommand(fake, {"logs", "17"}).out, log);
  EXPECT_EQ(RunCommand(fake, {"logs", "17", "--tail", "2"}).out, "0: line 498\n0: line 499\n");
  EXPECT_EQ(RunCommand(fake, {"logs", "17", "--tail", "0"}).out, "");
  EXPECT_EQ(RunCommand(fake, {"logs", "17", "--tail", "9999"}).out, log);
  fake.jobs.watch = {Snapshot(JobIn(v1::Job::SUCCEEDED))};
  EXPECT_EQ(RunCommand(fake, {"logs", "17", "--tail", "1", "--follow"}).out, "0: line 499\n");
  const ProcessResult missing = RunCommand(fake, {"logs", "17", "--attempt", "3"});
  EXPECT_EQ(missing.status, 2);
  EXPECT_EQ(missing.err, "syncbn: there is no log jobs/17/attempts/3/logs/output\n");
}

TEST(Logs, OfAJobThatWaitsSaysWhy) {
  FakeCoordinator fake;
  v1::Job job = JobIn(v1::Job::QUEUED);
  job.set_attempt(0);
  job.mutable_pending()->set_message("needs 8 slots, 3 free");
  fake.jobs.jobs["jobs/17"] = job;
  const ProcessResult result = RunCommand(fake, {"logs", "17"});
  EXPECT_EQ(result.status, 0);
  EXPECT_EQ(result.err, "jobs/17 has not started yet: it is QUEUED, needs 8 slots, 3 free\n");
}

// A bucket of a series.
void AddPoint(v1::Series& series, int64_t step, double value, int64_t time_us) {
  series.add_first_step(step);
  series.add_last_step(step);
  series.add_mean(value);
  series.add_time_us(time_us);
}

TEST(Watch, IntoAPipeTellsEveryEvaluationAndHowLongItTakes) {
  FakeCoordinator fake;
  v1::Series& accuracy = *fake.metrics.query.add_series();
  accuracy.set_name("test/accuracy");
  v1::Series& loss = *fake.metrics.query.add_series();
  loss.set_name("test/loss");
  for (int i = 1; i <= 3; ++i) {
    AddPoint(accuracy, 10 * i, 0.25 * i, 60'000'000 * i);
    AddPoint(loss, 10 * i, 1.0 / i, 60'000'000 * i);
  }
  v1::Job half = JobIn(v1::Job::RUNNING);
  half.mutable_progress()->set_step(50);
  half.mutable_progress()->set_total_steps(150);
  half.mutable_progress()->set_epoch(1.5);
  half.mutable_used_time()->set_seconds(100);
  v1::WatchJobsResponse progress;
  *progress.mutable_change()->mutable_job() = half;
  v1::Job end = JobIn(v1::Job::SUCCEEDED);
  fake.jobs.jobs["jobs/17"] = end;
  fake.jobs.watch = {Snapshot(JobIn(v1::Job::STARTING)), progress, Change(end, "done")};
  const ProcessResult result = RunCommand(fake, {"watch", "17"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(Count(result.out, "evaluated"), 3) << result.out;
  EXPECT_THAT(result.out, HasSubstr("00:01:00  evaluated   step 10  accuracy 25.00 %  loss 1.0000\n"
                                    "00:02:00  evaluated   step 20  accuracy 50.00 %  loss 0.5000\n"
                                    "00:03:00  evaluated   step 30  accuracy 75.00 %  loss 0.3333\n"));
  EXPECT_THAT(result.out,
              HasSubstr("  RUNNING     step 50/150  epoch 1.5  about 3 min 20 s left\n"));
}

TEST(Watch, OfARunThatGrowsWithoutBoundKeepsItsLinesShort) {
  FakeCoordinator fake;
  Play(fake, JobIn(v1::Job::SUCCEEDED));
  for (const char* name : {"test/accuracy", "test/loss"}) {
    v1::Series& series = *fake.metrics.query.add_series();
    series.set_name(name);
    AddPoint(series, 7, 1.25e36, 0);
    AddPoint(series, 9, 999'999.5, 0);
  }
  const ProcessResult result = RunCommand(fake, {"watch", "17"});
  EXPECT_THAT(result.out, HasSubstr("step 7  accuracy 1.25e+38 %  loss 1.25e+36\n"));
  EXPECT_THAT(result.out, HasSubstr("step 9  accuracy 1e+08 %  loss 999999.5000\n"));
}

TEST(Watch, TellsEvaluationsThatComeWithTheLastReports) {
  FakeCoordinator fake;
  Play(fake, JobIn(v1::Job::SUCCEEDED));
  v1::Series& accuracy = *fake.metrics.query.add_series();
  accuracy.set_name("test/precise/accuracy");
  AddPoint(accuracy, 7, 0.5, 0);
  const ProcessResult result = RunCommand(fake, {"watch", "17"});
  EXPECT_EQ(Count(result.out, "evaluated   step 7  precise/accuracy 50.00 %\n"), 1) << result.out;
  EXPECT_EQ(Count(RunCommand(fake, {"watch", "17", "--json"}).out, "evaluated"), 0);
}

}  // namespace
}  // namespace syncbn
