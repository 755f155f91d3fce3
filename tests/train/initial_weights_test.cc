// Weights that a run begins with: what fits, what may differ, how what does not fit is told, and
// that every process begins with the same.
#include "train/initial_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "base/error.h"
#include "tests/support/in_process_run.h"
#include "tests/support/small_run.h"
#include "tests/support/temp_folder.h"
#include "train/tensor_names.h"

namespace syncbn::train {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kVgg =
    "data: {dataset: shapes, shapes: {train_samples: 16, test_samples: 4}}\n"
    "model: {architecture: vgg11, width: 0.0625}\n"
    "cluster: {replicas: 2, batch_per_replica: 4}\n"
    "train: {max_steps: 2}\n";

std::unique_ptr<nn::Model> ModelOf(const v1::RunSpec& spec) {
  return nn::BuildModelOf(spec, {.height = 32, .width = 32, .channels = 3, .classes = 10});
}

TrainingState StateOf(const nn::Model& model, uint64_t seed) {
  return {.parameters = nn::InitialParameters(model.parameters(), seed, DType::kFloat32),
          .running_statistics = nn::InitialRunningStatistics(model.running_statistics())};
}

// All tensors of a state as a file has them, with memory of their own.
std::vector<NamedTensor> FileOf(const nn::Model& model, const TrainingState& state) {
  std::vector<NamedTensor> tensors = ParameterTensors(model.parameters(), state.parameters);
  std::ranges::move(
      AsStateDict(RunningTensors(model.running_statistics(), state.running_statistics)),
      std::back_inserter(tensors));
  for (NamedTensor& entry : tensors) entry.tensor = entry.tensor.Clone();
  return tensors;
}

NamedTensor& Find(std::vector<NamedTensor>& tensors, const std::string& name) {
  const auto found = std::ranges::find(tensors, name, &NamedTensor::name);
  if (found == tensors.end()) throw std::runtime_error("there is no " + name);
  return *found;
}

WeightsFile Given(std::vector<NamedTensor> tensors) {
  return {.path = "weights.safetensors",
          .content = {.metadata = {}, .tensors = std::move(tensors), .digest = {}}};
}

// Empty: they were taken.
std::string Refusal(const nn::Model& model, std::vector<NamedTensor> tensors,
                    const std::vector<std::string>& except = {}) {
  TrainingState state = StateOf(model, 1);
  const Digest before = StateDigest(model.parameters(), model.running_statistics(),
                                    state.parameters, state.running_statistics);
  try {
    TakeWeights(model, Given(std::move(tensors)), except, state);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_EQ(StateDigest(model.parameters(), model.running_statistics(), state.parameters,
                          state.running_statistics),
              before)
        << "something was copied";
    return error.message();
  }
  return "";
}

TEST(InitialWeights, AreTakenToTheBitWhateverTheirFloatingType) {
  const auto model = ModelOf(RunSpecFromYaml(kVgg));
  const TrainingState other = StateOf(*model, 7);
  std::vector<NamedTensor> tensors = FileOf(*model, other);
  NamedTensor& wide = Find(tensors, "classifier.weight");
  Tensor doubles(wide.tensor.shape(), DType::kFloat64);
  std::ranges::copy(wide.tensor.Span<float>(), doubles.Span<double>().begin());
  wide.tensor = doubles;
  TrainingState state = StateOf(*model, 1);
  TakeWeights(*model, Given(std::move(tensors)), {}, state);
  EXPECT_EQ(StateDigest(model->parameters(), model->running_statistics(), state.parameters,
                        state.running_statistics),
            StateDigest(model->parameters(), model->running_statistics(), other.parameters,
                        other.running_statistics));
}

TEST(InitialWeights, RefusalsNameShapesAndTheNearestName) {
  const auto model = ModelOf(RunSpecFromYaml(kVgg));
  const std::vector<NamedTensor> right = FileOf(*model, StateOf(*model, 7));
  ASSERT_EQ(Refusal(*model, right), "");

  std::vector<NamedTensor> head = right;
  Find(head, "classifier.weight").tensor = Tensor::Zeros({1000, 32}, DType::kFloat32);
  EXPECT_THAT(Refusal(*model, head),
              AllOf(HasSubstr("weights.safetensors does not fit"),
                    HasSubstr("classifier.weight: expected [10, 32], found [1000, 32] F32"),
                    HasSubstr("model.init.except")));
  EXPECT_EQ(Refusal(*model, head, {"classifier.*"}), "");

  std::vector<NamedTensor> typo = right;
  Find(typo, "features.4.weight").name = "feature.4.weight";
  EXPECT_THAT(Refusal(*model, typo),
              AllOf(HasSubstr("features.4.weight: expected"), HasSubstr("the file has none"),
                    HasSubstr("feature.4.weight: found"), HasSubstr("is it features.4.weight?")));
  EXPECT_THAT(Refusal(*model, right, {"clasifier.weight"}),
              HasSubstr("`clasifier.weight` fits no name of the model or the file; did you mean "
                        "`classifier.weight`?"));

  std::vector<NamedTensor> broken = right;
  Find(broken, "classifier.bias").tensor.Span<float>()[3] = std::numeric_limits<float>::quiet_NaN();
  Find(broken, "features.1.running_var").tensor.Span<double>()[2] = -1;
  Find(broken, "features.0.weight").tensor =
      Tensor::Zeros(Find(broken, "features.0.weight").tensor.shape(), DType::kInt32);
  EXPECT_THAT(Refusal(*model, broken),
              AllOf(HasSubstr("classifier.bias: its element 3 is nan"),
                    HasSubstr("features.1.running_var: its element 2 is -1"),
                    HasSubstr("features.0.weight: expected F32, F64 or BF16, found")));

  std::vector<NamedTensor> wide = right;
  Tensor doubles(Find(wide, "classifier.bias").tensor.shape(), DType::kFloat64);
  std::ranges::fill(doubles.Span<double>(), 1e300);
  Find(wide, "classifier.bias").tensor = doubles;
  Find(wide, "features.1.num_batches_tracked").tensor.Span<int64_t>()[0] = 9'000'000'000'000'000'000;
  EXPECT_THAT(Refusal(*model, wide),
              AllOf(HasSubstr("classifier.bias: its element 0 is 1e+300, more than float32 holds"),
                    HasSubstr("features.1.num_batches_tracked: more batches than")));

  const std::string empty = Refusal(*model, {});
  EXPECT_THAT(empty, HasSubstr(" more\n"));
  EXPECT_LT(std::ranges::count(empty, '\n'), 16);
}

TEST(InitialWeights, ABiasBeforeABatchNormIsTakenOffItsRunningMean) {
  const auto model = ModelOf(RunSpecFromYaml(kVgg));
  TrainingState other = StateOf(*model, 7);
  std::vector<NamedTensor> tensors = FileOf(*model, other);
  const int64_t channels = Find(tensors, "features.1.running_mean").tensor.elements();
  Tensor bias({channels}, DType::kFloat32);
  for (int64_t c = 0; c < channels; ++c) {
    bias.Span<float>()[static_cast<size_t>(c)] = 0.25F * static_cast<float>(c);
    Find(tensors, "features.1.running_mean").tensor.Span<double>()[static_cast<size_t>(c)] = 10;
  }
  tensors.push_back({"features.0.bias", bias});
  TrainingState state = StateOf(*model, 1);
  TakeWeights(*model, Given(tensors), {}, state);
  for (const NamedTensor& entry :
       RunningTensors(model->running_statistics(), state.running_statistics)) {
    if (entry.name != "features.1.running_mean") continue;
    for (int64_t c = 0; c < channels; ++c) {
      EXPECT_EQ(entry.tensor.Span<double>()[static_cast<size_t>(c)],
                10 - 0.25 * static_cast<double>(c));
    }
  }
  // Nothing takes off a bias of the wrong size, or of a layer that no norm follows.
  tensors.back().tensor = Tensor::Zeros({channels + 1}, DType::kFloat32);
  EXPECT_THAT(Refusal(*model, tensors), HasSubstr("features.0.bias: expected ["));
  tensors.back() = {"features.2.bias", Tensor::Zeros({channels}, DType::kFloat32)};
  EXPECT_THAT(Refusal(*model, tensors), HasSubstr("features.2.bias: found ["));
}

class InitialWeightsOfARun : public testing::Test {
 protected:
  // Trains one run and begins another with what it has left.
  void SetUp() override {
    const InProcessRunResult first = RunInProcess(
        RunSpecFromYaml(SmallRun(4, 4, "global", "name: first\n")), {.out = folder_.path()});
    const CheckpointStore store({.out = folder_.path()});
    file_ = store.FolderOf(first.summary.steps) / "model.safetensors";
    spec_ = RunSpecFromYaml(SmallRun(4, 4, "global"));
    spec_.set_seed(99);
    spec_.mutable_train()->set_max_steps(6);
    spec_.mutable_model()->mutable_init()->set_from(file_.string());
    first_ = first.summary.digest.value();
  }

  TempFolder folder_;
  std::filesystem::path file_;
  Digest first_;
  v1::RunSpec spec_;
};

TEST_F(InitialWeightsOfARun, AreThoseOfTheRunBeforeOnEveryProcess) {
  const InProcessRunResult three = RunInProcess(
      spec_, {.processes = 3, .adjust = [&](int process, TrainerOptions& options) {
                if (process > 0) return;
                // The others have no such file: they get what the root has read.
                options.on_start = [&](const RunPlan&) { std::filesystem::remove(file_); };
              }});
  EXPECT_FALSE(std::filesystem::exists(file_));
  for (const Digest& digest : three.digests) EXPECT_EQ(digest, three.digests[0]);
  EXPECT_THROW(RunInProcess(spec_, {}), Error) << "the file is gone, and was needed";
}

TEST_F(InitialWeightsOfARun, GiveEqualBitsOnAnyNumberOfProcesses) {
  const InProcessRunResult one = RunInProcess(spec_, {});
  v1::RunSpec drawn = spec_;
  drawn.mutable_model()->mutable_init()->clear_from();
  EXPECT_NE(RunInProcess(drawn, {}).StepDigests(), one.StepDigests());
  for (int processes : {2, 4}) {
    EXPECT_EQ(RunInProcess(spec_, {.processes = processes}).StepDigests(), one.StepDigests());
  }
}

TEST_F(InitialWeightsOfARun, AreNotReadAgainWhereTheRunGoesOn) {
  const std::filesystem::path out = folder_.path() / "second";
  const InProcessRunResult whole = RunInProcess(spec_, {});
  v1::RunSpec half = spec_;
  half.mutable_train()->set_max_steps(3);
  RunInProcess(half, {.out = out});
  std::filesystem::remove(file_);
  const InProcessRunResult rest = RunInProcess(spec_, {.processes = 2, .out = out, .resume = true});
  EXPECT_EQ(rest.digests[0], whole.digests[0]);
}

TEST_F(InitialWeightsOfARun, ADamagedFileAndOneOfAnotherModelEndAllProcesses) {
  v1::RunSpec other = spec_;
  other.mutable_model()->mutable_layers(0)->mutable_conv()->set_out(9);
  try {
    RunInProcess(other, {.processes = 2});
    FAIL() << "the weights were taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument) << error.what();
  }
  std::filesystem::resize_file(file_, std::filesystem::file_size(file_) - 1);
  try {
    RunInProcess(spec_, {.processes = 2});
    FAIL() << "half a file was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kDataLoss) << error.what();
    EXPECT_THAT(error.what(), HasSubstr("model.init.from"));
  }
}

}  // namespace
}  // namespace syncbn::train
