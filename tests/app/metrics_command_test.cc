// `syncbn metrics`: of one job and of several, for people and for programs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "tests/app/run_command.h"

namespace syncbn {
namespace {

using testing::HasSubstr;

v1::Job& AddJob(FakeCoordinator& fake, int id) {
  v1::Job& job = fake.jobs.jobs["jobs/" + std::to_string(id)];
  job.set_name("jobs/" + std::to_string(id));
  job.set_display_name("shapes-demo");
  job.set_state(v1::Job::SUCCEEDED);
  return job;
}

v1::Series& AddSeries(FakeCoordinator& fake, const std::string& name) {
  v1::Series& series = *fake.metrics.query.add_series();
  series.set_name(name);
  for (int i = 0; i < 3; ++i) {
    series.add_first_step(10 * i);
    series.add_last_step(10 * i + 9);
    series.add_mean(2.5 - i);
    series.add_min(2 - i);
    series.add_max(3 - i);
    series.add_count(10);
    series.add_non_finite(0);
    series.add_attempt(1);
    series.add_time_us(0);
  }
  series.set_points(30);
  return series;
}

TEST(Metrics, PutsSeriesOfTheSameStepsSideBySide) {
  FakeCoordinator fake;
  AddSeries(fake, "train/loss");
  AddSeries(fake, "train/accuracy").set_non_finite(1, 4);
  AddJob(fake, 17);
  const ProcessResult table = RunCommand(fake, {"metrics", "17", "train/*", "--from", "5"});
  EXPECT_EQ(table.out,
            " STEP  train/loss  train/accuracy\n"
            "  0-9         2.5             2.5\n"
            "10-19         1.5            1.5!\n"
            "20-29         0.5             0.5\n")
      << table.err;
  EXPECT_EQ(table.err, "! the mean of what was finite; some values were not.\n");
  ASSERT_FALSE(fake.metrics.queried.empty());
  EXPECT_EQ(fake.metrics.queried[0].first_step(), 5);
  EXPECT_FALSE(fake.metrics.queried[0].has_last_step());
  EXPECT_EQ(fake.metrics.queried[0].max_buckets(), 20);
  EXPECT_THAT(RunCommand(fake, {"metrics", "17", "train/loss", "--csv"}).out,
              HasSubstr("17,shapes-demo,train/loss,0,1,0,9,1970-01-01T00:00:00.000000Z,2.5,2,3,10,0\n"));
  EXPECT_THAT(RunCommand(fake, {"metrics", "17", "train/loss", "--curve"}).out,
              HasSubstr("train/loss, 30 points, last 0.5\n"));
  const ProcessResult both = RunCommand(fake, {"metrics", "17", "a", "--csv", "--curve"});
  EXPECT_EQ(both.status, 2);
  EXPECT_EQ(both.err, "syncbn: --curve and --csv exclude each other\n");
  const ProcessResult part = RunCommand(fake, {"metrics", "17", "train/loss", "--follow", "--from", "3"});
  EXPECT_EQ(part.status, 2);
  EXPECT_EQ(part.err, "syncbn: --follow and --from exclude each other\n");
}

TEST(Metrics, SaysWhichSeriesThereAreNotAndWhichHaveNoPoints) {
  FakeCoordinator fake;
  AddJob(fake, 17);
  AddSeries(fake, "train/loss");
  fake.metrics.query.add_series()->set_name("evaluation/loss");
  fake.metrics.series.add_series()->set_name("train/loss");
  for (const char* form : {"", "--csv", "--curve", "--json"}) {
    std::vector<std::string> command = {"metrics", "17", "train/los", "train/*", "evaluation/loss"};
    if (*form != '\0') command.push_back(form);
    const ProcessResult result = RunCommand(fake, command);
    EXPECT_EQ(result.status, 2) << "a name of which there is nothing is a wrong one";
    EXPECT_THAT(result.out, HasSubstr("train/loss"));
    EXPECT_EQ(result.err,
              "No series 'train/los'; 'syncbn metrics 17' lists what there is; did you mean "
              "'train/loss'?\n"
              "evaluation/loss has no points that match.\n");
  }
}

TEST(Metrics, OfAnAttemptOrARankThatThereIsNotAreAWrongQuestion) {
  FakeCoordinator fake;
  for (const int id : {17, 18}) AddJob(fake, id);
  AddSeries(fake, "train/loss");
  fake.metrics.series.add_series()->set_name("train/loss");
  for (const char* form : {"", "--csv", "--json", "--curve", "train/loss"}) {
    std::vector<std::string> command = {"metrics", "17"};
    if (*form != '\0') command.push_back(form);
    command.push_back("--attempt=7");
    const ProcessResult attempt = RunCommand(fake, command);
    EXPECT_EQ(attempt.status, 2) << form;
    EXPECT_EQ(attempt.err, "syncbn: there is no jobs/17/attempts/7\n") << form;
    command.back() = "--rank=3";
    const ProcessResult rank = RunCommand(fake, command);
    EXPECT_EQ(rank.status, 2) << form;
    EXPECT_THAT(rank.err,
                HasSubstr(command[2] == "train/loss" ? "No series 'train/loss' of rank 3"
                                                     : "jobs/17 has no series of rank 3."));
  }
  // Of several jobs, one may have been started more often.
  fake.metrics.attempts["jobs/18"] = 2;
  const ProcessResult some = RunCommand(fake, {"metrics", "17", "18", "--csv", "--attempt=2"});
  EXPECT_EQ(some.status, 0) << some.err;
  EXPECT_EQ(some.err, "there is no jobs/17/attempts/2\n");
  EXPECT_THAT(some.out, HasSubstr("\n18,shapes-demo,train/loss,"));
  EXPECT_EQ(RunCommand(fake, {"metrics", "17", "18", "--csv", "--attempt=3"}).status, 2);
}

TEST(Metrics, WithoutNamesAreAllOfThemWhereItIsSaidWhichPoints) {
  FakeCoordinator fake;
  AddJob(fake, 17);
  AddSeries(fake, "train/loss");
  const ProcessResult table = RunCommand(fake, {"metrics", "17", "--from", "5"});
  EXPECT_THAT(table.out, testing::StartsWith(" STEP  train/loss\n  0-9         2.5\n"))
      << table.err;
  EXPECT_EQ(fake.metrics.queried.at(0).first_step(), 5);
  EXPECT_EQ(fake.metrics.queried.at(0).names_size(), 0);
  fake.metrics.query.clear_series();
  const ProcessResult none = RunCommand(fake, {"metrics", "17", "--csv"});
  EXPECT_EQ(none.status, 0);
  EXPECT_EQ(none.err, "jobs/17 has no metrics yet.\n");
}

TEST(Metrics, AreNumbersOrNullInJson) {
  FakeCoordinator fake;
  AddJob(fake, 17);
  v1::Series& series = *fake.metrics.query.add_series();
  // A text that looks like a number that is none stays a text.
  series.set_name("NaN");
  for (const double value : {1.5, std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    series.add_mean(value);
    series.add_last_step(series.mean_size());
  }
  const ProcessResult result = RunCommand(fake, {"metrics", "17", "NaN", "--json"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("\"name\":\"NaN\""));
  EXPECT_THAT(result.out, HasSubstr("\"mean\":[1.5,null,null,null]"));
  EXPECT_THAT(result.out, HasSubstr("\"last_step\":[1,2,3,4]"));
}

TEST(Metrics, OfSeveralJobsAreOneCsvWithWhatTellsTheJobsApart) {
  FakeCoordinator fake;
  for (const int id : {3, 4}) {
    v1::Job& job = AddJob(fake, id);
    (*job.mutable_labels())["batch"] = std::to_string(8 * id);
    job.add_overrides("seed=1");
    job.add_overrides("seed=" + std::to_string(id));
    job.add_overrides("data.path=\"/data\"");
  }
  fake.jobs.jobs["jobs/4"].set_display_name("one, \"two\"");
  AddSeries(fake, "test/loss").set_time_us(1, 1'795'000'000'000'123);
  const std::string csv =
      "job,job_name,labels.batch,set.seed,series,rank,attempt,first_step,last_step,time,mean,min,max,"
      "count,non_finite\n"
      "3,shapes-demo,24,3,test/loss,0,1,0,9,1970-01-01T00:00:00.000000Z,2.5,2,3,10,0\n"
      "3,shapes-demo,24,3,test/loss,0,1,10,19,2026-11-18T11:06:40.000123Z,1.5,1,2,10,0\n";
  const std::string other =
      "4,\"one, \"\"two\"\"\",32,4,test/loss,0,1,0,9,1970-01-01T00:00:00.000000Z,2.5,2,3,10,0\n";
  for (const std::vector<std::string>& which :
       {std::vector<std::string>{"3", "jobs/4", "3"}, {"--label", "study=batch"}}) {
    std::vector<std::string> command = {"metrics"};
    command.insert(command.end(), which.begin(), which.end());
    command.insert(command.end(), {"test/*", "--csv"});
    const ProcessResult result = RunCommand(fake, command);
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_THAT(result.out, testing::StartsWith(csv));
    EXPECT_THAT(result.out, HasSubstr(other));
    EXPECT_EQ(std::count(result.out.begin(), result.out.end(), '\n'), 7);
  }
  EXPECT_EQ(fake.jobs.listed.back().filter(), "labels.study = \"batch\"");
  const ProcessResult lines = RunCommand(fake, {"metrics", "3", "4", "test/loss", "--json"});
  const auto json = nlohmann::json::parse(lines.out.substr(0, lines.out.find('\n')));
  EXPECT_EQ(json["job"], "jobs/3");
  EXPECT_EQ(json["labels"]["batch"], "24");
  EXPECT_EQ(json["last_step"], nlohmann::json({9, 19, 29}));
  EXPECT_EQ(json["time_us"][1], 1'795'000'000'000'123);
  EXPECT_EQ(json["points"], 30);
}

TEST(Metrics, OfSeveralJobsAreALineEachWithTheBestValue) {
  FakeCoordinator fake;
  for (const int id : {3, 4}) (*AddJob(fake, id).mutable_labels())["batch"] = std::to_string(8 * id);
  const auto add = [&](const std::string& name, double last, double least, double greatest) {
    v1::SeriesInfo& series = *fake.metrics.series.add_series();
    series.set_name(name);
    series.set_last_step(1200);
    series.set_last_value(last);
    series.set_min_value(least);
    series.set_max_value(greatest);
  };
  add("test/accuracy", 0.5, 0.25, 0.75);
  add("test/loss", 1.5, 1.25, 2);
  add("time/data_ms", 7, 1, 9);
  const ProcessResult all = RunCommand(fake, {"metrics", "--name", "shapes"});
  EXPECT_EQ(all.out,
            "JOB  NAME         LABELS     STEP  test/accuracy  BEST  test/loss  BEST\n"
            "  3  shapes-demo  batch=24  1,200            0.5  0.75        1.5  1.25\n"
            "  4  shapes-demo  batch=32  1,200            0.5  0.75        1.5  1.25\n")
      << all.err;
  EXPECT_THAT(RunCommand(fake, {"metrics", "3", "4", "time/*"}).out,
              HasSubstr("  3  shapes-demo  batch=24  1,200             7\n"));
  const ProcessResult wrong = RunCommand(fake, {"metrics", "3", "4", "test/los"});
  EXPECT_EQ(wrong.status, 2);
  EXPECT_THAT(wrong.err, HasSubstr("No series 'test/los'"));
  EXPECT_THAT(wrong.err, HasSubstr("did you mean 'test/loss'?"));
}

TEST(Metrics, OfNoJobOrOfJobsChosenTwiceAreRefused) {
  FakeCoordinator fake;
  AddJob(fake, 17);
  const auto refused = [&](const std::vector<std::string>& command) {
    const ProcessResult result = RunCommand(fake, command);
    EXPECT_EQ(result.status, 2) << result.out;
    return result.err;
  };
  EXPECT_THAT(refused({"metrics"}), HasSubstr("of which jobs?"));
  EXPECT_THAT(refused({"metrics", "train/loss"}), HasSubstr("\"train/loss\" is not a job"));
  EXPECT_THAT(refused({"metrics", "17", "--name", "x"}), HasSubstr("exclude each other"));
  EXPECT_THAT(refused({"metrics", "99"}), HasSubstr("there is no jobs/99"));
  EXPECT_THAT(refused({"metrics", "17", "jobs/17x"}), HasSubstr("\"jobs/17x\" is not a job"));
  fake.jobs.jobs.clear();
  EXPECT_THAT(refused({"metrics", "--label", "a=b", "--csv"}), HasSubstr("no jobs match"));
}

}  // namespace
}  // namespace syncbn
