// An exchange in process that has what NCCL has and no more: no tags, and in every process one
// stream, on which what was launched first must be over before the next can begin. A block goes
// over when its round is the first on the streams of both its sender and its receiver; processes
// that launch in different orders wait for each other for ever.
//
//   RunReplicas({.replicas = 4, .make_exchange = MakeOneOrderExchanges(2)}, 2, body);
#pragma once

#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "base/check.h"
#include "comm/exchange.h"
#include "comm/reducer_options.h"
#include "tensor/tensor.h"

namespace syncbn {

// What the exchanges of all virtual processes share.
class OneOrderStreams {
 public:
  struct Series : comm::Exchange::Series, std::enable_shared_from_this<Series> {
    Series(const comm::Exchange::Key& key, std::shared_ptr<void> owner)
        : key(key), owner(std::move(owner)) {}
    std::vector<comm::Exchange::Block>& At(int round) {
      if (rounds.size() <= static_cast<size_t>(round))
        rounds.resize(static_cast<size_t>(round) + 1);
      return rounds[static_cast<size_t>(round)];
    }

    const comm::Exchange::Key key;
    std::shared_ptr<void> owner;
    std::vector<std::vector<comm::Exchange::Block>> rounds;  // what has come
  };
  struct Launch {
    std::shared_ptr<Series> series;
    int round = 0;
    std::vector<comm::Exchange::Outgoing> outgoing;  // not yet sent
    std::vector<comm::Exchange::Incoming> incoming;  // `blocks`: that have not come
  };

  explicit OneOrderStreams(int processes)
      : streams_(static_cast<size_t>(processes)), completed_(streams_.size()) {}

  // Whether it is complete at once.
  bool Add(int rank, Launch launch) {
    std::lock_guard lock(mutex_);
    const Series* const series = launch.series.get();
    const int round = launch.round;
    streams_[static_cast<size_t>(rank)].push_back(std::move(launch));
    Move();
    auto& completed = completed_[static_cast<size_t>(rank)];
    const auto own = std::ranges::find_if(completed, [&](const auto& one) {
      return one.first.get() == series && one.second == round;
    });
    if (own == completed.end()) return false;
    completed.erase(own);
    return true;
  }
  std::vector<std::shared_ptr<void>> TakeCompleted(int rank) {
    std::lock_guard lock(mutex_);
    std::vector<std::shared_ptr<void>> owners;
    for (const auto& [series, round] : std::exchange(completed_[static_cast<size_t>(rank)], {})) {
      owners.push_back(series->owner);
    }
    return owners;
  }
  std::mutex& mutex() { return mutex_; }

 private:
  // Moves whatever can be moved.
  void Move() {
    bool any = true;
    while (std::exchange(any, false)) {
      for (size_t rank = 0; rank < streams_.size(); ++rank) {
        if (streams_[rank].empty()) continue;
        Launch& first = streams_[rank].front();
        any |= std::erase_if(first.outgoing, [&](const comm::Exchange::Outgoing& block) {
                 return Receives(static_cast<size_t>(block.rank), static_cast<int>(rank), first,
                                 block.block);
               }) > 0;
        if (!first.outgoing.empty() ||
            std::ranges::any_of(first.incoming, [](const auto& one) { return one.blocks > 0; })) {
          continue;
        }
        completed_[rank].emplace_back(first.series, first.round);
        streams_[rank].pop_front();
        any = true;
      }
    }
  }
  // Gives `to` a block if it is at the same round.
  bool Receives(size_t to, int from, const Launch& sent, const Tensor& sent_block) {
    if (streams_[to].empty()) return false;
    Launch& first = streams_[to].front();
    if (first.series->key != sent.series->key || first.round != sent.round) return false;
    const auto incoming = std::ranges::find(first.incoming, from, &comm::Exchange::Incoming::rank);
    if (incoming == first.incoming.end() || incoming->blocks == 0) return false;
    --incoming->blocks;
    std::vector<comm::Exchange::Block>& blocks = first.series->At(first.round);
    SYNCBN_CHECK_EQ(sent_block.bytes(), incoming->bytes) << "rank " << from << " to rank " << to;
    Tensor received = incoming->memory.defined()
                          ? incoming->memory
                          : Tensor({static_cast<int64_t>(incoming->bytes)}, DType::kUint8);
    if (incoming->bytes > 0) {
      std::memcpy(received.Bytes().data(), sent_block.Bytes().data(), incoming->bytes);
    }
    blocks.push_back(
        {.rank = from,
         .index = static_cast<int>(std::ranges::count(blocks, from, &comm::Exchange::Block::rank)),
         .bytes = received.Viewed({static_cast<int64_t>(incoming->bytes)}, DType::kUint8)});
    return true;
  }

  std::mutex mutex_;
  std::vector<std::deque<Launch>> streams_;
  std::vector<std::vector<std::pair<std::shared_ptr<Series>, int>>> completed_;
};

// The part of a process.
class OneOrderExchange : public comm::Exchange {
 public:
  OneOrderExchange(std::shared_ptr<OneOrderStreams> streams, int rank, Order order)
      : streams_(std::move(streams)), rank_(rank), order_(order) {}

  Order order() const override { return order_; }
  std::shared_ptr<Series> Open(const Key& key, const comm::Signature&,
                               std::shared_ptr<void> owner) override {
    return std::make_shared<OneOrderStreams::Series>(key, std::move(owner));
  }
  void Close(Series& series) override {
    std::shared_ptr<void> owner;  // goes without the lock
    std::lock_guard lock(streams_->mutex());
    owner.swap(static_cast<OneOrderStreams::Series&>(series).owner);
  }
  void Expect(Series&, int, std::vector<Incoming>) override {}
  bool AllGather(Series& series, int round, const Tensor& block,
                 std::vector<Incoming> incoming) override {
    std::vector<Outgoing> outgoing;
    for (const Incoming& one : incoming) outgoing.push_back({one.rank, block});
    return AllToAll(series, round, outgoing, std::move(incoming));
  }
  bool AllToAll(Series& base, int round, std::span<const Outgoing> outgoing,
                std::vector<Incoming> incoming) override {
    auto& series = static_cast<OneOrderStreams::Series&>(base);
    OneOrderStreams::Launch launch{.series = series.shared_from_this(),
                                   .round = round,
                                   .outgoing = {outgoing.begin(), outgoing.end()},
                                   .incoming = std::move(incoming)};
    for (Outgoing& block : launch.outgoing) {
      CountSent(series, 1, static_cast<int64_t>(block.block.bytes()));
      if (block.block.defined() && block.block.bytes() <= copied_bytes()) {
        block.block = block.block.Clone();
      }
    }
    return streams_->Add(rank_, std::move(launch));
  }
  std::vector<std::shared_ptr<void>> Completed() override { return streams_->TakeCompleted(rank_); }
  std::vector<Block> Take(Series& series, int round) override {
    std::lock_guard lock(streams_->mutex());
    return std::exchange(static_cast<OneOrderStreams::Series&>(series).At(round), {});
  }
  int Announced(Series& series, int round, int rank) const override {
    std::lock_guard lock(streams_->mutex());
    return static_cast<int>(std::ranges::count(
        static_cast<OneOrderStreams::Series&>(series).At(round), rank, &Block::rank));
  }

 private:
  const std::shared_ptr<OneOrderStreams> streams_;
  const int rank_;
  const Order order_;
};

// For ReducerOptions::make_exchange of all processes. `order`: what the exchanges say that they
// need, which may be less than the truth.
inline comm::MakeExchange MakeOneOrderExchanges(
    int processes, comm::Exchange::Order order = comm::Exchange::Order::kOfProcess) {
  return [streams = std::make_shared<OneOrderStreams>(processes), order](
             comm::Communicator& control, backend::MergeStream&) {
    return std::make_unique<OneOrderExchange>(streams, control.rank(), order);
  };
}

}  // namespace syncbn
