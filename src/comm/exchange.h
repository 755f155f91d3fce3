// The data plane: blocks of bytes between the processes of a group, whose sizes all of them know
// beforehand. It knows nothing of what they mean: the tree's arithmetic is above it and the same
// for every implementation. What processes tell each other beside data is the control plane's
// (control_plane.h).
//
// The exchanges of one reduction form a series of rounds. All processes of the group take part in
// each round, with what the plan of the reduction says (exchange_schedule.h): an all-gather, where
// everybody gives everybody the same block, or an all-to-all, where blocks differ and may be
// absent. A launch does not wait.
//
// Groups overlap, and replicas of one process may come to them in another order than those of the
// next. Over messages the number of a series tells which one a block belongs to, so blocks may come
// before their receiver has begun, no group waits for another, and who reduces something else or
// nothing at all is named instead of hanging everybody. An implementation without tags (NCCL)
// matches blocks by the order of the launches alone and says so: the reducer then sees to it that
// this is the same in all processes, and compares what they reduce by messages of its own
// (roll_call.h).
//
// Blocks are memory of the host, or of a device in the order of the reducer's merge stream: a round
// is then complete for the host as soon as it is launched, and whatever that stream is given later
// is behind it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "comm/native_collectives.h"
#include "comm/signature.h"
#include "tensor/tensor.h"

namespace syncbn::comm {

// Thread-safe.
class Exchange {
 public:
  struct Counters {
    int64_t messages = 0;
    int64_t bytes = 0;
  };

 private:
  class Sums {
   public:
    void Add(int64_t messages, int64_t bytes) {
      messages_.fetch_add(messages, std::memory_order_relaxed);
      bytes_.fetch_add(bytes, std::memory_order_relaxed);
    }
    Counters Read() const {
      return {.messages = messages_.load(std::memory_order_relaxed),
              .bytes = bytes_.load(std::memory_order_relaxed)};
    }

   private:
    std::atomic<int64_t> messages_{0}, bytes_{0};
  };

 public:
  // The exchanges of one reduction, in this process.
  class Series {
   public:
    virtual ~Series() = default;
    // What this process has sent in it to others.
    Counters sent() const { return sent_.Read(); }

   private:
    friend class Exchange;
    Sums sent_;
  };
  // The same in all processes.
  struct Key {
    Group group;
    int64_t sequence = 0;
    bool operator==(const Key&) const = default;
  };
  // A block for a rank, of any element type; undefined: one without bytes. Up to copied_bytes() it
  // may change as soon as it is launched, a larger one not before the exchange has dropped its
  // reference. Several for one rank arrive in their order.
  struct Outgoing {
    int rank = 0;
    Tensor block;
  };
  // What is to come from a rank: `blocks` of them, of `bytes` each; where the only one is to land,
  // if that matters.
  struct Incoming {
    int rank = 0;
    int blocks = 1;
    size_t bytes = 0;
    Tensor memory = {};
  };
  // A block that has come: bytes (U8).
  struct Block {
    int rank = 0;
    int index = 0;  // among those of its rank
    Tensor bytes = {};
  };

  // What the order of the launches is like; the reducer keeps it (launch_order.h).
  enum class Order {
    kOfGroup,  // series of a group in the order of their numbers; groups are independent
    // All series, whatever their groups, in one order that all processes share, and all rounds of one before
    // the first of the next. A round may wait in this process for all that was launched before it.
    kOfProcess,
  };

  virtual ~Exchange() = default;

  virtual Order order() const = 0;
  // Whether blocks are of the device of the reducer's merge stream, and move in its order.
  virtual bool in_stream_order() const { return false; }
  size_t copied_bytes() const {
    return in_stream_order() ? std::numeric_limits<size_t>::max() : Communicator::kCopiedBytes;
  }

  // Begins a series, for which others may already have sent. `owner` is what Completed returns; it
  // lives as long as the series is open, and with it all memory that it gives for what is to come.
  // Over messages, a process that gives the series another signature makes the run fail (in
  // Failure), here or when its first block comes.
  virtual std::shared_ptr<Series> Open(const Key& key, const Signature& signature,
                                       std::shared_ptr<void> owner) = 0;
  virtual void Close(Series& series) = 0;

  // What a round that is launched later will receive, where blocks should land in its memory even if they
  // come before. In order of ranks.
  virtual void Expect(Series& series, int round, std::vector<Incoming> incoming) = 0;
  // Both launch a round, and return whether everything has come already; else Completed will tell.
  // `incoming` is as in Expect, which need not be repeated. A gathered block goes to whom others come from.
  virtual bool AllGather(Series& series, int round, const Tensor& block,
                         std::vector<Incoming> incoming) = 0;
  virtual bool AllToAll(Series& series, int round, std::span<const Outgoing> outgoing,
                        std::vector<Incoming> incoming) = 0;
  // The owners of series whose launched round has become complete since the last call. Each once a round.
  virtual std::vector<std::shared_ptr<void>> Completed() = 0;
  // What a complete round has received.
  virtual std::vector<Block> Take(Series& series, int round) = 0;

  // How many blocks of a round have begun to come from a rank, as far as this process knows.
  virtual int Announced(Series& series, int round, int rank) const = 0;

  // -- In stream order ------------------------------------------------------------------------

  // Throws UNAVAILABLE where the library says that something has failed. Called now and then.
  virtual void CheckHealth() {}
  // The run has failed: ends what was launched and is not complete, wherever it waits. From here on
  // launches do nothing. May be called several times, from any thread.
  virtual void Abort() {}
  // The library's own all-reduce among each of these sets of ranks (ascending); null: it has none.
  // Collective.
  virtual std::unique_ptr<NativeCollectives> MakeNative(const std::vector<std::vector<int>>&) {
    return nullptr;
  }

  // What has been sent to other processes since the start.
  Counters counters() const { return sent_.Read(); }

 protected:
  // To be called for all that is sent.
  void CountSent(Series& series, int64_t messages, int64_t bytes) {
    sent_.Add(messages, bytes);
    series.sent_.Add(messages, bytes);
  }

 private:
  Sums sent_;
};

}  // namespace syncbn::comm
