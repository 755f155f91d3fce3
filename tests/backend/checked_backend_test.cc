// That the checked device shows who looks into its memory, and computes what the back end inside does.
#include "backend/checked/checked_backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "tests/backend/moments.h"
#include "tests/backend/support.h"
#include "tests/support/test_device.h"

namespace syncbn::backend {
namespace {

using ::testing::HasSubstr;

class CheckedBackendTest : public ::testing::Test {
 protected:
  template <typename Body>
  static std::string ErrorOf(Body body) {
    try {
      body();
    } catch (const Error& error) {
      return error.message();
    }
    return "nothing was thrown";
  }

  const std::unique_ptr<Backend> backend_ = MakeCheckedBackend(MakeCpuBackend);
  const std::unique_ptr<Executor> executor_ = backend_->MakeExecutor();
  const Tensor host_ = As(RandomNormal({4, 3}, "x"), DType::kFloat32);
};

TEST_F(CheckedBackendTest, TensorsComeAndGo) {
  const Tensor there = executor_->ToDevice(host_, DType::kFloat32);
  EXPECT_EQ(&there.device(), &backend_->device());
  EXPECT_FALSE(there.on_host());
  EXPECT_TRUE(SameBits(there.OnHost(), host_));
  EXPECT_TRUE(SameBits(there.Rows(1, 3).OnHost(), host_.Rows(1, 3))) << "views, too";
  Tensor seen = executor_->NewOnHost({4, 3}, DType::kFloat32);
  executor_->Copy(there, seen);
  executor_->Record().WaitOnHost();
  EXPECT_TRUE(SameBits(seen, host_));
}

TEST_F(CheckedBackendTest, TheHostMayNotAskForElements) {
  Tensor there = executor_->ToDevice(host_, DType::kFloat32);
  for (const std::string& error :
       {ErrorOf([&] { there.Span<float>(); }), ErrorOf([&] { there.Data<float>(); }),
        ErrorOf([&] { there.Bytes(); }), ErrorOf([&] { there.Clone(); }),
        ErrorOf([&] { there.As(DType::kFloat64); })}) {
    EXPECT_THAT(error, HasSubstr("the host looks into a tensor [4, 3] of device checked"));
  }
}

using CheckedBackendDeathTest = CheckedBackendTest;

// Nor while another thread's operations run: their addresses are others.
TEST_F(CheckedBackendDeathTest, WhoReadsOrWritesAtItsAddressesDies) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const Tensor there = executor_->ToDevice(host_, DType::kFloat32);
  volatile std::byte* const address = there.DeviceAddress();
  EXPECT_DEATH({ (void)*address; }, "");
  EXPECT_DEATH({ *address = std::byte{1}; }, "");
}

TEST_F(CheckedBackendTest, OperationsRefuseTensorsOfTheHost) {
  const Tensor there = executor_->ToDevice(host_, DType::kFloat32);
  EXPECT_THAT(ErrorOf([&] { executor_->Add(there, host_); }),
              HasSubstr("is given a tensor [4, 3] of the host: bring it there with ToDevice"));
  Tensor moments({1, 7}, DType::kFloat64);
  EXPECT_THAT(ErrorOf([&] {
                executor_->Moments({.samples = 4, .channels = 3}, there, moments);
              }),
              HasSubstr("of the host"));
}

TEST_F(CheckedBackendTest, GivesTheBitsOfTheBackEndInside) {
  const auto cpu = MakeCpuBackend()->MakeExecutor();
  const RowLayout layout{.samples = 4, .channels = 3};
  const Tensor there = executor_->ToDevice(host_, DType::kFloat32);
  const MeanAndM2 ours = MomentsOf(*executor_, layout, there), theirs = MomentsOf(*cpu, layout, host_);
  EXPECT_TRUE(SameBits(ours.mean, theirs.mean));
  EXPECT_TRUE(SameBits(ours.m2, theirs.m2));
  EXPECT_TRUE(SameBits(executor_->ActivationForward(ActivationKind::kTanh, there).OnHost(),
                       cpu->ActivationForward(ActivationKind::kTanh, host_)));
}

TEST_F(CheckedBackendTest, WhatNobodyElseHoldsIsWrittenOver) {
  Tensor x = executor_->ToDevice(host_, DType::kFloat32);
  const std::byte* const address = x.DeviceAddress();
  const Tensor y = executor_->ActivationForward(ActivationKind::kRelu, std::move(x));
  EXPECT_EQ(y.DeviceAddress(), address);
  EXPECT_NE(executor_->ActivationForward(ActivationKind::kRelu, y).DeviceAddress(), address);
}

// -- Streams ---------------------------------------------------------------------------------------

TEST_F(CheckedBackendTest, AStreamThatDoesNotWaitForWhatAnotherWritesIsAnError) {
  const auto other = backend_->MakeExecutor();
  Tensor x = executor_->NewZeros({4}, DType::kFloat64);
  EXPECT_THAT(ErrorOf([&] { other->Clone(x); }), HasSubstr("waits for no event behind that"));
  EXPECT_THAT(ErrorOf([&] { other->Fill(x, 1); }), HasSubstr("waits for no event behind that"));
  const Event early = executor_->Record();
  executor_->Fill(x, 1);
  other->WaitFor(early);
  EXPECT_NE(ErrorOf([&] { other->Clone(x); }), "nothing was thrown") << "the event is too early";
  other->WaitFor(executor_->Record());
  EXPECT_EQ(ErrorOf([&] { other->Clone(x); }), "nothing was thrown");
  // And the first must not write while the other reads.
  EXPECT_THAT(ErrorOf([&] { executor_->Fill(x, 2); }), HasSubstr("writes to a tensor [4]"));
  executor_->WaitFor(other->Record());
  EXPECT_EQ(ErrorOf([&] { executor_->Fill(x, 2); }), "nothing was thrown");
}

TEST_F(CheckedBackendTest, AWriteIsBehindEveryStreamThatReads) {
  const auto first = backend_->MakeExecutor(), second = backend_->MakeExecutor();
  Tensor x = executor_->NewZeros({64}, DType::kFloat64);
  const Event made = executor_->Record();
  for (Executor* reader : {first.get(), second.get()}) {
    reader->WaitFor(made);
    reader->Clone(x);
  }
  executor_->WaitFor(second->Record());
  EXPECT_THAT(ErrorOf([&] { executor_->Fill(x, 1); }), HasSubstr("writes to a tensor [64]"));
  executor_->WaitFor(first->Record());
  EXPECT_EQ(ErrorOf([&] { executor_->Fill(x, 1); }), "nothing was thrown");
}

TEST_F(CheckedBackendTest, AResultOverAnOperandIsAWriteToIt) {
  const auto reader = backend_->MakeExecutor();
  const auto read_elsewhere = [&] {
    Tensor x = executor_->NewZeros({4, 16}, DType::kFloat32);
    reader->WaitFor(executor_->Record());
    reader->Clone(x);
    return x;
  };
  const Tensor y = executor_->NewZeros({4, 16}, DType::kFloat32);
  const std::vector<RandomKey> keys(4, RandomKey(1));
  constexpr ActivationKind kRelu = ActivationKind::kRelu;
  for (const std::string& error :
       {ErrorOf([&] { executor_->ActivationForward(kRelu, read_elsewhere()); }),
        ErrorOf([&] { executor_->ActivationBackward(kRelu, y, read_elsewhere()); }),
        ErrorOf([&] { executor_->Add(read_elsewhere(), y); }),
        ErrorOf([&] { executor_->Dropout(read_elsewhere(), keys, 0.5); })}) {
    EXPECT_THAT(error, HasSubstr("writes to a tensor [4, 16]"));
  }
}

TEST_F(CheckedBackendTest, WhatTheHostHasWaitedForIsBehindAllStreams) {
  const auto other = backend_->MakeExecutor();
  Tensor x = executor_->NewZeros({4}, DType::kFloat64);
  executor_->Record().WaitOnHost();
  EXPECT_EQ(ErrorOf([&] { other->Fill(x, 1); }), "nothing was thrown");
  x.OnHost();
  EXPECT_EQ(ErrorOf([&] { executor_->Fill(x, 2); }), "nothing was thrown");
  executor_->Synchronize();
  EXPECT_EQ(ErrorOf([&] { other->Clone(x); }), "nothing was thrown");
}

TEST_F(CheckedBackendTest, EventsPassOnWhatTheirStreamWaitedFor) {
  const auto second = backend_->MakeExecutor(), third = backend_->MakeExecutor();
  const Tensor x = executor_->NewZeros({4}, DType::kFloat64);
  second->WaitFor(executor_->Record());
  third->WaitFor(second->Record());
  EXPECT_EQ(ErrorOf([&] { third->Clone(x); }), "nothing was thrown");
}

TEST_F(CheckedBackendTest, MergesOnItsMergeStream) {
  const auto stream = backend_->MakeMergeStream();
  Tensor sum = stream->ToDevice(host_, DType::kFloat32);
  const Tensor more = executor_->ToDevice(host_, DType::kFloat32);
  const MergeContent content{.dtype = DType::kFloat32, .elements = 12};
  EXPECT_NE(ErrorOf([&] { stream->Merge(content, sum, more); }), "nothing was thrown");
  stream->WaitFor(executor_->Record());
  stream->Merge(content, sum, more);
  const Tensor seen = sum.OnHost();
  for (int64_t i = 0; i < 12; ++i) EXPECT_EQ(seen.Data<float>()[i], 2 * host_.Data<float>()[i]);
}

// -- Memory of the host ----------------------------------------------------------------------------

TEST_F(CheckedBackendTest, ACopyToTheHostIsThereWhenTheHostHasWaitedForIt) {
  const auto other = backend_->MakeExecutor();
  const Tensor x = executor_->ToDevice(host_, DType::kFloat32);
  Tensor seen = executor_->NewOnHost({4, 3}, DType::kFloat32);
  const auto shows_nothing = [&] {
    return std::ranges::all_of(seen.Span<float>(), [](float value) { return std::isnan(value); });
  };
  using Wait = std::function<void()>;
  for (const Wait& wait : {Wait([&] { executor_->Record().WaitOnHost(); }),
                           Wait([&] { executor_->Synchronize(); }),
                           Wait([&] { x.OnHost(); }),
                           Wait([&] {
                             other->WaitFor(executor_->Record());
                             other->Record().WaitOnHost();
                           })}) {
    const Event early = executor_->Record();
    executor_->Copy(x, seen);
    early.WaitOnHost();
    other->Synchronize();
    EXPECT_TRUE(shows_nothing());
    wait();
    EXPECT_TRUE(SameBits(seen, host_));
  }
}

TEST_F(CheckedBackendTest, AStreamThatEndsHasDoneItsCopies) {
  const Tensor x = executor_->ToDevice(host_, DType::kFloat32);
  executor_->Synchronize();
  Tensor seen({4, 3}, DType::kFloat32);
  backend_->MakeExecutor()->Copy(x, seen);
  EXPECT_TRUE(SameBits(seen, host_));
}

TEST_F(CheckedBackendTest, CopiesFromTheHostOnlyWhatTheHostHasWaitedFor) {
  const Tensor x = executor_->ToDevice(host_, DType::kFloat32);
  Tensor seen = executor_->NewOnHost({4, 3}, DType::kFloat32);
  executor_->Copy(x, seen);
  EXPECT_THAT(ErrorOf([&] { executor_->Clone(seen.Rows(1, 2)); }),
              HasSubstr("the host has not waited for that"));
  executor_->Synchronize();
  EXPECT_TRUE(SameBits(executor_->Clone(seen).OnHost(), host_));
}

// -- The device of tests ---------------------------------------------------------------------------

TEST_F(CheckedBackendTest, TestsRunOnTheDeviceThatTheEnvironmentNames) {
  const char* const set = std::getenv("SYNCBN_TEST_DEVICE");
  const std::string before = set == nullptr ? "" : set;
  ::setenv("SYNCBN_TEST_DEVICE", "checked", 1);
  EXPECT_FALSE(OnTestDevice(MakeCpuBackend)->MakeExecutor()->New({1}, DType::kFloat32).on_host());
  for (const char* const wrong : {"Checked", "host", ""}) {
    ::setenv("SYNCBN_TEST_DEVICE", wrong, 1);
    EXPECT_THAT(ErrorOf([&] { OnTestDevice(MakeCpuBackend); }),
                HasSubstr("SYNCBN_TEST_DEVICE is '" + std::string(wrong) + "'"));
  }
  ::unsetenv("SYNCBN_TEST_DEVICE");
  EXPECT_TRUE(OnTestDevice(MakeCpuBackend)->MakeExecutor()->New({1}, DType::kFloat32).on_host());
  if (set != nullptr) ::setenv("SYNCBN_TEST_DEVICE", before.c_str(), 1);
}

}  // namespace
}  // namespace syncbn::backend
