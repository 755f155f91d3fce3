// The report of a study that shows all that a report can show, and an overview, in a browser. The
// looking is done by document/page_test.py.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "study/document/html.h"
#include "study/overview.h"
#include "study/report.h"
#include "study/report_heat_maps.h"
#include "tests/study/document/page_look.h"
#include "tests/study/support.h"
#include "tests/support/temp_folder.h"

namespace syncbn::study {
namespace {

using ::testing::UnorderedElementsAre;

const char* kStudy = R"(name: everything
question: What do more processes and a larger normalization batch do?
run:
  data: {dataset: shapes, shapes: {train_samples: 256, test_samples: 32}}
  model: {architecture: mlp, hidden: [8, 8, 8], norm: batch}
  cluster: {replicas: 4, batch_per_replica: 8}
  train: {epochs: 4}
  probes: {noise_scale: 8, activations: 8}
axes:
  - {path: processes, values: [1, 2, 4]}
  - {path: model.norm.batch, values: [8, 16, 32]}
seeds: 3
at_once: 1
tune: {log: {from: 0.01, to: 1, points: 3}, widen: 0}
targets:
  - {name: half, metric: test_accuracy, at_least: 0.5}
claims:
  - {text: A larger normalization batch is better, arm: {batch: 32}, against: {batch: 8}, supported: {above: 0.02}}
  - {text: Twice the processes and half the time, measure: seconds_to half, compare: ratio,
     arm: {processes: 2, batch: 32}, against: {processes: 1, batch: 32}, supported: {below: 0.6}}
  - {text: A small normalization batch takes more steps, measure: steps_to half, compare: ratio,
     arm: {batch: 8}, against: {batch: 32}, supported: {above: 1.2}}
  - {text: The same bits on any number of processes, compare: same_bits, arm: {processes: 4}, against: {processes: 1}}
  - {text: Other statistics and other bits, compare: same_bits, arm: {batch: 32}, against: {batch: 8}, control: refuted}
)";

const std::vector<std::string> kLayers = {"fc1", "fc2", "fc10"};

// Of small numbers that differ from seed to seed, the same ones in every run of the test.
TrialRecord ResultOf(const Plan& plan, const Trial& trial) {
  const std::vector<int>& levels = plan.cells()[trial.cell].levels;
  const double processes = 1 << levels[0], batch = 8 << levels[1];
  const double seed = static_cast<double>(trial.seed % 7);
  const double rate = trial.tuned.value_or(0.1);
  TrialRecord record{.steps = 32, .samples = 1024, .classes = 10};
  record.digest = std::to_string(levels[1]) + "-" + std::to_string(trial.seed);
  if (rate == 1 && levels[1] == 0) {
    record.end = TrialEnd::kDiverged;
    record.reason = "loss not finite at step 3";
    return record;
  }
  for (int64_t epoch = 1; epoch <= 4; ++epoch) {
    const auto at = static_cast<double>(epoch);
    const double best = 0.5 + 0.08 * std::log2(batch / 8) - 0.1 * std::abs(std::log10(rate) + 1);
    const double accuracy = best * (1 - std::exp(-at)) + 0.012 * seed;
    record.test.push_back({epoch * 8, epoch * 256, 2 - accuracy, accuracy});
    record.train.push_back({epoch * 8, epoch * 256, 1.8 - accuracy, accuracy});
    record.figures["noise_scale.simple"].emplace_back(epoch * 8, 40 * at + seed);
    if (levels[1] > 0) record.figures["noise_scale.biased"].emplace_back(epoch * 8, 1);
    record.figures["gradients.norm"].emplace_back(epoch * 8, std::pow(10, -at));
    for (size_t layer = 0; layer < kLayers.size(); ++layer) {
      record.figures["activations." + kLayers[layer] + ".mean"].emplace_back(
          epoch * 8, 0.1 * static_cast<double>(layer) + 0.01 * seed + 1 / batch);
    }
  }
  const double compute = 400 / processes, statistics = processes > 1 ? 20 * processes : 0;
  record.timings = {{"seconds", (compute + statistics) / 1000},
                    {"images_per_second", 1024e3 / (compute + statistics + seed)},
                    {"ms_compute", compute},
                    {"ms_statistics", statistics},
                    {"ms_gradients", statistics / 2},
                    {"ms_data", 3}};
  return record;
}

std::vector<std::string> TitlesOf(const document::Document& page) {
  std::vector<std::string> titles;
  for (const document::Section& section : page.sections) {
    for (const document::Block& block : section.blocks) {
      if (const auto* chart = std::get_if<document::Chart>(&block)) titles.push_back(chart->title);
    }
  }
  return titles;
}

class ReportPages : public ::testing::Test {
 protected:
  ReportPages()
      : plan_(testing::Parse(kStudy)),
        results_(
            testing::ResultsOf(plan_, [&](const Trial& trial) { return ResultOf(plan_, trial); })),
        outlook_(plan_, results_) {}

  const Plan plan_;
  const std::map<std::string, TrialRecord> results_;
  const Outlook outlook_;
};

TEST_F(ReportPages, OfAStudyOfEverythingHoldEveryKindOfPlot) {
  EXPECT_THAT(
      TitlesOf(MakeReport(plan_, outlook_, {})),
      UnorderedElementsAre(
          "Test accuracy at the end", "Generalization gap: test loss minus train loss",
          "Steps to half", "Time to half", "Throughput", "Best train.learning_rate.base",
          "Test accuracy at the end over processes and batch",
          "Steps to half over processes and batch", "Time to half over processes and batch",
          "What was tried, one seed each (part 1 of 2)",
          "What was tried, one seed each (part 2 of 2)",
          "Test accuracy over training (part 1 of 2)", "Test accuracy over training (part 2 of 2)",
          "noise_scale.simple over training", "gradients.norm over training",
          "activations: mean of each layer, at the end", "What the time of a step is made of"));
}

TEST_F(ReportPages, ShowFiguresThatGoOverDecadesByTheirLogarithm) {
  int seen = 0;
  for (const document::Section& section : MakeReport(plan_, outlook_, {}).sections) {
    for (const document::Block& block : section.blocks) {
      const auto* chart = std::get_if<document::Chart>(&block);
      if (chart == nullptr || section.heading != "Probes") continue;
      const bool decades = chart->title == "gradients.norm over training";
      EXPECT_EQ(std::get<document::LineChart>(chart->plot).y.scale,
                decades ? document::AxisScale::kLog10 : document::AxisScale::kLinear)
          << chart->title;
      ++seen;
    }
  }
  EXPECT_EQ(seen, 3);
}

TEST_F(ReportPages, SayOfWhichCellsTheNoiseScaleIsBiased) {
  const document::Document report = MakeReport(plan_, outlook_, {});
  int biased = 0, others = 0;
  for (const document::Section& section : report.sections) {
    for (const document::Block& block : section.blocks) {
      const auto* chart = std::get_if<document::Chart>(&block);
      if (chart == nullptr || chart->title != "noise_scale.simple over training") continue;
      for (const document::Series& series : std::get<document::LineChart>(chart->plot).series) {
        const bool said = series.name.ends_with(" (biased)");
        const bool noted = series.points.at(0).evidence.note == "biased";
        EXPECT_EQ(said, !series.name.ends_with("batch 8"));
        EXPECT_EQ(noted, said);
        ++(said ? biased : others);
      }
    }
  }
  EXPECT_GT(biased, 0);
  EXPECT_GT(others, 0);
}

TEST(ReportOfAStudy, SaysThatTrialsFailedAndDoesNotCallThemDiverged) {
  const Plan plan(testing::Parse(testing::SmallStudy()));
  const auto results = testing::ResultsOf(plan, [&](const Trial& trial) {
    TrialRecord record = testing::Finished(0.1, 0.5);
    if (trial.cell == 0) record.end = TrialEnd::kFailed;
    return record;
  });
  const document::Document report = MakeReport(plan, Outlook(plan, results), {});
  EXPECT_THAT(report.answer, ::testing::Contains(::testing::HasSubstr("3 trials failed")));
  EXPECT_THAT(
      report.answer,
      ::testing::Contains(::testing::HasSubstr("do not tell it apart from the other cell.")));
  bool found = false;
  for (const document::Section& section : report.sections) {
    for (const document::Block& block : section.blocks) {
      const auto* chart = std::get_if<document::Chart>(&block);
      if (chart == nullptr || chart->title != "Test accuracy at the end") continue;
      const document::Point& point = std::get<document::LineChart>(chart->plot).series[0].points[0];
      EXPECT_EQ(point.lost, "failed");
      EXPECT_EQ(point.evidence.note, "3 failed");
      found = true;
    }
  }
  EXPECT_TRUE(found);
}

TEST(HeatMapsOfAStudy, AreOverTheTwoAxesOfMostValuesForEachOfTheOthersAndMarkTheBest) {
  const Plan plan(testing::Parse(testing::SmallStudy(
      "  - {name: net, cases: [{name: small}, {name: bigger, set: {model.hidden: [5]}}]}\n"
      "  - {name: rate, path: train.learning_rate.base, values: [0.1, 0.2, 0.4]}\n"
      "skip:\n  - {where: {net: bigger, batch: 2, rate: 0.1}}\n"
      "targets:\n  - {name: half, metric: test_accuracy, at_least: 0.5}\n")));
  const auto results = testing::ResultsOf(plan, [&](const Trial& trial) {
    const std::vector<int>& levels = plan.cells()[trial.cell].levels;
    // The largest of both is best, and the smallest of the last axis never gets there.
    return testing::Finished(0.1, 0.2 + 0.1 * levels[0] + 0.2 * levels[2]);
  });
  const Outlook outlook(plan, results);
  const std::vector<document::Chart> maps = HeatMaps(plan, outlook);
  ASSERT_EQ(maps.size(), 4);
  EXPECT_EQ(maps[0].title, "Test accuracy at the end over batch and rate (net small)");
  EXPECT_EQ(maps[1].title, "Test accuracy at the end over batch and rate (net bigger)");
  EXPECT_EQ(maps[2].title, "Steps to half over batch and rate (net small)");
  const auto& accuracy = std::get<document::HeatMap>(maps[1].plot);
  ASSERT_EQ(accuracy.cells.size(), 9);
  EXPECT_FALSE(accuracy.cells[0].value.has_value());  // was skipped
  EXPECT_NEAR(*accuracy.cells[8].value, 80, 1e-9);
  ASSERT_TRUE(accuracy.optimum.has_value());
  EXPECT_EQ(accuracy.optimum->x, 2);
  EXPECT_EQ(accuracy.optimum->y, 2);
  const auto& steps = std::get<document::HeatMap>(maps[3].plot);
  EXPECT_FALSE(std::isfinite(*steps.cells[3].value));
  EXPECT_EQ(steps.cells[3].lost, "not reached");
  EXPECT_TRUE(std::isfinite(*steps.cells[8].value));
}

TEST_F(ReportPages, WorkInABrowserOnAPhoneAndOnADesktopInBothColourSchemes) {
  TempFolder folder;
  std::ofstream(folder.path() / "report.html")
      << document::Html(MakeReport(plan_, outlook_, {"a host, 2 cores; 2026-11-29"}));
  std::ofstream(folder.path() / "overview.html")
      << document::Html(MakeOverview({{&plan_, &outlook_, "everything/report"},
                                      {&plan_, &outlook_, std::string(60, 'n') + "/report"}},
                                     "2 studies", {"a host, 2 cores; 2026-11-29"}));
  const document::Looked looked = document::Look("browser", folder.path());
  if (looked.status == document::kNoPython) GTEST_SKIP() << "there is no python3";
  if (looked.status == document::kNoBrowser) GTEST_SKIP() << looked.words;
  EXPECT_EQ(looked.status, 0) << looked.words;
}

}  // namespace
}  // namespace syncbn::study
