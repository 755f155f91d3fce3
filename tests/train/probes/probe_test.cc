// Probes of whole runs: what they are shown, that they change nothing, and that their figures do
// not depend on processes and stops.
#include "train/probe.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "tests/support/in_process_run.h"
#include "tests/support/small_run.h"
#include "tests/support/temp_folder.h"
#include "tests/train/probes/function_probe.h"

namespace syncbn::train {
namespace {

// All that a run file can ask for.
constexpr const char* kAll =
    "probes:\n"
    "  noise_scale: 4\n"
    "  moments: 3\n"
    "  activations: 3\n"
    "  running_error: {every_steps: 4, samples: 40}\n"
    "  landscape: {every_steps: 4, points: 2}\n"
    "  covariate_shift: 3\n"
    "  hessian: {every_steps: 3, iterations: 2}\n"
    "  correlation: 4\n";

// Uneven replicas, one of them empty; groups of 2 replicas share statistics.
std::string UnevenRun(const std::string& norm_batch = "global", const std::string& more = "") {
  std::string text = SmallRun(4, 8, norm_batch, more);
  const std::string from = "batch_per_replica: 8";
  return text.replace(text.find(from), from.size(), "batch_per_replica: [13, 8, 0, 11]");
}

v1::RunSpec Steps(const std::string& text, int64_t steps) {
  v1::RunSpec spec = RunSpecFromYaml(text);
  spec.mutable_train()->set_max_steps(steps);
  return spec;
}

// Of each step with some, as text in which nulls are equal.
std::map<int64_t, std::string> FiguresOf(const std::vector<MetricRecord>& records) {
  std::map<int64_t, std::string> figures;
  for (const MetricRecord& record : records) {
    if (!record.figures.empty()) {
      figures[record.step] = MetricRecord{.figures = record.figures}.ToJson();
    }
  }
  return figures;
}

bool SameBits(const Tensor& a, const Tensor& b) {
  const Tensor x = a.OnHost(), y = b.OnHost();
  return std::ranges::equal(x.Bytes(), y.Bytes());
}

// -- Running a step again -------------------------------------------------------------------------

TEST(Probe, RunsTheStepAgainWithItsOwnBitsWhereverItWasInBetween) {
  const v1::RunSpec spec = Steps(UnevenRun(), 4);
  const Digest without = RunInProcess(spec, {}).digests[0];
  std::map<int64_t, std::string> figures;
  for (const int processes : {1, 2, 3}) {
    SCOPED_TRACE(processes);
    const HandedIn probe(processes, [](const ProbedStep& step) {
      const Tensor own = step.executor->Clone(step.gradients);
      const double loss = step.loss_at(step.parameters);
      const LossAndGradients again = step.gradients_at(step.parameters);
      EXPECT_EQ(loss, step.loss);
      EXPECT_EQ(again.loss, step.loss);
      EXPECT_TRUE(SameBits(again.gradients, own));
      // Elsewhere, and back: in memory of their own, then in the same memory.
      nn::ParameterSet moved = step.Along(step.gradients, -0.5);
      const LossAndGradients there = step.gradients_at(moved);
      EXPECT_NE(there.loss, step.loss);
      EXPECT_FALSE(SameBits(there.gradients, own));
      const double loss_there = there.loss;
      EXPECT_EQ(step.loss_at(moved), loss_there);
      moved.Write([&](Tensor& values) { step.executor->Copy(step.parameters.values(), values); });
      EXPECT_EQ(step.loss_at(moved), step.loss) << "weights of other values were used";
      EXPECT_TRUE(SameBits(step.gradients_at(moved).gradients, own));
      EXPECT_TRUE(SameBits(step.gradients_at(step.parameters).gradients, own));
      EXPECT_TRUE(SameBits(step.gradients, own)) << "the step's own";
      return NamedFigures{{"loss_there", loss_there}};
    });
    const InProcessRunResult run = RunInProcess(
        spec, {.processes = processes,
               .adjust = [&](int process, TrainerOptions& options) { probe(process, options); }});
    for (const Digest& digest : run.digests) EXPECT_EQ(digest, without);
    ASSERT_EQ(FiguresOf(run.records).size(), 4u);
    if (figures.empty()) figures = FiguresOf(run.records);
    EXPECT_EQ(FiguresOf(run.records), figures);
  }
}

TEST(Probe, LossesAlongTheGradientDifferByItsSquaredNorm) {
  for (const char* norm_batch : {"global", "replica"}) {
    const v1::RunSpec spec = Steps(UnevenRun(norm_batch), 2);
    int looks = 0;
    const HandedIn probe(1, [&](const ProbedStep& step) {
      ++looks;
      const double s = 1e-7;
      const double difference = step.loss_at(step.Along(step.gradients, s)) -
                                step.loss_at(step.Along(step.gradients, -s));
      EXPECT_GT(step.squared_gradient_norm, 0);
      EXPECT_NEAR(difference / (2 * s), step.squared_gradient_norm,
                  1e-4 * step.squared_gradient_norm);
      return NamedFigures{};
    });
    RunInProcess(
        spec, {.backend = "reference",
               .adjust = [&](int process, TrainerOptions& options) { probe(process, options); }});
    EXPECT_EQ(looks, 2);
  }
}

TEST(Probe, SeesTheBatchOfTheStepAsItWasFed) {
  const v1::RunSpec spec = Steps(UnevenRun(), 2);
  const HandedIn probe(1, [](const ProbedStep& step) {
    EXPECT_EQ(step.loss_at(step.parameters), step.loss);
    return NamedFigures{};
  });
  RunInProcess(spec, {.adjust = [&](int process, TrainerOptions& options) {
                 probe(process, options);
                 options.on_batch = [](int64_t, int replica, data::Batch& batch) {
                   if (batch.size() > 0)
                     batch.images.Data<float>()[0] += static_cast<float>(replica + 1);
                 };
               }});
}

// -- What it is shown -----------------------------------------------------------------------------

TEST(Probe, IsShownTheStepBeforeItIsCommitted) {
  const v1::RunSpec spec = Steps(UnevenRun("replica"), 5);
  std::vector<double> losses;
  bool last = false;
  const HandedIn probe(1, [&](const ProbedStep& step) {
    losses.push_back(step.loss);
    last = step.last;
    EXPECT_EQ(step.step, static_cast<int64_t>(losses.size()) - 1);
    EXPECT_EQ(step.replicas.size(), 4u);
    int64_t samples = 0;
    for (const ReplicaGradient& replica : step.replicas) {
      samples += replica.samples;
      EXPECT_EQ(replica.squared_norm > 0, replica.samples > 0);
    }
    // The epoch's last step has 4 samples.
    EXPECT_EQ(samples, step.step == 3 ? 4 : 32);
    const nn::NormStatistics& norm = step.model->running_statistics()[0];
    EXPECT_EQ(step.moments.Span<double>()[static_cast<size_t>(norm.moments_offset)],
              static_cast<double>(samples * 16 * 16));
    return NamedFigures{};
  });
  const InProcessRunResult run = RunInProcess(
      spec, {.adjust = [&](int process, TrainerOptions& options) { probe(process, options); }});
  ASSERT_EQ(losses.size(), 5u);
  EXPECT_TRUE(last);
  for (size_t i = 0; i < losses.size(); ++i) EXPECT_EQ(losses[i], run.records.at(i).loss);
}

TEST(Probe, IsNotShownAStepThatIsNotAccepted) {
  const v1::RunSpec spec = Steps(UnevenRun(), 4);
  std::vector<int64_t> steps;
  const HandedIn probe(1, [&](const ProbedStep& step) {
    steps.push_back(step.step);
    return NamedFigures{};
  });
  RunInProcess(spec, {.adjust = [&](int process, TrainerOptions& options) {
                 probe(process, options);
                 options.on_batch = [](int64_t step, int replica, data::Batch& batch) {
                   if (step == 2 && replica == 0) {
                     batch.images.Data<float>()[0] = std::numeric_limits<float>::quiet_NaN();
                   }
                 };
               }});
  EXPECT_EQ(steps, (std::vector<int64_t>{0, 1, 3}));
}

// -- What comes of its figures --------------------------------------------------------------------

TEST(Probe, AFigureThatIsNotFiniteIsNullAndOneIsWrittenThoughNoLineIsDue) {
  v1::RunSpec spec = Steps(UnevenRun(), 5);
  spec.mutable_output()->set_every_steps(4);
  const HandedIn probe(1, [](const ProbedStep& step) {
    return step.step == 1 ? NamedFigures{{"curvature", INFINITY}} : NamedFigures{};
  });
  const InProcessRunResult run = RunInProcess(
      spec, {.adjust = [&](int process, TrainerOptions& options) { probe(process, options); }});
  ASSERT_EQ(run.records.size(), 2u);
  EXPECT_EQ(run.records[0].step, 1);
  EXPECT_NE(run.records[0].ToJson().find("\"figures\":{\"curvature\":null}"), std::string::npos)
      << run.records[0].ToJson();
  EXPECT_EQ(run.records[1].step, 3);
}

TEST(Probe, AFailureOfOneOnAnyProcessEndsTheRunAndNamesIt) {
  const v1::RunSpec spec = Steps(UnevenRun(), 5);
  const auto failure_of = [&](const FunctionProbe::Function& look) -> std::string {
    const HandedIn probe(2, look);
    try {
      RunInProcess(spec, {.processes = 2, .adjust = [&](int process, TrainerOptions& options) {
                            probe(process, options);
                          }});
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  const std::string thrown = failure_of([](const ProbedStep& step) -> NamedFigures {
    if (step.step == 2) throw Error(ErrorCode::kInternal, "lost its way");
    return {};
  });
  EXPECT_NE(thrown.find("lost its way"), std::string::npos) << thrown;
  EXPECT_NE(thrown.find("probe of_the_test"), std::string::npos) << thrown;
  const std::string named = failure_of([](const ProbedStep&) {
    return NamedFigures{{"a name", 1}};
  });
  EXPECT_NE(named.find("a figure cannot be named 'a name'"), std::string::npos) << named;
  EXPECT_NE(named.find("probe of_the_test"), std::string::npos) << named;
}

// -- The probes of the run file -------------------------------------------------------------------

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(Probes, ARunWithThemEndsInTheBitsOfOneWithoutAndTheirFiguresHangOnNoProcess) {
  const std::string sgd = "{momentum: 0.9, nesterov: true, weight_decay: 0.0005}";
  const std::vector<std::pair<std::string, std::string>> runs = {
      {"uneven", UnevenRun()},
      {"ghost", UnevenRun("3")},
      {"groups of replicas", SmallRun(8, 4, "8")},
      {"group norm", Replaced(UnevenRun(), "{batch: global}", "{kind: group, groups: 2}")},
      {"weight norm", Replaced(UnevenRun(), "{batch: global}", "{kind: weight}")},
      {"no norm, lars", Replaced(Replaced(UnevenRun(), "{batch: global}", "none"), sgd,
                                 "{kind: lars, momentum: 0.9, weight_decay: 0.01}")},
      {"adamw", Replaced(UnevenRun("replica"), sgd, "adamw")},
      {"a resnet",
       "data: {dataset: shapes, shapes: {train_samples: 60, test_samples: 10}}\n"
       "model: {architecture: resnet20, width: 0.25}\n"
       "cluster: {replicas: 3, batch_per_replica: 8}\n"
       "train: {learning_rate: 0.01}\n"
       "output: {digests: true}\n"},
      {"an lstm",
       "data: {dataset: shapes, shapes: {train_samples: 38, test_samples: 10}}\n"
       "model: {architecture: lstm, recurrent: {hidden: 6, train_rows: 5}}\n"
       "cluster: {replicas: 4, batch_per_replica: [4, 5, 0, 7]}\n"
       "train: {learning_rate: 0.05}\n"
       "output: {digests: true}\n"},
  };
  for (const auto& [name, text] : runs) {
    SCOPED_TRACE(name);
    const int64_t steps = name == "a resnet" || name == "an lstm" ? 2 : 5;
    const InProcessRunResult without = RunInProcess(Steps(text, steps), {.processes = 2});
    const InProcessRunResult one = RunInProcess(Steps(text + kAll, steps), {});
    EXPECT_FALSE(one.StepDigests().empty());
    EXPECT_EQ(one.StepDigests(), without.StepDigests());
    EXPECT_TRUE(FiguresOf(without.records).empty());
    const auto figures = FiguresOf(one.records);
    ASSERT_TRUE(figures.contains(steps - 1)) << "at the end";
    EXPECT_NE(figures.at(steps - 1).find("noise_scale.variance"), std::string::npos);
    for (const int processes : name == "uneven" ? std::vector{2, 3, 4} : std::vector{3}) {
      SCOPED_TRACE(processes);
      const InProcessRunResult many =
          RunInProcess(Steps(text + kAll, steps), {.processes = processes});
      EXPECT_EQ(many.digests[0], without.digests[0]);
      EXPECT_EQ(FiguresOf(many.records), figures);
    }
  }
}

TEST(Probes, ARunThatIsStoppedAtEveryStepHasTheFiguresOfAnUndisturbedOne) {
  const v1::RunSpec spec = Steps(UnevenRun("global", kAll), 11);
  const InProcessRunResult whole = RunInProcess(spec, {});
  EXPECT_EQ(FiguresOf(whole.records).size(), 6u) << "after steps 2, 3, 5, 7, 8 and 10";
  TempFolder out;
  std::vector<MetricRecord> records;
  for (int i = 0; i < 11; ++i) {
    const InProcessRunResult part = RunInProcess(spec, {.processes = 1 + i % 2,
                                                        .out = out.path(),
                                                        .resume = i > 0,
                                                        .adjust = [](int, TrainerOptions& options) {
                                                          options.control_requests = [] {
                                                            return ControlRequests{.stop = true};
                                                          };
                                                        }});
    records.insert(records.end(), part.records.begin(), part.records.end());
  }
  EXPECT_EQ(FiguresOf(records), FiguresOf(whole.records));
  EXPECT_EQ(records.back().digest, whole.records.back().digest);
}

TEST(Probes, MayBeAddedAndDroppedWhereARunGoesOn) {
  const v1::RunSpec with = Steps(UnevenRun("global", kAll), 11);
  const InProcessRunResult whole = RunInProcess(with, {});
  TempFolder out;
  RunInProcess(Steps(UnevenRun(), 3), {.out = out.path()});
  RunInProcess(Steps(UnevenRun("global", kAll), 6), {.out = out.path(), .resume = true});
  const InProcessRunResult rest =
      RunInProcess(Steps(UnevenRun(), 11), {.out = out.path(), .resume = true});
  EXPECT_EQ(rest.digests[0], whole.digests[0]);
  EXPECT_TRUE(FiguresOf(rest.records).empty());
}

TEST(Probes, FiguresHaveTheNamesOfLayersAndSayWhereTheNoiseScaleIsBiased) {
  const auto figures_of = [](const std::string& norm_batch) {
    return RunInProcess(Steps(SmallRun(4, 8, norm_batch, kAll), 12), {}).records.back().figures;
  };
  const NamedFigures global = figures_of("global"), replica = figures_of("replica");
  for (const char* layer : {"1", "3.body.1", "3.body.4", "3.shortcut.1"}) {
    for (const char* what : {"mean_over_std", "largest_mean_over_std", "condition"}) {
      const std::string name = std::string("moments.") + layer + "." + what;
      ASSERT_TRUE(global.contains(name))
          << name << " of " << MetricRecord{.figures = global}.ToJson();
      EXPECT_GT(global.at(name), 0) << name;
    }
    EXPECT_GE(global.at(std::string("moments.") + layer + ".condition"), 1);
  }
  EXPECT_EQ(global.at("noise_scale.biased"), 1);
  EXPECT_GT(replica.at("noise_scale.variance"), 0);
  EXPECT_FALSE(replica.contains("noise_scale.biased"));
}

}  // namespace
}  // namespace syncbn::train
