#include "train/tensor_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/train/parts_support.h"

namespace syncbn::train {
namespace {

using testing::ElementsAre;

std::vector<std::string> NamesOf(const std::vector<NamedTensor>& tensors) {
  std::vector<std::string> names;
  for (const NamedTensor& entry : tensors) {
    names.push_back(entry.name + " " + entry.tensor.shape().ToString());
  }
  return names;
}

TEST(TensorNames, ParametersKeepTheirNamesAndOrder) {
  const SmallModel model;
  const Tensor flat = Ramp(model.parameters, DType::kFloat32, 0);
  EXPECT_THAT(NamesOf(ParameterTensors(model.parameters, flat, "gradient.")),
              ElementsAre("gradient.conv1.weight [2, 1, 3, 3]", "gradient.bn1.weight [2]",
                          "gradient.bn1.bias [2]", "gradient.fc.weight_g [3]",
                          "gradient.fc.weight_v [3, 2]", "gradient.fc.bias [3]"));
  EXPECT_THAT(ParameterTensors(model.parameters, flat)[1].tensor.Span<float>(),
              ElementsAre(18, 19));
}

TEST(TensorNames, RunningStatisticsAreTrackedNormsOnly) {
  const SmallModel model;
  Tensor flat = nn::InitialRunningStatistics(model.running_statistics);
  const std::vector<NamedTensor> tensors = RunningTensors(model.running_statistics, flat);
  EXPECT_THAT(NamesOf(tensors), ElementsAre("bn1.running_mean [2]", "bn1.running_var [2]",
                                            "bn1.num_batches_tracked []"));
  EXPECT_THAT(tensors[1].tensor.Span<double>(), ElementsAre(1, 1));
}

TEST(TensorNames, AnIterativeNormHasCovariancesOfItsGroups) {
  nn::RunningStatisticsLayout layout;
  layout.Add("bn1", 5, true, 3);
  layout.Add("bn2", 2, true, 3);
  Tensor flat = nn::InitialRunningStatistics(layout);
  const std::vector<NamedTensor> tensors = RunningTensors(layout, flat);
  EXPECT_THAT(NamesOf(tensors),
              ElementsAre("bn1.groups.0.running_mean [3]", "bn1.groups.0.running_covariance [3, 3]",
                          "bn1.groups.0.num_batches_tracked []", "bn1.groups.1.running_mean [2]",
                          "bn1.groups.1.running_covariance [2, 2]",
                          "bn1.groups.1.num_batches_tracked []", "bn2.running_mean [2]",
                          "bn2.running_covariance [2, 2]", "bn2.num_batches_tracked []"));
  EXPECT_THAT(tensors[7].tensor.Span<double>(), ElementsAre(1, 0, 0, 1));
  EXPECT_EQ(AsStateDict(tensors)[8].tensor.dtype(), DType::kInt64);
}

TEST(StateDigest, SeesEveryElementButNotThePadding) {
  const SmallModel model;
  Tensor parameters = Ramp(model.parameters, DType::kFloat32, 0);
  Tensor running = nn::InitialRunningStatistics(model.running_statistics);
  auto digest = [&] {
    return StateDigest(model.parameters, model.running_statistics, parameters, running);
  };
  const Digest original = digest();
  EXPECT_EQ(digest(), original);
  for (int i = 0; i < model.parameters.size(); ++i) {
    float& last = model.parameters.View(parameters, i).Span<float>().back();
    last += 1;
    EXPECT_NE(digest(), original) << model.parameters[i].name;
    last -= 1;
  }
  for (double& value : running.Span<double>()) {
    value += 1;
    EXPECT_NE(digest(), original);
    value -= 1;
  }
  EXPECT_EQ(digest(), original);
  parameters.Data<float>()[model.parameters[1].offset + 2] = 5;
  EXPECT_EQ(digest(), original);
}

TEST(StateDigest, TellsZeroFromMinusZero) {
  const SmallModel model;
  Tensor parameters = Tensor::Zeros({model.parameters.flat_elements()}, DType::kFloat32);
  const Tensor running = nn::InitialRunningStatistics(model.running_statistics);
  const Digest original =
      StateDigest(model.parameters, model.running_statistics, parameters, running);
  parameters.Data<float>()[0] = -0.0f;
  EXPECT_NE(StateDigest(model.parameters, model.running_statistics, parameters, running), original);
}

TEST(DigestOf, SeesNamesTypesAndShapes) {
  const Tensor tensor = Tensor::Zeros({4}, DType::kFloat32);
  auto digest = [](const std::string& name, const Tensor& t) {
    const NamedTensor entry{name, t};
    return DigestOf(std::span(&entry, 1));
  };
  EXPECT_NE(digest("a", tensor), digest("b", tensor));
  EXPECT_NE(digest("a", tensor), digest("a", tensor.Reshape({2, 2})));
  EXPECT_NE(digest("a", tensor), digest("a", Tensor::Zeros({4}, DType::kInt32)));
}

TEST(CopyByName, CopiesWhateverTheOrder) {
  const SmallModel model;
  const Tensor source = Ramp(model.parameters, DType::kFloat32, 5);
  std::vector<NamedTensor> from = ParameterTensors(model.parameters, source);
  std::ranges::reverse(from);
  Tensor target = Tensor::Zeros({model.parameters.flat_elements()}, DType::kFloat32);
  std::vector<NamedTensor> to = ParameterTensors(model.parameters, target);
  CopyByName(from, to, "the checkpoint");
  EXPECT_THAT(target.Span<float>(), testing::ElementsAreArray(source.Span<float>()));
}

TEST(CopyByName, NamesAllThatDoesNotFitAndCopiesNothing) {
  const Tensor one = Tensor::Zeros({1}, DType::kFloat32);
  Tensor target = Tensor::Zeros({2}, DType::kFloat32);
  Tensor same = Tensor::Zeros({1}, DType::kFloat32);
  std::vector<NamedTensor> from{{"same", one}, {"a", one}, {"b", one}, {"only.there", one}};
  from[0].tensor = Tensor({1}, DType::kFloat32);
  from[0].tensor.Data<float>()[0] = 3;
  std::vector<NamedTensor> to{{"same", same},
                              {"a", target},
                              {"b", Tensor::Zeros({1}, DType::kFloat64)},
                              {"only.here", target}};
  EXPECT_EQ(ErrorOf([&] { CopyByName(from, to, "OUT/checkpoints/step-00000003"); }),
            "FAILED_PRECONDITION: OUT/checkpoints/step-00000003 does not fit the model of the run "
            "file; missing: only.here [2] F32; different: a is [1] F32 but must be [2] F32, b is "
            "[1] F32 but must be [1] F64; not in the model: only.there [1] F32");
  EXPECT_EQ(same.Data<float>()[0], 0);
}

TEST(CopyByName, ALongListIsCut) {
  std::vector<NamedTensor> to;
  for (int i = 0; i < 9; ++i) to.push_back({"t" + std::to_string(i), Tensor({1}, DType::kUint8)});
  EXPECT_EQ(ErrorOf([&] { CopyByName({}, to, "X"); }),
            "FAILED_PRECONDITION: X does not fit the model of the run file; missing: t0 [1] U8, t1 "
            "[1] U8, t2 [1] U8, t3 [1] U8 and 5 more");
}

}  // namespace
}  // namespace syncbn::train
