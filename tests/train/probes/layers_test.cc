// Probes of layers, against what observers of the same steps see on the host.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "nn/model.h"
#include "tests/train/probes/function_probe.h"
#include "train/probes/activations.h"
#include "train/probes/correlation.h"
#include "train/probes/covariate_shift.h"
#include "train/probes/layer_figures.h"
#include "train/probes/running_error.h"

namespace syncbn::train {
namespace {

// A matrix rows x channels, rows of replicas in order.
struct Rows {
  size_t channels = 0;
  std::vector<double> values;
  size_t rows() const { return values.size() / channels; }
  double at(size_t row, size_t channel) const { return values[row * channels + channel]; }
  double MeanOf(size_t channel) const {
    double sum = 0;
    for (size_t r = 0; r < rows(); ++r) sum += at(r, channel);
    return sum / static_cast<double>(rows());
  }
  double Covariance(size_t i, size_t j) const {
    double sum = 0;
    for (size_t r = 0; r < rows(); ++r) sum += (at(r, i) - MeanOf(i)) * (at(r, j) - MeanOf(j));
    return sum / static_cast<double>(rows());
  }
  double StdOf(size_t channel) const { return std::sqrt(Covariance(channel, channel)); }
};

// What observers of the run's own passes, in which ReLU is fused into norms, are told: by step,
// layer and what it is.
using Seen = std::map<int64_t, std::map<std::string, Rows>>;

struct ObservedRun {
  Seen seen;
  std::map<int64_t, NamedFigures> figures;
};

ObservedRun Observe(const std::string& text, int processes = 1,
                    const std::string& backend = "reference") {
  ObservedRun result;
  std::mutex mutex;
  // By replica, so that rows come in their order.
  std::map<int64_t, std::map<int, std::map<std::string, Rows>>> by_replica;
  const InProcessRunResult run = RunInProcess(
      RunSpecFromYaml(text),
      {.backend = backend, .processes = processes, .adjust = [&](int, TrainerOptions& options) {
         options.observe = [&](int64_t step, int replica) -> nn::TensorObserver {
           return [&, step, replica](std::string_view layer, std::string_view what,
                                     const Tensor& x) {
             const std::lock_guard lock(mutex);
             Rows& rows = by_replica[step][replica][std::string(layer) + " " + std::string(what)];
             rows.channels = static_cast<size_t>(x.shape().channels());
             const Tensor wide = x.As(DType::kFloat64);
             const std::span<const double> values = wide.Span<double>();
             rows.values.insert(rows.values.end(), values.begin(), values.end());
           };
         };
       }});
  for (const auto& [step, replicas] : by_replica) {
    for (const auto& [replica, seen] : replicas) {
      for (const auto& [name, rows] : seen) {
        Rows& all = result.seen[step][name];
        all.channels = rows.channels;
        all.values.insert(all.values.end(), rows.values.begin(), rows.values.end());
      }
    }
  }
  for (const MetricRecord& record : run.records) {
    if (!record.figures.empty()) result.figures[record.step] = record.figures;
  }
  return result;
}

// Whole epochs as batches, in one order, and plain steps: the second step sees the samples of the
// first at the parameters to which it went.
std::string ThreeLayers(const std::string& activation, const std::string& probes) {
  return "seed: 5\n"
         "data: {dataset: shapes, shuffle: false, shapes: {train_samples: 12, test_samples: 4}}\n"
         "model:\n"
         "  layers:\n"
         "    - conv: {out: 3, kernel: 3, stride: 8, padding: 1}\n"
         "    - norm: {batch: global}\n"
         "    - " +
         activation +
         "\n"
         "    - conv: {out: 4, kernel: 3, stride: 2, padding: 1}\n"
         "    - " +
         activation +
         "\n"
         "    - global_average_pool\n"
         "    - linear: 10\n"
         "cluster: {replicas: 3, batch_per_replica: [7, 0, 5]}\n"
         "train: {max_steps: 2, epochs: 2, optimizer: {kind: sgd, momentum: 0},"
         " learning_rate: 0.5}\n"
         "probes: {" +
         probes + "}\n";
}

void ExpectMeanAndStd(const NamedFigures& figures, const std::string& layer, const Rows& rows) {
  double mean = 0, squares = 0;
  for (const double x : rows.values) mean += x / static_cast<double>(rows.values.size());
  for (const double x : rows.values) squares += (x - mean) * (x - mean);
  const double std = std::sqrt(squares / static_cast<double>(rows.values.size()));
  EXPECT_NEAR(figures.at("activations." + layer + ".mean"), mean, 1e-9) << layer;
  EXPECT_NEAR(figures.at("activations." + layer + ".std"), std, 1e-9 * std) << layer;
}

// -- Activations ----------------------------------------------------------------------------------

TEST(Activations, AreOfEachLayersOutputAndItsGradientOverAllReplicas) {
  for (const std::string activation : {"sigmoid", "tanh"}) {
    const ObservedRun run = Observe(ThreeLayers(activation, "activations: 1"));
    for (const int64_t step : {0, 1}) {
      const NamedFigures& figures = run.figures.at(step);
      const auto& seen = run.seen.at(step);
      for (int layer = 0; layer < 7; ++layer) {
        const std::string name = std::to_string(layer);
        ExpectMeanAndStd(figures, name, seen.at(name + " output"));
        const bool activates = layer == 2 || layer == 4;
        EXPECT_EQ(figures.contains("activations." + name + ".saturated"), activates);
        if (layer == 6) continue;
        // What the next layer's input has.
        const Rows& gradient = seen.at(std::to_string(layer + 1) + " gradient");
        double squares = 0;
        for (const double x : gradient.values) squares += x * x;
        const double rms = 12 * std::sqrt(squares / static_cast<double>(gradient.values.size()));
        EXPECT_GT(rms, 0);
        EXPECT_NEAR(figures.at("activations." + name + ".gradient"), rms, 1e-9 * rms) << layer;
      }
      EXPECT_GT(figures.at("activations.6.gradient"), 0);
    }
  }
}

TEST(Activations, OfAFusedReluAreItsOwnAndTheNormsAreBeforeIt) {
  const ObservedRun run = Observe(ThreeLayers("relu", "activations: 1"));
  const NamedFigures& figures = run.figures.at(0);
  const Rows& behind = run.seen.at(0).at("1 output behind ReLU");
  ExpectMeanAndStd(figures, "2", behind);
  const double zeros = static_cast<double>(std::ranges::count(behind.values, 0.0));
  EXPECT_GT(zeros, 0);
  EXPECT_NEAR(figures.at("activations.2.saturated"),
              zeros / static_cast<double>(behind.values.size()), 1e-12);
  // A norm's output has mean 0 and std 1, up to epsilon.
  EXPECT_NEAR(figures.at("activations.1.mean"), 0, 1e-9);
  EXPECT_NEAR(figures.at("activations.1.std"), 1, 1e-2);
}

TEST(Activations, AreSaturatedWhereTheDerivativeIsUnderOneHundredth) {
  for (const std::string activation : {"sigmoid", "tanh"}) {
    std::string text = ThreeLayers(activation, "activations: 1");
    // Inputs wide enough for some.
    text.replace(text.find("model:\n"), 7, "model:\n  init: {scale: 12}\n");
    const ObservedRun run = Observe(text);
    const Rows& outputs = run.seen.at(0).at("4 output");
    double saturated = 0;
    for (const double y : outputs.values) {
      const double slope = activation == "tanh" ? 1 - y * y : y * (1 - y);
      saturated += slope < 0.01 ? 1 : 0;
    }
    saturated /= static_cast<double>(outputs.values.size());
    EXPECT_GT(saturated, 0.05);
    EXPECT_LT(saturated, 0.95);
    EXPECT_NEAR(run.figures.at(0).at("activations.4.saturated"), saturated, 1e-12) << activation;
  }
}

// The factor by which a layer changes the gradient on its way back, at the start.
double GradientFactor(const std::string& activation, const std::string& norm) {
  const std::string init = activation == "relu" ? "he" : "xavier";
  const std::string text =
      "seed: 1\n"
      "data: {dataset: shapes, shapes: {train_samples: 128, test_samples: 4}}\n"
      "model: {architecture: mlp, hidden: [128, 128, 128, 128, 128, 128, 128, 128],\n"
      "        activation: " +
      activation + ", init: {kind: " + init + "}, norm: " + norm +
      "}\n"
      "cluster: {replicas: 2, batch_per_replica: 64}\n"
      "train: {max_steps: 1, learning_rate: 0.1}\n"
      "probes: {activations: 1}\n";
  const InProcessRunResult run = RunInProcess(RunSpecFromYaml(text), {});
  std::vector<double> gradients;  // of the activations, from the first
  for (const auto& [name, value] : run.records.at(0).figures) {
    const size_t end = name.find(".saturated");
    if (end == std::string::npos) continue;
    gradients.push_back(run.records[0].figures.at(name.substr(0, end) + ".gradient"));
  }
  EXPECT_EQ(gradients.size(), 8u);
  return std::pow(gradients.at(1) / gradients.at(7), 1.0 / 6);
}

TEST(Activations, GradientsChangeFromLayerToLayerAsTheoryOfWideNetsHasThem) {
  EXPECT_NEAR(GradientFactor("sigmoid", "none"), 0.234, 0.03);
  EXPECT_NEAR(GradientFactor("tanh", "none"), 0.929, 0.06);
  EXPECT_NEAR(GradientFactor("relu", "none"), 0.994, 0.06);
  EXPECT_NEAR(GradientFactor("sigmoid", "{batch: global}"), 0.960, 0.12);
  EXPECT_NEAR(GradientFactor("tanh", "{batch: global}"), 1.077, 0.12);
  EXPECT_NEAR(GradientFactor("relu", "{batch: global}"), 1.186, 0.12);
}

TEST(Activations, OfAllChannelsAreMergedFromTheirMoments) {
  const OutputStatistics output{.moments = {2, 1, 5, 2, 8}};  // 0, 2 and 3, 7
  const MeanAndStd all = OverAllChannels(output);
  EXPECT_EQ(all.mean, 3);
  EXPECT_DOUBLE_EQ(all.std, std::sqrt((9 + 1 + 0 + 16) / 4.0));
  EXPECT_TRUE(std::isnan(OverAllChannels({.moments = {0, 0, 0}}).mean));
}

TEST(Activations, RefuseALayerWhoseNameIsTooLongBeforeTheRun) {
  std::string text = ThreeLayers("tanh", "activations: 1");
  const std::string pool = "- global_average_pool\n";
  text.replace(text.find(pool), pool.size(),
               "- global_average_pool: {}\n      name: " + std::string(120, 'a') + "\n");
  try {
    Observe(text);
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("probes.activations: a figure cannot be named"),
              std::string::npos)
        << error.message();
  }
}

// -- Covariate shift ------------------------------------------------------------------------------

TEST(CovariateShift, OfOutputsIsBetweenThisStepAndTheNext) {
  const ObservedRun run = Observe(ThreeLayers("tanh", "covariate_shift: 1"));
  const NamedFigures& figures = run.figures.at(0);
  for (const std::string layer : {"0", "1", "3", "6"}) {
    const Rows& before = run.seen.at(0).at(layer + " output");
    const Rows& after = run.seen.at(1).at(layer + " output");
    double means = 0, logs = 0;
    for (size_t c = 0; c < before.channels; ++c) {
      const double mean = (after.MeanOf(c) - before.MeanOf(c)) / before.StdOf(c);
      const double log_std = std::log(after.StdOf(c) / before.StdOf(c));
      means += mean * mean / static_cast<double>(before.channels);
      logs += log_std * log_std / static_cast<double>(before.channels);
    }
    EXPECT_GT(means + logs, 0) << layer;
    const std::string prefix = "covariate_shift." + layer;
    EXPECT_NEAR(figures.at(prefix + ".mean"), std::sqrt(means), 1e-9) << layer;
    EXPECT_NEAR(figures.at(prefix + ".log_std"), std::sqrt(logs), 1e-9) << layer;
  }
  EXPECT_FALSE(figures.contains("covariate_shift.2.mean")) << "an activation";
}

TEST(CovariateShift, OfGradientsIsBetweenThoseBeforeAndAfterTheStepOfTheLayersBefore) {
  LookAtSteps(ThreeLayers("tanh", ""), [](const ProbedStep& step) {
    CovariateShiftProbe probe(1, *step.model);
    const NamedFigures figures = probe.Look(step);
    const nn::ParameterLayout& layout = step.model->parameters();
    EXPECT_EQ(figures.at("covariate_shift.0.gradient"), 0);
    EXPECT_EQ(figures.at("covariate_shift.0.cosine"), 1);
    EXPECT_FALSE(figures.contains("covariate_shift.1.gradient")) << "a norm has no weights";
    for (const std::string layer : {"3", "6"}) {
      const int weight = layout.Find(layer + ".weight");
      Tensor moved = step.parameters.values().OnHost().Clone();
      const Tensor g = step.gradients.OnHost();
      for (int i = 0; i < weight; ++i) {
        Tensor to = layout.View(moved, i);
        const Tensor by = layout.View(g, i);
        for (int64_t k = 0; k < to.elements(); ++k) {
          to.Data<double>()[k] -= step.learning_rate * by.Data<double>()[k];
        }
      }
      const Tensor there = step.gradients_at(nn::ParameterSet(step.executor->Clone(
                                                 step.executor->ToDevice(moved, moved.dtype()))))
                               .gradients.OnHost();
      const Tensor G = layout.View(g, weight), other = layout.View(there, weight);
      double distance = 0, product = 0, own = 0, its = 0;
      for (int64_t k = 0; k < G.elements(); ++k) {
        const double x = G.Data<double>()[k], y = other.Data<double>()[k];
        distance += (x - y) * (x - y);
        product += x * y;
        own += x * x;
        its += y * y;
      }
      EXPECT_GT(distance, 0);
      const std::string prefix = "covariate_shift." + layer;
      EXPECT_NEAR(figures.at(prefix + ".gradient"), std::sqrt(distance), 1e-9) << layer;
      EXPECT_NEAR(figures.at(prefix + ".cosine"), product / std::sqrt(own * its), 1e-9) << layer;
    }
  });
}

TEST(CovariateShift, LeavesChannelsOutThatAreConstant) {
  const OutputStatistics before{.moments = {4, 1, 7, 4, 0}}, after{.moments = {4, 3, 9, 16, 1}};
  const DistributionShift shift = ShiftOf(before, after);
  EXPECT_DOUBLE_EQ(shift.mean, 2);
  EXPECT_DOUBLE_EQ(shift.log_std, std::log(2));
  EXPECT_TRUE(std::isnan(ShiftOf({.moments = {4, 1, 0}}, {.moments = {4, 1, 1}}).mean));
}

// -- Correlation ----------------------------------------------------------------------------------

TEST(Correlation, IsTheMeanOverThePairsOfChannelsOfEachLayersOutput) {
  const auto expect = [](const std::string& backend, double tolerance) {
    const ObservedRun run = Observe(ThreeLayers("tanh", "correlation: 1"), 2, backend);
    for (const int64_t step : {0, 1}) {
      for (int layer = 0; layer < 7; ++layer) {
        const std::string name = std::to_string(layer);
        const Rows& rows = run.seen.at(step).at(name + " output");
        double sum = 0, pairs = 0;
        for (size_t i = 0; i < rows.channels; ++i) {
          for (size_t j = 0; j < i; ++j, pairs += 1) {
            sum += std::abs(rows.Covariance(i, j)) / (rows.StdOf(i) * rows.StdOf(j));
          }
        }
        EXPECT_GT(sum, 0);
        EXPECT_NEAR(run.figures.at(step).at("correlation." + name + ".off_diagonal"), sum / pairs,
                    tolerance)
            << name;
      }
    }
  };
  expect("reference", 1e-9);
  expect(kTestBackend, 1e-4);
}

// Of norms, and where there are none of the convolutions before activations.
TEST(Correlation, OfWhatIsGivenToActivationsIsAFigureOfItsOwn) {
  const auto activated = [](const std::string& text) {
    std::set<std::string> layers;
    const std::string end = ".off_diagonal_activated";
    const NamedFigures figures = Observe(text).figures.at(0);
    for (const auto& [name, value] : figures) {
      if (!name.ends_with(end)) continue;
      const std::string layer = name.substr(0, name.size() - end.size());
      EXPECT_EQ(value, figures.at(layer + ".off_diagonal"));
      layers.insert(layer);
    }
    return layers;
  };
  const std::string run =
      "data: {dataset: shapes, shapes: {train_samples: 24, test_samples: 8}}\n"
      "cluster: {replicas: 2, batch_per_replica: 12}\n"
      "train: {epochs: 1}\n"
      "probes: {correlation: 1}\n"
      "model: {architecture: vgg_small, width: 0.5, norm: ";
  const std::set<std::string> norms = activated(run + "batch}\n");
  EXPECT_EQ(norms, activated(run + "iterative}\n"));
  EXPECT_TRUE(norms.contains("correlation.bn1"));
  EXPECT_FALSE(norms.contains("correlation.conv1"));
  const std::set<std::string> convolutions = activated(run + "none}\n");
  EXPECT_TRUE(convolutions.contains("correlation.conv1"));
  EXPECT_EQ(convolutions.size(), norms.size());
  EXPECT_EQ(norms.size(), 6u);
}

// Covariances of whitened channels vanish; those of what is whitened, and of activations, do not.
TEST(Correlation, OfWhatIterativeNormGivesVanishes) {
  const NamedFigures figures =
      Observe(
          "data: {dataset: shapes, shapes: {train_samples: 64, test_samples: 8}}\n"
          "cluster: {replicas: 2, batch_per_replica: 32}\n"
          "train: {epochs: 1}\n"
          "probes: {correlation: 1}\n"
          "model: {architecture: vgg_small, norm: {kind: iterative, iterations: 20, batch: "
          "global}}\n")
          .figures.at(0);
  EXPECT_LT(figures.at("correlation.bn2.off_diagonal"), 0.05);
  EXPECT_GT(figures.at("correlation.conv2.off_diagonal"), 0.1);
  EXPECT_GT(figures.at("correlation.act2.off_diagonal"), 0.05);
}

TEST(Correlation, OfAChannelThatIsConstantIsInNoPair) {
  const std::vector<double> products = {4, 0, -2, 0, 0, 0, -2, 0, 4};
  EXPECT_DOUBLE_EQ(MeanOffDiagonal(products, 3), 0.5);
  EXPECT_TRUE(std::isnan(MeanOffDiagonal(std::vector<double>{1, 0, 0, 0}, 2)));
}

// -- Running averages -----------------------------------------------------------------------------

TEST(RunningError, OfTheWholeEpochIsAgainstTheStepsOwnStatistics) {
  const std::string text = ThreeLayers("tanh", "running_error: {every_steps: 1, samples: 12}");
  const ObservedRun run = Observe(text);
  // As the run begins: mean 0, variance 1. Then a tenth of the first step's.
  std::vector<double> running_mean(3, 0), running_var(3, 1);
  for (const int64_t step : {0, 1}) {
    const Rows& x = run.seen.at(step).at("0 output");
    const double rows = static_cast<double>(x.rows());
    double means = 0, logs = 0;
    for (size_t c = 0; c < 3; ++c) {
      const double mean = x.MeanOf(c), variance = x.Covariance(c, c) * rows / (rows - 1);
      means += (running_mean[c] - mean) * (running_mean[c] - mean) / variance / 3;
      logs += std::pow(std::log(running_var[c] / variance), 2) / 3;
      running_mean[c] += 0.1 * (mean - running_mean[c]);
      running_var[c] += 0.1 * (variance - running_var[c]);
    }
    EXPECT_NEAR(run.figures.at(step).at("running_error.1.mean"), std::sqrt(means), 1e-9) << step;
    EXPECT_NEAR(run.figures.at(step).at("running_error.1.log_variance"), std::sqrt(logs), 1e-9)
        << step;
  }
}

TEST(RunningError, OfAModelThatKeepsNoAveragesHasNoFigures) {
  std::string text = ThreeLayers("tanh", "running_error: 1");
  text.replace(text.find("norm: {batch: global}"), 21, "norm: {batch: global, running: none}");
  EXPECT_TRUE(Observe(text).figures.empty());
}

// -- All of them ----------------------------------------------------------------------------------

TEST(Probes, AllFiguresOfALargeModelFitARecordAndHaveNamesOfSeries) {
  v1::RunSpec spec = RunSpecFromYaml(
      "data: {dataset: shapes}\n"
      "model: {architecture: resnet110}\n"
      "cluster: {replicas: 1, batch_per_replica: 2}\n");
  const auto unfused =
      nn::BuildModel(spec.model(), spec.cluster(),
                     {.height = 32, .width = 32, .channels = 3, .classes = 10}, {.fuse = false});
  const ActivationsProbe activations(1, *unfused);
  const CovariateShiftProbe covariate_shift(1, *unfused);
  const CorrelationProbe correlation(1, *unfused);
  const RunningErrorProbe running_error(spec.probes().running_error(),
                                        unfused->running_statistics());
  MetricRecord record;
  for (const nn::LayerOutput& layer : unfused->outputs()) {
    for (const char* what : {"mean", "std", "saturated", "gradient"}) {
      record.AddFigures({{LayerFigure("activations", layer.layer, what), -1.0 / 3}});
      record.AddFigures({{LayerFigure("covariate_shift", layer.layer, what), -1.0 / 3}});
    }
  }
  EXPECT_GT(record.figures.size(), 2000u);
  EXPECT_LT(record.ToJson().size(), size_t{1} << 20) << "a record of the spool";
}

}  // namespace
}  // namespace syncbn::train
