// Who drives the transport, and how long: over a transport whose large messages leave a process
// only while that process drives it, as those of MPI over TCP do.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "comm/in_process.h"
#include "comm/make_reducer.h"
#include "comm/native_collectives.h"
#include "tests/comm/support.h"

namespace syncbn::comm {
namespace {

using namespace std::chrono_literals;

class SlowSender : public Communicator {
 public:
  explicit SlowSender(std::unique_ptr<Communicator> inner) : inner_(std::move(inner)) {}

  std::string_view transport() const override { return inner_->transport(); }
  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  void Send(int to, std::span<const std::byte> head, std::span<const std::byte> body,
            std::shared_ptr<void> keep_alive) override {
    if (body.size() <= kCopiedBytes) return inner_->Send(to, head, body, std::move(keep_alive));
    std::lock_guard lock(mutex_);
    leaving_.push_back({.send = [this, to, head = std::vector<std::byte>(head.begin(), head.end()),
                                 body, keep_alive] { inner_->Send(to, head, body, keep_alive); }});
  }
  bool Progress(MessageHandler& handler, IfBusy if_busy) override {
    {
      std::lock_guard lock(mutex_);
      if (!held_ && !leaving_.empty() && --leaving_.front().calls == 0) {
        leaving_.front().send();
        leaving_.pop_front();
      }
    }
    return inner_->Progress(handler, if_busy);
  }
  void Idle(int polls) override { inner_->Idle(std::min(polls, 2)); }
  bool Sending() override {
    std::lock_guard lock(mutex_);
    return !leaving_.empty();
  }
  std::vector<std::string> AllGather(std::string_view mine,
                                     std::chrono::milliseconds timeout) override {
    return inner_->AllGather(mine, timeout);
  }
  std::unique_ptr<Communicator> Duplicate() override {
    auto copy = std::make_unique<SlowSender>(inner_->Duplicate());
    copy_ = copy.get();
    return copy;
  }
  std::unique_ptr<NativeCollectives> MakeNative(
      const std::vector<std::vector<int>>& sets) override {
    return inner_->MakeNative(sets);
  }
  void Abort(int exit_code) override { inner_->Abort(exit_code); }

  // That of the reducer.
  SlowSender& copy() const { return *copy_; }
  // Forgets what has not left.
  void Drop() {
    std::lock_guard lock(mutex_);
    leaving_.clear();
  }
  // While held nothing large leaves, however long the process drives.
  void Hold(bool held) {
    std::lock_guard lock(mutex_);
    held_ = held;
  }

 private:
  struct Leaving {
    int calls = 50;  // of Progress
    std::function<void()> send;
  };
  const std::unique_ptr<Communicator> inner_;
  SlowSender* copy_ = nullptr;
  std::mutex mutex_;
  std::deque<Leaving> leaving_;
  bool held_ = false;
};

Reduction SumOf(const Tensor& contribution, Tensor& result, std::string_view name) {
  return {.operation = Operation::kSum,
          .group = {0, 2},
          .contribution = contribution,
          .result = result,
          .name = name};
}

// Of two processes, body(link, communicator) each on a thread of its own.
void RunTwo(const std::function<void(ReplicaLink, SlowSender&)>& body) {
  auto inner = MakeInProcessCommunicators(2);
  std::vector<std::thread> threads;
  for (auto& one : inner) {
    threads.emplace_back([&body, communicator = std::make_shared<SlowSender>(std::move(one))] {
      // The heartbeats would drive, too.
      const auto reducer =
          MakeReducer(*communicator,
                      {.replicas = 2, .stall_timeout = 100s, .heartbeat = 10s, .small_bytes = 0});
      body({reducer.get(), communicator->rank()}, communicator->copy());
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(ReducerProgress, WhoHasItsResultLeavesWhenItsOwnPartHasLeft) {
  RunTwo([](ReplicaLink link, SlowSender& communicator) {
    for (int round = 0; round < 20; ++round) {
      Tensor mine = Tensor::Zeros({50000}, DType::kFloat32), result({50000}, DType::kFloat32);
      mine.Data<float>()[round] = static_cast<float>(1 + link.replica);
      link.Reduce(SumOf(mine, result, "gradients"));
      EXPECT_EQ(result.Data<float>()[round], 3.0f);
      EXPECT_FALSE(communicator.Sending()) << "the other process has to wait until this one drives";
    }
  });
}

TEST(ReducerProgress, GradientsThatAreUnderWayDelayNoStatistics) {
  RunTwo([](ReplicaLink link, SlowSender& communicator) {
    Tensor large = Tensor::Zeros({50000}, DType::kFloat32), sum({50000}, DType::kFloat32);
    Tensor small = Tensor::Zeros({16}, DType::kFloat64), statistic({16}, DType::kFloat64);
    communicator.Hold(true);
    const Reducer::Handle gradients = link.Start(SumOf(large, sum, "gradients"));
    const auto start = std::chrono::steady_clock::now();
    for (int layer = 0; layer < 10; ++layer) link.Reduce(SumOf(small, statistic, "statistics"));
    // Each would take a second otherwise.
    EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
    EXPECT_TRUE(communicator.Sending());
    communicator.Hold(false);
    link.reducer->Wait(gradients).WaitOnHost();
  });
}

// A receiver that stands still is its own fault: heartbeats go on.
TEST(ReducerProgress, WhatDoesNotLeaveIsNotWaitedForForEver) {
  RunTwo([](ReplicaLink link, SlowSender& communicator) {
    Tensor mine = Tensor::Zeros({50000}, DType::kFloat32), result({50000}, DType::kFloat32);
    link.Reduce(SumOf(mine, result, "gradients"));
    Tensor small = Tensor::Zeros({16}, DType::kFloat64), statistic({16}, DType::kFloat64);
    communicator.Hold(true);
    const std::vector<std::byte> head(8), body(Communicator::kCopiedBytes + 1);
    communicator.Send(1 - communicator.rank(), head, body, nullptr);
    const auto start = std::chrono::steady_clock::now();
    link.Reduce(SumOf(small, statistic, "statistics"));
    EXPECT_TRUE(communicator.Sending());
    // Once: later ones leave at once.
    for (int i = 0; i < 20; ++i) link.Reduce(SumOf(small, statistic, "statistics"));
    EXPECT_LT(std::chrono::steady_clock::now() - start, 10s);
    communicator.Drop();
  });
}

}  // namespace
}  // namespace syncbn::comm
