#include "study/executor.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <csignal>
#include <map>
#include <mutex>
#include <set>
#include <span>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "study/claims.h"
#include "study/document/markdown.h"
#include "study/report.h"
#include "study/trials_csv.h"
#include "tests/study/support.h"
#include "tests/support/temp_folder.h"

namespace syncbn::study {
namespace {

// The result follows from the run alone, as a real one does.
class FakeRunner final : public TrialRunner {
 public:
  std::optional<TrialRecord> Run(const TrialResult& trial, const v1::RunSpec& run, int processes,
                                 std::stop_token stop) override {
    {
      std::lock_guard lock(mutex_);
      order_.push_back(trial.id);
      running_ += processes;
      most_ = std::max(most_, running_);
    }
    if (pause.count() > 0) std::this_thread::sleep_for(pause);
    std::lock_guard lock(mutex_);
    running_ -= processes;
    if (run.train().max_steps() > 0) ++parts_;
    if (fails_at >= 0 && ran_ == fails_at) throw Error(ErrorCode::kInternal, "a fault");
    if (stops_at >= 0 && ran_ >= stops_at) {
      source.request_stop();
      return std::nullopt;
    }
    ++ran_;
    const double rate = run.train().learning_rate().base();
    if (rate > 50) return TrialRecord{.end = TrialEnd::kDiverged, .reason = "nan", .classes = 10};
    const double accuracy = 0.5 + 0.01 * static_cast<double>(run.seed() % 7) -
                            0.05 * std::abs(std::log10(rate / best_rate));
    return testing::Finished(accuracy / 2, accuracy, std::to_string(run.seed()));
  }

  int ran() const { return ran_; }
  int most() const { return most_; }  // processes at a time
  int parts() const { return parts_; }
  const std::vector<std::string>& order() const { return order_; }

  std::chrono::milliseconds pause{0};
  int fails_at = -1, stops_at = -1;
  double best_rate = 0.1;
  std::stop_source source;

 private:
  std::mutex mutex_;
  std::vector<std::string> order_;
  int ran_ = 0, running_ = 0, most_ = 0, parts_ = 0;
};

const std::string kTune = "tune: {log: {from: 0.01, to: 1, points: 3}, widen: 2}\n";

std::string CsvOf(const Plan& plan, const std::filesystem::path& path) {
  const auto results = ReadResults(path);
  return TrialsCsv(plan, Outlook(plan, results));
}

TEST(Executor, RunsEveryTrialOnceAndNotMoreAtATimeThanAllowed) {
  TempFolder folder;
  const Plan plan(testing::Parse(testing::SmallStudy()));
  FakeRunner runner;
  runner.pause = std::chrono::milliseconds(5);
  {
    ResultLog log(folder.path() / "r");
    EXPECT_TRUE(Execute(plan, log, runner, {.at_once = 3}));
  }
  EXPECT_EQ(runner.ran(), 9);
  EXPECT_LE(runner.most(), 3);
  ResultLog log(folder.path() / "r");
  EXPECT_EQ(log.results().size(), 9u);
  EXPECT_TRUE(Execute(plan, log, runner, {.at_once = 3}));
  EXPECT_EQ(runner.ran(), 9) << "none ran twice";
}

TEST(Executor, WhatHasBegunElsewhereComesFirst) {
  TempFolder folder;
  const Plan plan(testing::Parse(testing::SmallStudy()));
  const std::vector<Trial> trials = plan.FirstTrials();
  const std::set<std::string> begun = {plan.IdOf(trials[4]), plan.IdOf(trials[7])};
  FakeRunner runner;
  ResultLog log(folder.path() / "r");
  EXPECT_TRUE(Execute(plan, log, runner, {.at_once = 1, .first = begun}));
  ASSERT_EQ(runner.order().size(), 9u);
  EXPECT_EQ(runner.order()[0], plan.IdOf(trials[4]));
  EXPECT_EQ(runner.order()[1], plan.IdOf(trials[7]));
  EXPECT_EQ(runner.order()[2], plan.IdOf(trials[0])) << "the others in their order";
}

// A machine that is slow for a while is so for all that are compared.
TEST(Executor, TrialsGoSeedBySeedBehindThoseThatTune) {
  for (const std::string& more : {std::string(), kTune}) {
    TempFolder folder;
    const Plan plan(testing::Parse(testing::SmallStudy(more)));
    FakeRunner runner;
    ResultLog log(folder.path() / "r");
    ASSERT_TRUE(Execute(plan, log, runner, {.at_once = 1}));
    const Outlook outlook(plan, log.results());
    std::vector<std::string> others;
    for (const uint64_t seed : plan.file().seeds) {
      for (const TrialResult& one : outlook.trials()) {
        if (!one.trial.tuning && one.trial.seed == seed) others.push_back(one.id);
      }
    }
    ASSERT_EQ(others.size(), 9u);
    EXPECT_EQ(runner.order().size(), more.empty() ? 9u : 18u);
    EXPECT_TRUE(std::ranges::equal(others, std::span(runner.order()).last(9))) << more;
  }
}

TEST(Executor, ProcessesOfTrialsCountAndATrialOfMoreThanAllowedGoesOnAlone) {
  TempFolder folder;
  const Plan plan(testing::Parse(testing::SmallStudy(
      "  - {path: processes, values: [1, 2, 4]}\nset: {cluster.replicas: 4, "
      "cluster.batch_per_replica: 2, train.max_steps: 0}\nskip:\n  - {where: {batch: 4}}\n")));
  FakeRunner runner;
  runner.pause = std::chrono::milliseconds(5);
  ResultLog log(folder.path() / "r");
  EXPECT_TRUE(Execute(plan, log, runner, {.at_once = 3}));
  EXPECT_EQ(runner.ran(), 18);
  EXPECT_EQ(runner.most(), 4) << "four alone, else at most three";
}

TEST(Executor, HopelessValuesAreGivenUpAfterAPartOfARun) {
  TempFolder folder;
  const Plan plan(testing::Parse(testing::SmallStudy(
      "tune: {log: {from: 0.001, to: 10, points: 9}, halving: {rungs: [0.25, 0.5]}}\n")));
  FakeRunner runner;
  ResultLog log(folder.path() / "r");
  EXPECT_TRUE(Execute(plan, log, runner, {.at_once = 2}));
  // 9 and then 5 parts of runs, 3 whole ones, for each of 3 cells.
  EXPECT_EQ(runner.parts(), 3 * (9 + 5));
  EXPECT_EQ(runner.ran(), 3 * (9 + 5 + 3 + 3));
  const Outlook outlook(plan, log.results());
  for (const Tuned& tuned : outlook.tuned()) {
    EXPECT_EQ(tuned.value, 0.1);
    EXPECT_EQ(tuned.tried.size(), 3u);
    EXPECT_EQ(tuned.given_up.size(), 6u);
    EXPECT_FALSE(tuned.on_edge);
  }
  // 64 samples at batch 8 are 8 steps, twice.
  EXPECT_EQ(plan.RunOf(outlook.trials().front().trial).train().max_steps(), 4);
}

TEST(Executor, WhereTheBestOfTheWholeRunsIsAnEndOfTheGridItIsWidened) {
  TempFolder folder;
  const Plan plan(testing::Parse(testing::SmallStudy(
      "tune: {log: {from: 0.5, to: 50, points: 5}, halving: {rungs: 0.5}, widen: 3}\n")));
  FakeRunner runner;
  ResultLog log(folder.path() / "r");
  EXPECT_TRUE(Execute(plan, log, runner, {.at_once = 1}));
  const Outlook outlook(plan, log.results());
  ASSERT_TRUE(outlook.tuned().front().value);
  EXPECT_LT(*outlook.tuned().front().value, 0.5);
  EXPECT_GT(*outlook.tuned().front().value, 0.05);
}

TEST(Executor, AStudyThatIsStoppedAgainAndAgainEndsInTheSameTable) {
  TempFolder folder;
  const Plan plan(testing::Parse(testing::SmallStudy(kTune)));
  FakeRunner undisturbed;
  {
    ResultLog log(folder.path() / "whole");
    ASSERT_TRUE(Execute(plan, log, undisturbed, {.at_once = 1}));
  }
  int rounds = 0;
  bool complete = false;
  while (!complete && rounds < 100) {
    ++rounds;
    FakeRunner runner;
    runner.stops_at = rounds % 3;
    if (runner.stops_at == 0) runner.stops_at = 3;
    ResultLog log(folder.path() / "parts");
    complete = Execute(plan, log, runner, {.at_once = 2, .stop = runner.source.get_token()});
  }
  EXPECT_TRUE(complete);
  EXPECT_GT(rounds, 3);
  EXPECT_EQ(CsvOf(plan, folder.path() / "parts"), CsvOf(plan, folder.path() / "whole"));
}

TEST(Executor, AFaultOfTheRunnerEndsTheStudyAndWhatHasEndedIsKept) {
  TempFolder folder;
  const Plan plan(testing::Parse(testing::SmallStudy()));
  FakeRunner runner;
  runner.fails_at = 4;
  ResultLog log(folder.path() / "r");
  EXPECT_THROW(Execute(plan, log, runner, {.at_once = 1}), Error);
  EXPECT_EQ(log.results().size(), 4u);
}

TEST(Executor, ProgressCountsWhatIsKnownAndTellsOfEachTrialOnce) {
  TempFolder folder;
  const Plan plan(testing::Parse(testing::SmallStudy()));
  FakeRunner runner;
  ResultLog log(folder.path() / "r");
  std::set<std::string> told;
  Progress last;
  ASSERT_TRUE(Execute(
      plan, log, runner,
      {.at_once = 2, .on_progress = [&](const Progress& progress, const TrialResult* ended) {
         last = progress;
         if (ended != nullptr) {
           EXPECT_TRUE(told.insert(ended->id).second);
           EXPECT_NE(ended->record, nullptr);
         }
       }}));
  EXPECT_EQ(told.size(), 9u);
  EXPECT_EQ(last.done, 9);
  EXPECT_EQ(last.known, 9);
}

TEST(Executor, WhatCannotBeKeptEndsTheStudyAndIsNotToldOf) {
  const Plan plan(testing::Parse(testing::SmallStudy()));
  FakeRunner runner;
  TempFolder folder;
  ResultLog log(folder.path() / "r");
  int told = 0;
  // No file may grow beyond ten bytes, as on a full disk.
  struct rlimit usual {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &usual), 0);
  const struct rlimit tight {.rlim_cur = 10, .rlim_max = usual.rlim_max};
  const auto heard = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &tight), 0);
  EXPECT_THROW(
      Execute(plan, log, runner,
              {.at_once = 2, .on_progress = [&](const Progress&, const TrialResult* ended) {
                 if (ended != nullptr) ++told;
               }}),
      Error);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &usual), 0);
  std::signal(SIGXFSZ, heard);
  EXPECT_EQ(told, 0);
}

TEST(Executor, WhatIsThrownOnTheWayEndsTheStudyAndIsThrownOn) {
  TempFolder folder;
  const Plan plan(testing::Parse(testing::SmallStudy()));
  FakeRunner runner;
  ResultLog log(folder.path() / "r");
  EXPECT_THROW(
      Execute(plan, log, runner,
              {.at_once = 4, .on_progress = [&](const Progress&, const TrialResult* ended) {
                 if (ended != nullptr) throw Error(ErrorCode::kInternal, "no terminal");
               }}),
      Error);
  EXPECT_GE(log.results().size(), 1u);
}

TEST(Executor, ThreadsThatCannotBeStartedAreAnErrorThatSaysWhatToDo) {
  TempFolder folder;
  const Plan plan(testing::Parse(testing::SmallStudy()));
  FakeRunner runner;
  ResultLog log(folder.path() / "r");
  // More stack than there are addresses.
  pthread_attr_t usual, huge;
  ASSERT_EQ(pthread_getattr_default_np(&usual), 0);
  ASSERT_EQ(pthread_getattr_default_np(&huge), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&huge, size_t{1} << 50), 0);
  ASSERT_EQ(pthread_setattr_default_np(&huge), 0);
  std::string message;
  try {
    Execute(plan, log, runner, {.at_once = 3});
  } catch (const Error& error) {
    message = error.message();
  }
  ASSERT_EQ(pthread_setattr_default_np(&usual), 0);
  EXPECT_TRUE(message.starts_with("cannot start thread 1 of 3: ")) << message;
  EXPECT_TRUE(message.ends_with("; run fewer trials at once")) << message;
}

TEST(Executor, ProgressOfAStudyThatTunesCountsWhatIsKnown) {
  TempFolder folder;
  const Plan plan(testing::Parse(testing::SmallStudy(kTune)));
  FakeRunner runner;
  ResultLog log(folder.path() / "r");
  Progress last;
  int64_t told = 0;
  ASSERT_TRUE(Execute(
      plan, log, runner,
      {.at_once = 2, .on_progress = [&](const Progress& progress, const TrialResult* ended) {
         last = progress;
         if (ended == nullptr) return;
         ++told;
         EXPECT_EQ(progress.done, told);
         EXPECT_GE(progress.known, progress.done);
         const Outlook outlook(plan, log.results());
         EXPECT_EQ(progress.known, static_cast<int64_t>(outlook.trials().size()));
       }}));
  EXPECT_EQ(last.done, 9 + 9);
  EXPECT_EQ(last.known, 9 + 9);
}

TEST(Tuning, TheBestOfTheGridIsWhatTheTrialsOfTheCellHave) {
  const Plan plan(testing::Parse(testing::SmallStudy(kTune)));
  FakeRunner runner;
  const auto results = testing::ResultsOf(
      plan, [&](const Trial& trial) { return *runner.Run({}, plan.RunOf(trial), 1, {}); });
  const Outlook outlook(plan, results);
  EXPECT_TRUE(outlook.complete());
  ASSERT_EQ(outlook.tuned().size(), 3u);
  for (const Tuned& tuned : outlook.tuned()) {
    EXPECT_EQ(tuned.value, 0.1);
    EXPECT_EQ(tuned.tried.size(), 3u);
    EXPECT_FALSE(tuned.on_edge);
  }
  int judged = 0;
  for (const TrialResult& one : outlook.trials()) {
    if (one.trial.tuning) continue;
    ++judged;
    EXPECT_EQ(one.trial.tuned, 0.1);
    EXPECT_EQ(plan.RunOf(one.trial).train().learning_rate().base(), 0.1);
  }
  EXPECT_EQ(judged, 9);
}

TEST(Tuning, AnOptimumOnTheEdgeWidensTheGridAndOneBeyondIsFlagged) {
  const Plan plan(testing::Parse(testing::SmallStudy(kTune)));
  FakeRunner runner;
  runner.best_rate = 9;
  const auto run = [&](const Trial& trial) { return *runner.Run({}, plan.RunOf(trial), 1, {}); };
  auto results = testing::ResultsOf(plan, run);
  auto outlook = Outlook(plan, results);
  // 10 is the best of 0.01 .. 100; 100 diverged.
  EXPECT_EQ(outlook.tuned()[0].value, 10.0);
  EXPECT_EQ(outlook.tuned()[0].tried.size(), 5u);
  EXPECT_FALSE(outlook.tuned()[0].on_edge);
  runner.best_rate = 1e-6;
  results = testing::ResultsOf(plan, run);
  outlook = Outlook(plan, results);
  EXPECT_EQ(outlook.tuned()[0].value, 1e-4);
  EXPECT_TRUE(outlook.tuned()[0].on_edge);
}

TEST(Tuning, WhatFinishedIsBetterThanWhatDivergedWhateverItsMeasure) {
  const Plan plan(testing::Parse(testing::SmallStudy(
      "tune: {log: {from: 0.01, to: 1, points: 3}, widen: 0, measure: test_loss}\n")));
  const auto results = testing::ResultsOf(plan, [](const Trial& trial) {
    // The loss of guessing is 0.7 of two classes, and less than that of the one that finished.
    if (trial.tuned != 0.1) {
      return TrialRecord{.end = trial.tuned == 1 ? TrialEnd::kDiverged : TrialEnd::kFailed,
                         .reason = "nan",
                         .classes = 2};
    }
    TrialRecord record = testing::Finished(0.1, 0.1);
    record.test.back().loss = 5;
    return record;
  });
  const Outlook outlook(plan, results);
  EXPECT_EQ(outlook.tuned()[0].value, 0.1);
}

// With the trials of 0.001, 0.01 ... 10 at these accuracies.
Tuned TunedBy(const std::map<double, double>& accuracies, const std::string& more = "") {
  const Plan plan(testing::Parse(
      testing::SmallStudy("tune: {log: {from: 0.001, to: 10, points: 5}" + more + "}\n")));
  const auto results = testing::ResultsOf(plan, [&](const Trial& trial) {
    const auto found = accuracies.find(*trial.tuned);
    const double accuracy = found == accuracies.end() ? 0.1 : found->second;
    return testing::Finished(accuracy, accuracy);
  });
  const Outlook outlook(plan, results);
  EXPECT_TRUE(outlook.complete());
  return outlook.tuned()[0];
}

TEST(Tuning, OfEqualsTheNearestToTheMiddleIsTakenAndNothingIsWidened) {
  const auto expect = [](const std::map<double, double>& accuracies, double value,
                         const std::string& more = "") {
    const Tuned tuned = TunedBy(accuracies, more);
    EXPECT_EQ(tuned.value, value);
    EXPECT_EQ(tuned.tried.size(), more.empty() ? 5u : 3u);
    EXPECT_FALSE(tuned.on_edge);
    EXPECT_EQ(tuned.by_nothing, "");
  };
  expect({}, 0.1);
  expect({{0.001, 0.5}, {0.01, 0.5}}, 0.01);
  expect({{0.1, 0.05}}, 0.01);  // 0.01 and 1 are as near
  expect({{0.001, 0.5}, {10, 0.5}}, 0.001);
  expect({}, 0.1, ", halving: {rungs: 0.5}");
}

TEST(Tuning, AWidenedValueThatIsAsGoodAsTheEndEndsTheSearch) {
  const Tuned tuned = TunedBy({{0.001, 0.5}, {0.0001, 0.5}});
  EXPECT_EQ(tuned.value, 0.001);
  EXPECT_EQ(tuned.tried.size(), 6u);
  EXPECT_FALSE(tuned.on_edge);
}

TEST(Tuning, WhereNothingCanBeChosenFromTheMiddleIsTakenAndTheVerdictSaysSo) {
  const std::string study = testing::SmallStudy(
      "targets: [{name: far, at_least: 0.99}]\n"
      "claims: [{text: c, arm: {batch: 2}, against: {batch: 4}, supported: {above: 0}}]\n"
      "tune: {log: {from: 0.01, to: 1, points: 3}, measure: steps_to far, halving: {rungs: "
      "0.5}}\n");
  const Plan plan(testing::Parse(study));
  const auto expect = [&](TrialEnd of_tuning, const std::string& why) {
    const auto results = testing::ResultsOf(plan, [&](const Trial& trial) {
      // The cell of batch 8 reaches it.
      TrialRecord record =
          trial.cell == 2 ? testing::Finished(0.1, 1) : testing::Finished(0.1, 0.5);
      if (trial.tuning && trial.cell < 2) record.end = of_tuning;
      return record;
    });
    const Outlook outlook(plan, results);
    EXPECT_EQ(outlook.tuned()[0].value, 0.1);
    EXPECT_EQ(outlook.tuned()[0].tried.size(), 3u) << "none was given up by nothing";
    EXPECT_FALSE(outlook.tuned()[0].on_edge);
    EXPECT_EQ(outlook.tuned()[0].by_nothing,
              why + "; 0.1 was taken, nearest to the middle of the grid");
    EXPECT_EQ(outlook.tuned()[2].by_nothing, "");
    const std::vector<Judgement> judgements = Judge(plan, outlook);
    ASSERT_TRUE(judgements[0].verdict);
    EXPECT_TRUE(judgements[0].by_nothing);
    EXPECT_NE(judgements[0].samples.find("; the tuning had nothing to choose from in 2 cells"),
              std::string::npos)
        << judgements[0].samples;
    const document::Document report = MakeReport(plan, outlook, {});
    EXPECT_EQ(std::ranges::count(report.answer,
                                 "The tuning had nothing to choose from in 2 cells; the first, "
                                 "batch 2: " +
                                     outlook.tuned()[0].by_nothing + "."),
              1);
    const std::string page = document::Markdown(report);
    EXPECT_NE(page.find("nothing to choose from: " + why), std::string::npos) << page;
    const std::string sweep =
        page.substr(page.find("## Tuning"), page.find("## Learning") - page.find("## Tuning"));
    const std::string end =
        of_tuning == TrialEnd::kFinished ? "not reached" : TrialEndName(of_tuning);
    EXPECT_NE(sweep.find(end), std::string::npos) << sweep;
    EXPECT_EQ(sweep.find("diverged") != std::string::npos, end == "diverged") << sweep;
  };
  expect(TrialEnd::kFinished, "no trial reached far");
  expect(TrialEnd::kFailed, "all trials failed");
  expect(TrialEnd::kDiverged, "all trials diverged");
}

TEST(Tuning, WideningEndsAsAnEdgeWhereNoRunMayHaveTheValue) {
  const Plan plan(testing::Parse(testing::SmallStudy(
      "tune: {path: train.optimizer.momentum, log: {from: 0.1, to: 0.9, points: 2}}\n")));
  const auto results = testing::ResultsOf(
      plan, [](const Trial& trial) { return testing::Finished(*trial.tuned, *trial.tuned); });
  const Outlook outlook(plan, results);
  EXPECT_TRUE(outlook.complete());
  EXPECT_EQ(outlook.tuned()[0].value, 0.9);
  EXPECT_EQ(outlook.tuned()[0].tried.size(), 2u);
  EXPECT_TRUE(outlook.tuned()[0].on_edge);
}

}  // namespace
}  // namespace syncbn::study
