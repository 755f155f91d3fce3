#include "nn/step_context.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/nn/support.h"
#include "tests/support/test_device.h"

namespace syncbn::nn {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class StepContextTest : public ::testing::Test {
 protected:
  void SetUp() override {
    layout_.Add({.name = "a", .shape = {3}});
    layout_.Add({.name = "b", .shape = {4}});
    running_statistics_layout_.Add("bn", 2, true);
    gradients_ = ForExecutor(*executor_, RandomNormal({layout_.flat_elements()}, "garbage"));
  }

  StepInputs Inputs(Mode mode = Mode::kTrain) {
    return {.executor = executor_.get(),
            .parameter_layout = &layout_,
            .running_statistics_layout = &running_statistics_layout_,
            .parameters = ParameterSet(
                ForExecutor(*executor_, InitialParameters(layout_, 1, DType::kFloat64))),
            .running_statistics =
                ForExecutor(*executor_, InitialRunningStatistics(running_statistics_layout_)),
            .gradients = gradients_,
            .mode = mode,
            .sample_ids = ids_,
            .on_gradient_ready = [this](int parameter) { ready_.push_back(parameter); }};
  }

  std::unique_ptr<backend::Executor> executor_ =
      backend::OnTestDevice(backend::MakeReferenceBackend)->MakeExecutor();
  ParameterLayout layout_;
  RunningStatisticsLayout running_statistics_layout_;
  Tensor gradients_;
  std::vector<uint64_t> ids_;
  std::vector<int> ready_;
};

TEST_F(StepContextTest, TheTapeGivesBackTheLastRecordToItsOwner) {
  StepContext context(Inputs());
  const int first = 0, second = 0;
  context.Save({.owner = &first, .shapes = {Shape{1}}});
  context.Save({.owner = &second, .shapes = {Shape{2}}});
  EXPECT_EQ(context.Restore(&second).shapes[0], Shape{2});
  EXPECT_EQ(context.Restore(&first).shapes[0], Shape{1});
  EXPECT_TRUE(context.tape_empty());
}

TEST_F(StepContextTest, MisuseOfTheTapeIsAnError) {
  StepContext context(Inputs());
  const int first = 0, second = 0;
  EXPECT_THAT(ErrorOf([&] { context.Restore(&first); }), HasSubstr("more often than forward"));
  context.Save({.owner = &first});
  EXPECT_THAT(ErrorOf([&] { context.Restore(&second); }), HasSubstr("reverse order of forward"));
  EXPECT_THAT(ErrorOf([&] { context.FinishGradients(); }), HasSubstr("1 records are left"));
}

TEST_F(StepContextTest, OutsideTrainingNothingIsKeptAndBackwardIsRefused) {
  for (Mode mode : {Mode::kEvaluate, Mode::kBatchStatistics}) {
    StepContext context(Inputs(mode));
    const int owner = 0;
    context.Save({.owner = &owner});
    EXPECT_TRUE(context.tape_empty());
    EXPECT_THAT(ErrorOf([&] { context.Restore(&owner); }), HasSubstr("training mode"));
  }
}

TEST_F(StepContextTest, DeferredWorkIsDoneInItsOrderAndAtMostTwoPartsWait) {
  StepContext context(Inputs());
  std::vector<int> done;
  const std::shared_ptr<int> held = std::make_shared<int>();
  for (int i = 0; i < 4; ++i) context.Defer([&done, i, held] { done.push_back(i); });
  EXPECT_THAT(done, ElementsAre(0, 1)) << "two wait";
  EXPECT_THAT(ErrorOf([&] { context.FinishGradients(); }), HasSubstr("still to be computed"));
  EXPECT_EQ(held.use_count(), 3);
  context.RunDeferred();
  EXPECT_THAT(done, ElementsAre(0, 1, 2, 3));
  EXPECT_EQ(held.use_count(), 1) << "what was kept for them is free";
  context.RunDeferred();
  EXPECT_EQ(done.size(), 4U);
}

TEST_F(StepContextTest, DeferredWorkMayDeferMore) {
  StepContext context(Inputs());
  std::vector<int> done;
  context.Defer([&] {
    done.push_back(0);
    context.Defer([&] { done.push_back(1); });
  });
  context.RunDeferred();
  EXPECT_THAT(done, ElementsAre(0, 1));
}

TEST_F(StepContextTest, TheFirstPartOfAGradientIsWrittenAndTheOthersAreAdded) {
  StepContext context(Inputs());
  context.Use(0);
  context.Use(0);
  EXPECT_FALSE(context.Gradient(0).accumulate);
  context.GradientDone(0);
  EXPECT_THAT(ready_, ElementsAre()) << "one of two uses is done";
  EXPECT_TRUE(context.Gradient(0).accumulate);
  context.GradientDone(0);
  EXPECT_THAT(ready_, ElementsAre(0));
  EXPECT_THAT(ErrorOf([&] { context.Gradient(0); }), HasSubstr("already given away"));
}

TEST_F(StepContextTest, GradientsThatNobodyWroteBecomeZeroAndReady) {
  StepContext context(Inputs());
  context.Use(0);
  const backend::GradientOut out = context.Gradient(0);
  Tensor target = out.tensor;
  executor_->Fill(target, 7);
  context.GradientDone(0);
  context.FinishGradients();
  EXPECT_THAT(ready_, ElementsAre(0, 1));
  const Tensor gradients = gradients_.OnHost();
  EXPECT_EQ(MaxAbsolute(layout_.View(gradients, 1)), 0);
  EXPECT_EQ(layout_.View(gradients, 0).Data<double>()[2], 7);
  // And what lies between parameters is zero.
  for (int64_t i = 3; i < 16; ++i) EXPECT_EQ(gradients.Data<double>()[i], 0) << i;
  for (int64_t i = 20; i < 32; ++i) EXPECT_EQ(gradients.Data<double>()[i], 0) << i;
}

TEST_F(StepContextTest, AUseWithoutItsGradientIsAnError) {
  StepContext context(Inputs());
  context.Use(1);
  EXPECT_THAT(ErrorOf([&] { context.FinishGradients(); }),
              HasSubstr("the gradient of b is not complete"));
  EXPECT_THAT(ErrorOf([&] { context.GradientDone(0); }), HasSubstr("gradient of a without a use"));
}

TEST_F(StepContextTest, MomentsStartAtCountZero) {
  StepContext context(Inputs());
  Tensor block = context.MomentsOf(0);
  EXPECT_EQ(block.shape(), (Shape{1, 5}));
  EXPECT_EQ(MaxAbsolute(block.OnHost()), 0);
  executor_->Fill(block, 3);
  EXPECT_EQ(std::as_const(context.moments()).OnHost().Data<double>()[0], 3);
}

TEST_F(StepContextTest, SampleKeysDependOnSampleLayerEpochAndCall) {
  const auto keys = [&](std::vector<uint64_t> ids, int64_t epoch, std::string layer, int calls) {
    ids_ = ids;
    StepInputs inputs = Inputs();
    inputs.epoch = epoch;
    StepContext context(inputs);
    std::vector<RandomKey> result;
    for (int i = 0; i < calls; ++i) result = context.SampleKeys("dropout", this, layer);
    std::vector<uint64_t> values;
    for (RandomKey key : result) values.push_back(key.value());
    return values;
  };
  const std::vector<uint64_t> base = keys({4, 9}, 0, "d", 1);
  EXPECT_NE(base[0], base[1]);
  EXPECT_EQ(keys({9, 4}, 0, "d", 1), (std::vector<uint64_t>{base[1], base[0]}));
  EXPECT_NE(keys({4, 9}, 1, "d", 1), base);
  EXPECT_NE(keys({4, 9}, 0, "e", 1), base);
  EXPECT_NE(keys({4, 9}, 0, "d", 2), base);
}

}  // namespace
}  // namespace syncbn::nn
