// Frozen parameters and statistics: what is frozen does not move, what is not trains as before,
// with equal bits on any number of processes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "base/error.h"
#include "tests/support/in_process_run.h"
#include "tests/support/small_run.h"
#include "tests/support/temp_folder.h"
#include "train/tensor_names.h"

namespace syncbn::train {
namespace {

using ::testing::HasSubstr;

using Tensors = std::map<std::string, std::vector<double>>;

template <typename T>
std::vector<double> Copy(std::span<const T> values) {
  return {values.begin(), values.end()};
}

// Every tensor of the end of a run: parameters, running statistics, optimizer state.
Tensors EndOf(const v1::RunSpec& spec, int processes = 1) {
  Tensors tensors;
  TempFolder folder;
  const InProcessRunResult result =
      RunInProcess(spec, {.processes = processes, .out = folder.path()});
  EXPECT_EQ(result.summary.skipped_steps, 0);
  const auto stored = CheckpointStore({.out = folder.path()}).Latest();
  for (const NamedTensor& entry : stored->tensors) {
    const Tensor& tensor = entry.tensor;
    tensors[entry.name] = tensor.dtype() == DType::kFloat32   ? Copy(tensor.Span<float>())
                          : tensor.dtype() == DType::kFloat64 ? Copy(tensor.Span<double>())
                                                              : Copy(tensor.Span<int64_t>());
  }
  return tensors;
}

// `frozen`: the norms whose statistics are, as a list in YAML.
v1::RunSpec Spec(int steps, const std::string& batch = "global", const std::string& frozen = "[]") {
  const std::string norm = batch + (frozen == "[]" ? "" : ", running: {frozen: " + frozen + "}");
  v1::RunSpec spec = RunSpecFromYaml(SmallRun(4, 4, norm));
  spec.mutable_train()->set_max_steps(steps);
  return spec;
}

TEST(Frozen, ParametersAndTheirOptimizerStateDoNotMoveAndTheOthersDo) {
  const std::string kinds[] = {"sgd", "adamw", "lars"};
  for (const std::string& kind : kinds) {
    SCOPED_TRACE(kind);
    v1::RunSpec spec = Spec(1);
    spec.mutable_train()->mutable_optimizer()->set_kind(kind == "sgd" ? v1::OPTIMIZER_KIND_SGD
                                                        : kind == "adamw"
                                                            ? v1::OPTIMIZER_KIND_ADAMW
                                                            : v1::OPTIMIZER_KIND_LARS);
    if (kind == "adamw") {
      spec.mutable_train()->mutable_optimizer()->clear_momentum();
      spec.mutable_train()->mutable_optimizer()->set_beta1(0.9);
      spec.mutable_train()->mutable_optimizer()->set_beta2(0.999);
      spec.mutable_train()->mutable_optimizer()->set_epsilon(1e-8);
      spec.mutable_train()->mutable_optimizer()->set_weight_decay_mode(
          v1::WEIGHT_DECAY_MODE_DECOUPLED);
    }
    if (kind == "lars") spec.mutable_train()->mutable_optimizer()->set_trust_coefficient(0.01);
    for (const char* pattern : {"0.*", "3.*.weight", "*.bias"})
      spec.mutable_train()->add_freeze(pattern);
    const Tensors one = EndOf(spec);
    spec.mutable_train()->set_max_steps(12);
    const Tensors twelve = EndOf(spec);
    int frozen = 0, trained = 0;
    for (const auto& [name, values] : twelve) {
      const bool optimizer = name.starts_with("optimizer.");
      const std::string parameter =
          optimizer ? name.substr(name.find('.', std::string("optimizer.").size()) + 1) : name;
      if (parameter.find("running_") != std::string::npos || parameter.ends_with("tracked")) {
        EXPECT_NE(values, one.at(name)) << name << ": statistics are not frozen";
        continue;
      }
      const bool is_frozen = parameter.starts_with("0.") || parameter.ends_with(".bias") ||
                             (parameter.starts_with("3.") && parameter.ends_with(".weight"));
      if (is_frozen) {
        EXPECT_EQ(values, one.at(name)) << name;
        if (optimizer) {
          EXPECT_THAT(values, testing::Each(0.0)) << name;
        }
        ++frozen;
      } else {
        EXPECT_NE(values, one.at(name)) << name;
        ++trained;
      }
    }
    EXPECT_GT(frozen, 5);
    EXPECT_GT(trained, 1);
  }
}

// What is not frozen has the gradients that it had: nothing is cut off below what is frozen.
TEST(Frozen, ParametersChangeNothingForTheOthersInTheFirstStep) {
  v1::RunSpec spec = Spec(1);
  spec.mutable_train()->clear_clip_norm();
  const Tensors all = EndOf(spec);
  spec.mutable_train()->add_freeze("3.*");
  const Tensors some = EndOf(spec);
  for (const auto& [name, values] : all) {
    const bool frozen = name.find("3.") == 0 || name.find(".3.") != std::string::npos;
    if (!frozen) {
      EXPECT_EQ(values, some.at(name)) << name;
    }
  }
  EXPECT_NE(all.at("3.body.0.weight"), some.at("3.body.0.weight"));
}

TEST(Frozen, StatisticsStayAsTheyAreAndNormalizeInTraining) {
  for (const std::string batch : {"global", "2", "8"}) {
    SCOPED_TRACE(batch);
    const Tensors some = EndOf(Spec(5, batch, "['1', '3.shortcut.*']"));
    EXPECT_THAT(some.at("1.running_mean"), testing::Each(0.0));
    EXPECT_THAT(some.at("1.running_var"), testing::Each(1.0));
    EXPECT_THAT(some.at("1.num_batches_tracked"), testing::Each(0.0));
    EXPECT_THAT(some.at("3.shortcut.1.running_var"), testing::Each(1.0));
    EXPECT_THAT(some.at("3.body.1.num_batches_tracked"), testing::Each(5.0));
    EXPECT_THAT(some.at("3.body.1.running_var"), testing::Not(testing::Each(1.0)));
  }
  // With all of them frozen replicas do not depend on each other: the normalization batch does not
  // matter.
  EXPECT_EQ(EndOf(Spec(5, "global", "'*'")), EndOf(Spec(5, "2", "'*'")));
}

TEST(Frozen, GivesEqualBitsOnAnyNumberOfProcesses) {
  v1::RunSpec spec = Spec(8, "global", "'1'");
  spec.mutable_train()->add_freeze("0.*");
  const InProcessRunResult one = RunInProcess(spec, {});
  for (int processes : {2, 4}) {
    EXPECT_EQ(RunInProcess(spec, {.processes = processes}).StepDigests(), one.StepDigests());
  }
  EXPECT_EQ(RunInProcess(spec, {.backend = "reference", .processes = 2}).StepDigests(),
            RunInProcess(spec, {.backend = "reference", .processes = 3}).StepDigests());
}

std::string Refusal(const v1::RunSpec& spec) {
  try {
    nn::BuildModelOf(spec, {.height = 32, .width = 32, .channels = 3, .classes = 10});
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.message();
  }
  return "";
}

TEST(Frozen, PatternsThatFitNothingAreNamedWithTheNearestName) {
  v1::RunSpec spec = Spec(1);
  spec.mutable_train()->add_freeze("3.bodi.0.weight");
  EXPECT_THAT(
      Refusal(spec),
      HasSubstr("train.freeze: `3.bodi.0.weight` fits no parameter of the model; did you mean "
                "`3.body.0.weight`?"));
  spec = Spec(1);
  spec.mutable_train()->add_freeze("*");
  EXPECT_THAT(Refusal(spec), HasSubstr("nothing is left to be trained"));
  spec = Spec(1, "global", "bn1");
  EXPECT_THAT(Refusal(spec),
              HasSubstr("model.norm.running.frozen: `bn1` fits no norm with running statistics"));
}

}  // namespace
}  // namespace syncbn::train
