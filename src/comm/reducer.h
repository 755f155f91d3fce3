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

enum class Operation {
  kSum,           // elementwise a + b, in the tensor's type
  kMergeMoments,  // F64 [count, mean[C], m2[C]] for each C of `channels`, by Chan's formula
};

struct Reduction {
  Operation operation = Operation::kSum;
  Group group;
  // This replica's part. Given away: it is overwritten, and released as soon as it is merged.
  Tensor contribution;
  // Receives the result; undefined: this replica does not need it.
  Tensor result;
  // For kMergeMoments: the channel counts of the consecutive blocks. Must live until Wait returns.
  std::span<const int64_t> channels;
  // What this is, e.g. "layer1.0.bn1 forward": compared between replicas, and named in errors. Must live
  // until Wait returns.
  std::string_view name;
};

// What a process has sent and waited for since the start.
struct ReducerCounters {
  int64_t reductions = 0;  // completed
  int64_t messages = 0;    // to other processes
  int64_t bytes = 0;       // of their bodies
  double wait_seconds = 0;  // sum over the replicas of the process
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
  // Sleeps until the result is there. Throws ABORTED (naming what was waited for, and who failed or is
  // missing) when a participant failed, a StallError when one makes no progress although it could, INTERNAL
  // when participants do not agree on what is reduced.
  virtual void Wait(const Handle& handle) = 0;
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
  // Throws the failure of the run. Precondition: it has failed.
  [[noreturn]] virtual void ThrowFailure() const = 0;

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
  void Wait(const Reducer::Handle& handle) const { reducer->Wait(handle); }
  void Reduce(const Reduction& reduction) const { Wait(Start(reduction)); }
};

// dst <- dst merged with src, both [count, mean[C], m2[C]] blocks, by Chan's formula in double; the result
// does not depend on alignment or vector length.
void MergeMoments(std::span<const int64_t> channels, std::span<double> dst,
                  std::span<const double> src);

}  // namespace syncbn::comm
