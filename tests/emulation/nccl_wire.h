// What the ranks of an emulated communicator share: memory with a channel for every ordered pair of
// them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace syncbn::emulation {

// From one rank to another: messages one after the other, each of which is over when it has been
// received.
struct NcclChannel {
  static constexpr size_t kBuffer = 64 << 10;
  struct Head {
    char call[24];
    uint64_t number;  // of the communicator's collectives, 0 for a send
    uint64_t bytes;
  };
  std::atomic<uint64_t> sent, taken;         // messages
  std::atomic<uint64_t> produced, consumed;  // bytes of all messages
  Head head;                                 // of the one that is under way
  std::byte buffer[kBuffer];
};

class NcclWire {
 public:
  static constexpr int kMostSplits = 16;

  // Joins the others of this name, whether they have come or not. Throws std::runtime_error.
  NcclWire(const std::string& name, int rank, int ranks);
  ~NcclWire();
  NcclWire(const NcclWire&) = delete;
  NcclWire& operator=(const NcclWire&) = delete;

  const std::string& name() const { return name_; }
  int rank() const { return rank_; }
  int ranks() const { return ranks_; }
  bool Complete() const { return shared_->joined == ranks_; }
  // Says that this rank has nothing more to do; whether all have said so.
  void Finish() { shared_->finished.fetch_add(1); }
  bool AllFinished() const { return shared_->finished == ranks_; }
  NcclChannel& Between(int from, int to) { return channels_[from * ranks_ + to]; }
  // What a rank has given as the color and key of the n-th split: 0 as long as it has not come.
  struct Split {
    std::atomic<int> state;  // 1: color and key are there
    int color, key;
  };
  Split& SplitOf(int split, int rank) { return splits_[split * ranks_ + rank]; }

 private:
  struct Shared {
    std::atomic<int> joined, finished;
  };
  const std::string name_;
  const int rank_, ranks_;
  size_t bytes_ = 0;
  Shared* shared_ = nullptr;
  Split* splits_ = nullptr;
  NcclChannel* channels_ = nullptr;
};

// One message on its way, from the side of one rank. Moves as far as it can without waiting.
class NcclTransfer {
 public:
  // `from` or `to` is null.
  NcclTransfer(NcclChannel& channel, const NcclChannel::Head& head, const std::byte* from,
               std::byte* to)
      : channel_(&channel), head_(head), from_(from), to_(to) {}

  // Returns whether anything has moved. A receiver that finds another head than its own throws
  // std::runtime_error with both.
  bool Move();
  bool done() const { return done_; }
  // The same for all transfers of its channel on this side.
  const void* side() const {
    return from_ != nullptr ? static_cast<const void*>(&channel_->sent) : &channel_->taken;
  }

 private:
  bool MoveOut();
  bool MoveIn();

  NcclChannel* channel_;
  NcclChannel::Head head_;
  const std::byte* from_;
  std::byte* to_;
  uint64_t message_ = 0, begin_ = 0, moved_ = 0;
  bool started_ = false, done_ = false;
};

}  // namespace syncbn::emulation
