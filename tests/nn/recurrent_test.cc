// Recurrent layers: what they compute, their gradients, and the statistics of the norms within.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "tests/nn/cluster.h"

namespace syncbn::nn {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr InputSpec kInput{.height = 5, .width = 3, .channels = 2, .classes = 3};

// A layer and the linear one behind it; `norm` is the text of a NormSpec.
std::string Net(const std::string& kind, const std::string& norm, const std::string& recurrent = "",
                int hidden = 4) {
  return "norm {" + norm + "} layers {" + kind + " {hidden: " + std::to_string(hidden) + " " +
         recurrent + "}} layers {linear {out: 3}}";
}

constexpr char kNone[] = "kind: NORM_KIND_NONE";
constexpr char kLayer[] = "kind: NORM_KIND_LAYER";
constexpr char kShared[] = "statistics: RECURRENT_STATISTICS_SHARED";

PassSettings SettingsOf(const Model& model, Mode mode = Mode::kTrain) {
  return {.parameters = RandomParameters(model),
          .running_statistics = RandomRunningStatistics(model),
          .mode = mode};
}

std::vector<std::string> Names(const Model& model) {
  std::vector<std::string> names;
  for (const Parameter& parameter : model.parameters().parameters()) {
    names.push_back(parameter.name + " " + parameter.shape.ToString());
  }
  return names;
}

// -- Parameters ----------------------------------------------------------------------------------

TEST(Recurrent, HasPyTorchsParametersAndOneBiasBesideNorms) {
  const auto names = [](const std::string& text) {
    return Names(*MakeModel(text, {.height = 5, .width = 3, .channels = 2, .classes = 3}));
  };
  const std::string fc = "fc.weight [3, 4]", fc_bias = "fc.bias [3]";
  EXPECT_THAT(
      names(Named("lstm", "recurrent {hidden: 4} norm {kind: NORM_KIND_NONE}")),
      testing::ElementsAre("lstm.weight_ih_l0 [16, 6]", "lstm.bias_ih_l0 [16]",
                           "lstm.weight_hh_l0 [16, 4]", "lstm.bias_hh_l0 [16]", fc, fc_bias));
  EXPECT_THAT(
      names(Named("rnn", "recurrent {hidden: 4}")),
      testing::ElementsAre("rnn.weight_ih_l0 [4, 6]", "rnn.bn_ih.weight [4]", "rnn.bias_ih_l0 [4]",
                           "rnn.weight_hh_l0 [4, 4]", "rnn.bn_hh.weight [4]", fc, fc_bias));
  EXPECT_THAT(names(Named("lstm", "recurrent {hidden: 4} norm {kind: NORM_KIND_LAYER}")),
              testing::ElementsAre("lstm.weight_ih_l0 [16, 6]", "lstm.bn_ih.weight [16]",
                                   "lstm.bias_ih_l0 [16]", "lstm.weight_hh_l0 [16, 4]",
                                   "lstm.bn_hh.weight [16]", "lstm.bn_c.weight [4]",
                                   "lstm.bn_c.bias [4]", fc, fc_bias));
  EXPECT_THAT(names(Named("lstm", std::string("recurrent {hidden: 4 ") + kShared +
                                      "} norm {affine: false}")),
              testing::ElementsAre("lstm.weight_ih_l0 [16, 6]", "lstm.bias_ih_l0 [16]",
                                   "lstm.weight_hh_l0 [16, 4]", fc, fc_bias));
}

TEST(Recurrent, NormsStartAtTheInitialScaleAndAllBiasesAtZero) {
  const auto model =
      MakeModel(Named("lstm", "recurrent {hidden: 4} norm {initial_scale: 0.1}"), kInput);
  const Tensor values = InitialParameters(model->parameters(), 1, DType::kFloat64);
  for (int i = 0; i < model->parameters().size(); ++i) {
    const ParameterRole role = model->parameters()[i].role;
    if (role == ParameterRole::kWeight) continue;
    for (const double value : model->parameters().View(values, i).Span<double>()) {
      EXPECT_EQ(value, role == ParameterRole::kNormScale ? 0.1 : 0) << model->parameters()[i].name;
    }
  }
}

TEST(Recurrent, EveryTimeStepOfTrainingHasRunningStatistics) {
  const auto norms = [](const std::string& recurrent, const std::string& norm) {
    std::vector<std::string> names;
    const auto model = MakeModel(Net("lstm", norm, recurrent), kInput);
    for (const NormStatistics& norm : model->running_statistics().norms()) {
      names.push_back(norm.name + (norm.tracked ? "" : " untracked"));
    }
    return names;
  };
  EXPECT_THAT(norms("train_rows: 2", ""),
              testing::ElementsAre("0.bn_ih.0", "0.bn_ih.1", "0.bn_hh.0", "0.bn_hh.1", "0.bn_c.0",
                                   "0.bn_c.1"));
  EXPECT_THAT(norms(kShared, ""), testing::ElementsAre("0.bn_ih"));
  EXPECT_THAT(
      norms("train_rows: 1", "running {kind: RUNNING_KIND_NONE}"),
      testing::ElementsAre("0.bn_ih.0 untracked", "0.bn_hh.0 untracked", "0.bn_c.0 untracked"));
}

// -- What it computes ----------------------------------------------------------------------------

double Sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

// The last states by the formulas of recurrent.h, without norms.
Tensor ByTheFormula(const Model& model, const Tensor& parameters, const Tensor& images, bool lstm) {
  const auto view = [&](const char* name) {
    return model.parameters().View(parameters, model.parameters().Find(name));
  };
  const Tensor w_ih = view("0.weight_ih_l0"), b_ih = view("0.bias_ih_l0");
  const Tensor w_hh = view("0.weight_hh_l0"), b_hh = view("0.bias_hh_l0");
  const int64_t hidden = w_hh.shape()[1], gates = w_hh.shape()[0], in = w_ih.shape()[1];
  const int64_t samples = images.shape()[0], steps = images.shape()[1];
  Tensor state = Tensor::Zeros({samples, hidden}, DType::kFloat64);
  for (int64_t n = 0; n < samples; ++n) {
    std::vector<double> cell(static_cast<size_t>(hidden), 0);
    double* const h = state.Data<double>() + n * hidden;
    for (int64_t t = 0; t < steps; ++t) {
      std::vector<double> z;
      for (int64_t k = 0; k < gates; ++k) {
        double sum = b_ih.Data<double>()[k] + b_hh.Data<double>()[k];
        for (int64_t i = 0; i < in; ++i) {
          sum += w_ih.Data<double>()[k * in + i] * images.Data<double>()[(n * steps + t) * in + i];
        }
        for (int64_t j = 0; j < hidden; ++j) sum += w_hh.Data<double>()[k * hidden + j] * h[j];
        z.push_back(sum);
      }
      for (size_t j = 0; j < cell.size(); ++j) {
        if (!lstm) {
          h[j] = std::tanh(z[j]);
          continue;
        }
        const size_t gate = cell.size();
        cell[j] = Sigmoid(z[gate + j]) * cell[j] + Sigmoid(z[j]) * std::tanh(z[2 * gate + j]);
        h[j] = Sigmoid(z[3 * gate + j]) * std::tanh(cell[j]);
      }
    }
  }
  return state;
}

TEST(Recurrent, IsItsFormula) {
  for (const bool lstm : {false, true}) {
    const InputSpec input{.height = 5, .width = 3, .channels = 2, .classes = 4};
    const auto model = MakeModel(
        std::string("norm {") + kNone + "} layers {" + (lstm ? "lstm" : "rnn") + " {hidden: 4}}",
        input);
    const Part part = RandomPart(input, 3, "x");
    for (const Mode mode : {Mode::kTrain, Mode::kEvaluate}) {
      const PassSettings settings = SettingsOf(*model, mode);
      EXPECT_TRUE(Near(RunPass(*model, settings, part).logits,
                       ByTheFormula(*model, settings.parameters, part.images, lstm), 1e-13))
          << lstm;
    }
  }
}

// What is trained at first: each norm gives xhat gamma, and at the first step W_hh h is 0 in every
// sample.
TEST(Recurrent, NormalizesBothSharesOfEachStepApart) {
  const InputSpec input{.height = 1, .width = 4, .channels = 1, .classes = 3};
  const auto model = MakeModel("layers {rnn {hidden: 3}}", input);
  const PassSettings settings = SettingsOf(*model);
  const Part part = RandomPart(input, 6, "x");
  const Tensor logits = RunPass(*model, settings, part).logits;
  const auto view = [&](const char* name) {
    return model->parameters().View(settings.parameters, model->parameters().Find(name));
  };
  const Tensor weight = view("0.weight_ih_l0"), gamma = view("0.bn_ih.weight");
  const Tensor bias = view("0.bias_ih_l0");
  for (int64_t k = 0; k < 3; ++k) {
    std::vector<double> share(6, 0);
    double mean = 0, variance = 0;
    for (size_t n = 0; n < 6; ++n) {
      for (int64_t i = 0; i < 4; ++i) {
        share[n] += weight.Data<double>()[k * 4 + i] *
                    part.images.Data<double>()[static_cast<int64_t>(n) * 4 + i];
      }
      mean += share[n] / 6;
    }
    for (const double x : share) variance += (x - mean) * (x - mean) / 6;
    for (size_t n = 0; n < 6; ++n) {
      const double z = gamma.Data<double>()[k] * (share[n] - mean) / std::sqrt(variance + 1e-5) +
                       bias.Data<double>()[k];
      EXPECT_NEAR(logits.Data<double>()[static_cast<int64_t>(n) * 3 + k], std::tanh(z), 1e-12);
    }
  }
}

// -- Rows of training and of evaluation ----------------------------------------------------------

Tensor FirstRows(const Tensor& images, int64_t rows) {
  const Shape& shape = images.shape();
  Tensor result(Shape{shape[0], rows, shape[2], shape[3]}, DType::kFloat64);
  const int64_t row = shape[2] * shape[3];
  for (int64_t n = 0; n < shape[0]; ++n) {
    for (int64_t i = 0; i < rows * row; ++i) {
      result.Data<double>()[n * rows * row + i] = images.Data<double>()[n * shape[1] * row + i];
    }
  }
  return result;
}

class RowsTest
    : public ::testing::TestWithParam<std::tuple<std::string, std::string, std::string>> {};

TEST_P(RowsTest, TrainingReadsTheFirstAlone) {
  const auto& [kind, norm, statistics] = GetParam();
  const auto model = MakeModel(Net(kind, norm, "train_rows: 2 " + statistics), kInput);
  const InputSpec two{.height = 2, .width = 3, .channels = 2, .classes = 3};
  const auto short_model = MakeModel(Net(kind, norm, statistics), two);
  ASSERT_EQ(Names(*model), Names(*short_model));
  const PassSettings settings = SettingsOf(*model);
  const Part part = RandomPart(kInput, 4, "x");
  const PassResult result = RunPass(*model, settings, part);
  const PassResult expected =
      RunPass(*short_model, settings,
              {.images = FirstRows(part.images, 2), .dlogits = part.dlogits, .ids = part.ids});
  EXPECT_TRUE(SameBits(result.logits, expected.logits));
  EXPECT_TRUE(SameBits(result.gradients, expected.gradients));
  EXPECT_TRUE(SameBits(result.moments, expected.moments));
  EXPECT_TRUE(SameBits(FirstRows(result.dimages, 2), expected.dimages));
  EXPECT_EQ(MaxAbsolute(result.dimages), MaxAbsolute(expected.dimages)) << "0 for the others";
}

TEST_P(RowsTest, EvaluationReadsAllWithTheLastStatisticsOfTraining) {
  const auto& [kind, norm, statistics] = GetParam();
  const auto model = MakeModel(Net(kind, norm, "train_rows: 2 " + statistics), kInput);
  const auto long_model = MakeModel(Net(kind, norm, statistics), kInput);
  PassSettings settings = SettingsOf(*model, Mode::kEvaluate), all = settings;
  // The same running statistics, those of step 1 for all later ones.
  all.running_statistics = InitialRunningStatistics(long_model->running_statistics());
  const auto& known = model->running_statistics().norms();
  int clamped = 0;
  for (const NormStatistics& norm : long_model->running_statistics().norms()) {
    std::string name = norm.name;
    if (const char step = name.back(); step > '1' && step <= '9') {
      name.back() = '1';
      ++clamped;
    }
    const auto from = std::find_if(known.begin(), known.end(),
                                   [&](const NormStatistics& other) { return other.name == name; });
    ASSERT_NE(from, known.end()) << name;
    for (int64_t i = 0; i <= 2 * norm.channels; ++i) {
      all.running_statistics.Data<double>()[norm.offset + i] =
          std::as_const(settings.running_statistics).Data<double>()[from->offset + i];
    }
  }
  const bool per_step = norm.empty() && statistics.empty();
  EXPECT_EQ(clamped, per_step ? (kind == "lstm" ? 9 : 6) : 0);
  const Part part = RandomPart(kInput, 4, "x");
  const Tensor logits = RunPass(*model, settings, part).logits;
  EXPECT_TRUE(SameBits(logits, RunPass(*long_model, all, part).logits));
  // The rows behind the trained ones are read.
  Part changed = part;
  changed.images = part.images.Clone();
  changed.images.Data<double>()[changed.images.elements() - 1] += 1;
  EXPECT_GT(MaxDifference(RunPass(*model, settings, changed).logits, logits), 1e-6);
}

TEST_P(RowsTest, StatisticsOfTheBatchAreThoseOfEachRow) {
  const auto& [kind, norm, statistics] = GetParam();
  const auto model = MakeModel(Net(kind, norm, "train_rows: 2 " + statistics), kInput);
  const auto long_model = MakeModel(Net(kind, norm, statistics), kInput);
  const Part part = RandomPart(kInput, 4, "x");
  const PassResult result = RunPass(*model, SettingsOf(*model, Mode::kBatchStatistics), part);
  EXPECT_TRUE(
      SameBits(result.logits,
               RunPass(*long_model, SettingsOf(*long_model, Mode::kBatchStatistics), part).logits));
  if (!statistics.empty()) return;  // over all rows that were read
  const PassResult trained = RunPass(*model, SettingsOf(*model), part);
  EXPECT_TRUE(SameBits(result.moments, trained.moments)) << "those of later rows are nobody's";
}

// Running statistics that are those of the batch, biased as it normalizes with them.
TEST_P(RowsTest, EvaluationWithTheStatisticsOfABatchIsThatByItsBatch) {
  const auto& [kind, norm, statistics] = GetParam();
  const auto model = MakeModel(Net(kind, norm, statistics), kInput);
  const Part part = RandomPart(kInput, 6, "x");
  PassSettings settings = SettingsOf(*model, Mode::kBatchStatistics);
  const PassResult by_batch = RunPass(*model, settings, part);
  for (const NormStatistics& layer : model->running_statistics().norms()) {
    double* const running = settings.running_statistics.Data<double>() + layer.offset;
    const double* const block = by_batch.moments.Data<double>() + layer.moments_offset;
    for (int64_t c = 0; c < layer.channels; ++c) {
      running[c] = block[1 + c];
      running[layer.channels + c] = block[1 + layer.channels + c] / block[0];
    }
  }
  settings.mode = Mode::kEvaluate;
  EXPECT_TRUE(Near(RunPass(*model, settings, part).logits, by_batch.logits, 1e-9));
}

INSTANTIATE_TEST_SUITE_P(Recurrent, RowsTest,
                         ::testing::Values(std::tuple("rnn", "", ""), std::tuple("lstm", "", ""),
                                           std::tuple("rnn", "", kShared),
                                           std::tuple("lstm", "", kShared),
                                           std::tuple("lstm", kNone, ""),
                                           std::tuple("lstm", kLayer, "")));

// -- Gradients -----------------------------------------------------------------------------------

class RecurrentGradientTest
    : public ::testing::TestWithParam<std::tuple<std::string, std::string, std::string>> {};

TEST_P(RecurrentGradientTest, MatchesDifferences) {
  const auto& [kind, norm, recurrent] = GetParam();
  const auto model = MakeModel(Net(kind, norm, recurrent, 3), kInput);
  EXPECT_TRUE(GradientsHold(*model, SettingsOf(*model), RandomPart(kInput, 5, kind),
                            {.step = 1e-6, .tolerance = 1e-5, .max_elements = 20}));
}

INSTANTIATE_TEST_SUITE_P(
    Recurrent, RecurrentGradientTest,
    ::testing::Combine(::testing::Values("rnn", "lstm"),
                       ::testing::Values("", kNone, kLayer, "batch {samples: 2}", "affine: false"),
                       ::testing::Values("", kShared, "train_rows: 3")));

TEST(Recurrent, LayersOfImagesMayStandBeforeIt) {
  const auto model = MakeModel(
      "layers {conv {out: 3 padding: 1}} layers {norm {}} layers {tanh {}} layers {rnn {hidden: "
      "4}} "
      "layers {norm {}} layers {linear {out: 3}}",
      kInput);
  EXPECT_TRUE(GradientsHold(*model, SettingsOf(*model), RandomPart(kInput, 5, "x"),
                            {.step = 1e-6, .tolerance = 1e-5, .max_elements = 20}));
}

TEST(Recurrent, WithoutAGradientOfTheImagesNoneIsComputed) {
  const auto model = MakeModel(Net("lstm", ""), kInput);
  PassSettings settings = SettingsOf(*model);
  const Part part = RandomPart(kInput, 4, "x");
  const PassResult whole = RunPass(*model, settings, part);
  settings.input_gradient = false;
  const PassResult without = RunPass(*model, settings, part);
  EXPECT_FALSE(without.dimages.defined());
  EXPECT_TRUE(SameBits(without.gradients, whole.gradients));
}

// -- Replicas ------------------------------------------------------------------------------------

struct SyncCase {
  std::string kind, recurrent;
  int messages;  // of a training pass
};
std::ostream& operator<<(std::ostream& out, const SyncCase& c) {
  return out << c.kind << " " << c.recurrent;
}

class SyncRecurrentTest : public ::testing::TestWithParam<SyncCase> {
 protected:
  std::string Text(const std::string& norm = "") const {
    return Net(GetParam().kind, norm, GetParam().recurrent);
  }
  static void ExpectSame(const PassResult& actual, const PassResult& expected) {
    constexpr double kTolerance = 1e-11;
    EXPECT_TRUE(Near(actual.logits, expected.logits, kTolerance));
    EXPECT_TRUE(Near(actual.dimages, expected.dimages, kTolerance));
    EXPECT_TRUE(Near(actual.gradients, expected.gradients, kTolerance));
    EXPECT_TRUE(Near(actual.moments, expected.moments, kTolerance));
  }
};

TEST_P(SyncRecurrentTest, EqualsOneReplicaWithAllSamples) {
  const auto synchronized = MakeModel(Text(), kInput, MakeCluster(4, {5, 4, 2, 0}));
  const auto plain = MakeModel(Text(), kInput);
  const PassSettings settings = SettingsOf(*plain);
  const std::vector<Part> parts = UnequalParts(kInput, {5, 4, 2, 0});
  Cluster cluster(4, 2);
  const PassResult joined = Joined(*synchronized, cluster.Run(*synchronized, settings, parts));
  ExpectSame(joined, RunPass(*plain, settings, StackedParts(parts)));
  EXPECT_EQ(joined.statistics_messages, 4 * GetParam().messages);
}

TEST_P(SyncRecurrentTest, AGroupIsABatchOfItsOwn) {
  const auto grouped = MakeModel(Text("batch {samples: 9}"), kInput, MakeCluster(4, {5, 4, 2, 7}));
  const auto plain = MakeModel(Text(), kInput);
  const PassSettings settings = SettingsOf(*plain);
  const std::vector<Part> parts = UnequalParts(kInput, {5, 4, 2, 7});
  Cluster cluster(4, 2);
  const std::vector<PassResult> results = cluster.Run(*grouped, settings, parts);
  for (const size_t first : {0, 2}) {
    ExpectSame(Joined(*grouped, {results[first], results[first + 1]}),
               RunPass(*plain, settings, StackedParts({parts[first], parts[first + 1]})));
  }
}

TEST_P(SyncRecurrentTest, ASliceIsABatchOfItsOwn) {
  // 5 samples at 2 are 2 + 2 + 1; 4 are 2 + 2.
  const auto plain = MakeModel(Text(), kInput);
  const PassSettings settings = SettingsOf(*plain);
  for (const std::vector<int64_t>& sizes :
       {std::vector<int64_t>{3, 2}, std::vector<int64_t>{3, 3}}) {
    const auto sliced = MakeModel(Text("batch {samples: 3}"), kInput, MakeCluster(1, {5}));
    const std::vector<Part> parts = UnequalParts(kInput, sizes);
    std::vector<PassResult> expected;
    for (const Part& part : parts) expected.push_back(RunPass(*plain, settings, part));
    const PassResult result = RunPass(*sliced, settings, StackedParts(parts));
    ExpectSame(result, Joined(*plain, expected));
    EXPECT_EQ(result.statistics_messages, 0);
  }
}

TEST_P(SyncRecurrentTest, HasEqualBitsAtEveryNumberOfProcesses) {
  for (const char* norm :
       {"", "batch {samples: 8}", "batch {samples: 3}", "batch {scope: NORM_SCOPE_REPLICA}"}) {
    const auto model = MakeModel(Text(norm), kInput, MakeCluster(4, {4}));
    const PassSettings settings = SettingsOf(*model);
    // The last batch of an epoch: unequal, and one replica is empty.
    const std::vector<Part> parts = UnequalParts(kInput, {4, 3, 4, 0});
    const std::vector<PassResult> first = Cluster(4, 1).Run(*model, settings, parts);
    for (int processes = 2; processes <= 4; ++processes) {
      SCOPED_TRACE(::testing::Message() << norm << " on " << processes);
      const std::vector<PassResult> results = Cluster(4, processes).Run(*model, settings, parts);
      for (size_t r = 0; r < results.size(); ++r) {
        EXPECT_TRUE(SameBits(results[r].logits, first[r].logits)) << r;
        EXPECT_TRUE(SameBits(results[r].dimages, first[r].dimages)) << r;
        EXPECT_TRUE(SameBits(results[r].gradients, first[r].gradients)) << r;
        EXPECT_TRUE(SameBits(results[r].moments, first[r].moments)) << r;
      }
    }
  }
}

// Forward and backward: one of W_ih x in all steps, and one a step of each other norm.
INSTANTIATE_TEST_SUITE_P(Recurrent, SyncRecurrentTest,
                         ::testing::Values(SyncCase{"rnn", "", 2 * (1 + 5)},
                                           SyncCase{"rnn", kShared, 2},
                                           SyncCase{"lstm", "", 2 * (1 + 2 * 5)},
                                           SyncCase{"lstm", kShared, 2},
                                           SyncCase{"lstm", "train_rows: 3", 2 * (1 + 2 * 3)}));

// -- Refusals ------------------------------------------------------------------------------------

TEST(Recurrent, WhatDoesNotFitIsRefusedWithTheLayersName) {
  const auto error = [](const std::string& text, const v1::ClusterSpec& cluster) {
    return ErrorOf([&] { MakeModel(text, kInput, cluster); });
  };
  const v1::ClusterSpec four = MakeCluster(1, {4}), one = MakeCluster(2, {1});
  EXPECT_THAT(error(Net("rnn", "kind: NORM_KIND_GROUP"), four),
              AllOf(HasSubstr("layer 0"), HasSubstr("is no norm of a recurrent layer")));
  EXPECT_THAT(error(Net("rnn", "", "train_rows: 6"), four),
              AllOf(HasSubstr("layer 0"), HasSubstr("train_rows is 6"), HasSubstr("5 rows")));
  EXPECT_THAT(error("norm {} layers {flatten {}} layers {rnn {}} layers {linear {out: 3}}", four),
              AllOf(HasSubstr("layer 1"), HasSubstr("must be [N, H, W, C]")));
  EXPECT_THAT(error(Net("lstm", kLayer, "", 1), four), HasSubstr("layer 0.bn_c"));
  const std::string alone = "batch {scope: NORM_SCOPE_REPLICA}";
  EXPECT_THAT(error(Net("rnn", alone), one),
              AllOf(HasSubstr("layer 0.bn_ih"), HasSubstr("a single number to normalize")));
  EXPECT_NO_THROW(MakeModel(Net("rnn", alone, kShared), kInput, one)) << "over 5 time steps";
}

}  // namespace
}  // namespace syncbn::nn
