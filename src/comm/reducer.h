// Where replicas meet: contributions of the replicas of a group are combined in the canonical binary
// tree over replicas, and every replica that wants the result gets the same bits.
//
// A Reducer is one process's part in it; the replica threads of the process call it concurrently.
// Each replica of a group must start the same operations of that group in the same order; different
// groups, and operations in flight, are independent. What is combined at which node depends only on
// the group, so the bits depend neither on the number of processes nor on the transport (except with
// `reduction: native`).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "backend/event.h"
#include "backend/merge.h"
#include "backend/stream.h"
#include "tensor/tensor.h"

namespace syncbn::comm {

class ProgressBoard;

// Replicas [begin, end).
struct Group {
  int begin = 0;
  int end = 0;
  int size() const { return end - begin; }
  bool operator==(const Group&) const = default;
};

using Operation = backend::MergeOperation;

struct Reduction {
  Operation operation = Operation::kSum;
  Group group;
  // This replica's part. Given away: it is overwritten, and released as soon as it is merged.
  Tensor contribution;
  // After which the contribution may be read.
  backend::Event ready = {};
  // Receives the result; undefined: this replica does not need it. May be on another device than the
  // contribution, as what the host decides by.
  Tensor result;
  // For kMergeMoments: the channel counts of the consecutive blocks. Must live until Wait returns.
  std::span<const int64_t> channels;
  // What this is, e.g. "layer1.0.bn1 forward": compared between replicas, and named in errors. Must live
  // until Wait returns.
  std::string_view name;
};

// What a process has reduced and sent since the start.
struct ReducerCounters {
  int64_t reductions = 0;  // completed
  int64_t messages = 0;    // to other processes
  int64_t bytes = 0;       // of their bodies
};

class Reducer {
 public:
  // A reduction under way, as one replica has started it; nullptr: none.
  struct Handle {
    Handle(std::nullptr_t = nullptr) {}
    Handle(std::shared_ptr<void> reduction, int replica)
        : reduction(std::move(reduction)), replica(replica) {}
    bool operator==(std::nullptr_t) const { return reduction == nullptr; }

    std::shared_ptr<void> reduction;
    int replica = 0;
  };

  virtual ~Reducer() = default;

  virtual int replicas() const = 0;

  // Adds replica's part. Does not block on other replicas.
  virtual Handle Start(int replica, const Reduction& reduction) = 0;
  // Sleeps until there is nothing left that the host must do for the result, and returns the event after
  // which it is there (on the host that is at once). Throws ABORTED (naming what was waited for, and who
  // failed or is missing) when a participant failed, a StallError when one makes no progress although it
  // could, INTERNAL when participants do not agree on what is reduced.
  virtual backend::Event Wait(const Handle& handle) = 0;
  // Gives the transport a chance to move data; called now and then from computing threads.
  virtual void Progress() = 0;

  // Makes every present and future wait of every participant fail with this cause.
  virtual void Poison(int replica, std::string_view cause) = 0;

  // What a replica computes, for the watchdog: `phase` ("forward", "backward", "gradients") and `layer`.
  virtual void Report(int replica, int64_t step, std::string_view phase, std::string_view layer) = 0;
  // What all else the replicas of this process and the process itself are doing is written there.
  virtual ProgressBoard& board() = 0;
  // To be called now and then, at least every few seconds, while replicas of this process wait for something
  // that is not a reduction: judges their waits. Returns whether the run has failed, here or elsewhere.
  virtual bool CheckWaits() = 0;
  // Whether the run has failed, as far as is known here.
  virtual bool failed() const = 0;
  // To be called after a wait of the host for what a device has reduced, before it believes that.
  // Returns when it is sure that all processes have reduced the same; throws the failure of the
  // run, after which what the device has means nothing. At once where there is no device.
  virtual void Confirm() { ThrowIfFailed(); }
  // Throws the failure of the run. Precondition: it has failed.
  [[noreturn]] virtual void ThrowFailure() const = 0;
  void ThrowIfFailed() const {
    if (failed()) ThrowFailure();
  }

  virtual ReducerCounters counters() const = 0;
};

// A replica's own view of the reducer; what layers see.
struct ReplicaLink {
  Reducer* reducer = nullptr;
  int replica = 0;

  int replicas() const { return reducer->replicas(); }
  Reducer::Handle Start(const Reduction& reduction) const {
    return reducer->Start(replica, reduction);
  }
  // The result is there before whatever the stream is given next.
  void Wait(const Reducer::Handle& handle, backend::Stream& stream) const {
    stream.WaitFor(reducer->Wait(handle));
  }
  // The result is there: for figures that the host decides by.
  void WaitOnHost(const Reducer::Handle& handle) const {
    reducer->Wait(handle).WaitOnHost();
    reducer->Confirm();
  }
  void Reduce(const Reduction& reduction) const { WaitOnHost(Start(reduction)); }
};

using backend::MergeMoments;

}  // namespace syncbn::comm
