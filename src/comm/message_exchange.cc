#include "comm/message_exchange.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "tensor/tensor.h"

namespace syncbn::comm {

struct MessageExchange::Round {
  // Who sends how much, and where it goes; empty where that is not known yet.
  std::vector<Incoming> incoming;
  std::vector<Block> blocks;  // as they were announced
  int complete = 0;           // of them
  // How many are to come, once it is launched.
  std::optional<int> expected;
};

struct MessageExchange::MessageSeries : Series {
  explicit MessageSeries(const Key& key) : key(key) {}

  const Key key;
  mutable std::mutex mutex;      // guards what follows
  std::optional<Signature> own;  // since Open
  std::vector<Signature> early;  // what others said before that
  // Somebody gives something else: blocks have other sizes than are reckoned with, so no round is
  // complete any more, and nobody merges them.
  bool mismatch = false;
  std::shared_ptr<void> owner;
  std::vector<Round> rounds;

  Round& At(int round) {
    if (rounds.size() <= static_cast<size_t>(round)) rounds.resize(static_cast<size_t>(round) + 1);
    return rounds[static_cast<size_t>(round)];
  }
  bool IsComplete(const Round& round) const { return !mismatch && round.expected == round.complete; }
};

size_t MessageExchange::HashKey::operator()(const Key& key) const {
  const uint64_t group =
      static_cast<uint64_t>(key.group.begin) << 32 | static_cast<uint32_t>(key.group.end);
  return std::hash<uint64_t>()(group * 0x9E3779B97F4A7C15u ^ static_cast<uint64_t>(key.sequence));
}

MessageExchange::MessageExchange(Communicator& communicator, Failure& failure)
    : communicator_(communicator), failure_(failure) {}

std::shared_ptr<MessageExchange::MessageSeries> MessageExchange::SeriesAt(const Key& key) {
  std::lock_guard lock(mutex_);
  std::shared_ptr<MessageSeries>& series = open_[key];
  if (!series) series = std::make_shared<MessageSeries>(key);
  return series;
}

// -- What this process does ----------------------------------------------------------------------------

std::shared_ptr<Exchange::Series> MessageExchange::Open(const Key& key, const Signature& signature,
                                                        std::shared_ptr<void> owner) {
  std::shared_ptr<MessageSeries> series = SeriesAt(key);
  std::lock_guard lock(series->mutex);
  series->own = signature;
  series->owner = std::move(owner);
  for (const Signature& early : series->early) {
    if (!early.Agrees(signature)) {
      series->mismatch = true;
      failure_.Set({ErrorCode::kInternal,
                    DescribeMismatch(early, signature, key.group, key.sequence)});
    }
  }
  series->early.clear();
  return series;
}

void MessageExchange::Close(Series& base) {
  auto& series = static_cast<MessageSeries&>(base);
  {
    std::lock_guard lock(series.mutex);
    series.owner.reset();
  }
  std::lock_guard lock(mutex_);
  open_.erase(series.key);
}

void MessageExchange::Expect(Series& base, int round, std::vector<Incoming> incoming) {
  auto& series = static_cast<MessageSeries&>(base);
  std::lock_guard lock(series.mutex);
  series.At(round).incoming = std::move(incoming);
}

bool MessageExchange::AllGather(Series& base, int round, const Tensor& block,
                                std::vector<Incoming> incoming) {
  auto& series = static_cast<MessageSeries&>(base);
  // Everybody begins with its right neighbour, so that not all send to the same one at first.
  const size_t ranks = incoming.size();
  const size_t first = static_cast<size_t>(
      std::ranges::upper_bound(incoming, communicator_.rank(), {}, &Incoming::rank) - incoming.begin());
  for (size_t i = 0; i < ranks; ++i) {
    Send(series, round, incoming[(first + i) % ranks].rank, 0, block);
  }
  return Launched(series, round, std::move(incoming));
}

bool MessageExchange::AllToAll(Series& base, int round, std::span<const Outgoing> outgoing,
                               std::vector<Incoming> incoming) {
  auto& series = static_cast<MessageSeries&>(base);
  const auto blocks = static_cast<int>(outgoing.size());
  for (int i = 0, index = 0; i < blocks; ++i) {
    const Outgoing& one = outgoing[static_cast<size_t>(i)];
    index = i > 0 && outgoing[static_cast<size_t>(i) - 1].rank == one.rank ? index + 1 : 0;
    Send(series, round, one.rank, index, one.block);
  }
  return Launched(series, round, std::move(incoming));
}

void MessageExchange::Send(MessageSeries& series, int round, int rank, int index,
                           const Tensor& block) {
  // `own` is constant since Open.
  const MessageHead head{.kind = MessageKind::kData,
                         .group_begin = series.key.group.begin,
                         .group_end = series.key.group.end,
                         .round = round,
                         .index = index,
                         .sequence = series.key.sequence,
                         .signature = *series.own};
  CountSent(series, 1, static_cast<int64_t>(block.bytes()));
  std::shared_ptr<void> owner;
  if (block.bytes() > Communicator::kCopiedBytes) owner = std::make_shared<Tensor>(block);
  communicator_.Send(rank, head.Bytes(), block.Bytes(), std::move(owner));
}

bool MessageExchange::Launched(MessageSeries& series, int round, std::vector<Incoming> incoming) {
  int expected = 0;
  for (const Incoming& one : incoming) expected += one.blocks;
  std::lock_guard lock(series.mutex);
  Round& state = series.At(round);
  state.incoming = std::move(incoming);
  state.expected = expected;
  return series.IsComplete(state);
}

std::vector<std::shared_ptr<void>> MessageExchange::Completed() {
  if (!any_completed_.load(std::memory_order_acquire)) return {};
  std::lock_guard lock(completed_mutex_);
  any_completed_.store(false, std::memory_order_relaxed);
  return std::exchange(completed_, {});
}

std::vector<Exchange::Block> MessageExchange::Take(Series& base, int round) {
  auto& series = static_cast<MessageSeries&>(base);
  std::lock_guard lock(series.mutex);
  return std::exchange(series.At(round).blocks, {});
}

int MessageExchange::Announced(Series& base, int round, int rank) const {
  const auto& series = static_cast<const MessageSeries&>(base);
  std::lock_guard lock(series.mutex);
  if (series.rounds.size() <= static_cast<size_t>(round)) return 0;
  return static_cast<int>(
      std::ranges::count(series.rounds[static_cast<size_t>(round)].blocks, rank, &Block::rank));
}

// -- What comes from others ----------------------------------------------------------------------------

ReceiveBuffer MessageExchange::OnHead(int from, const MessageHead& head, size_t body_bytes) {
  std::shared_ptr<MessageSeries> series = SeriesAt({head.group(), head.sequence});
  std::lock_guard lock(series->mutex);
  if (!series->own) {
    series->early.push_back(head.signature);
  } else if (!head.signature.Agrees(*series->own)) {
    series->mismatch = true;
    failure_.Set({ErrorCode::kInternal, DescribeMismatch(head.signature, *series->own, head.group(),
                                                         head.sequence)});
  }
  Round& round = series->At(head.round);
  Block block{.rank = from, .index = head.index};
  const auto place = std::ranges::lower_bound(round.incoming, from, {}, &Incoming::rank);
  if (place != round.incoming.end() && place->rank == from && place->memory.defined() &&
      !failure_.failed()) {
    SYNCBN_CHECK_EQ(body_bytes, place->memory.bytes()) << "from rank " << from;
    block.bytes = place->memory.Viewed({static_cast<int64_t>(body_bytes)}, DType::kUint8);
  } else {
    block.bytes = Tensor({static_cast<int64_t>(body_bytes)}, DType::kUint8);
  }
  ReceiveBuffer buffer{.memory = block.bytes.DeviceAddress(),
                       .token = static_cast<uint64_t>(head.round)};
  round.blocks.push_back(std::move(block));
  buffer.owner = std::move(series);
  return buffer;
}

void MessageExchange::OnBody(const ReceiveBuffer& buffer) {
  auto& series = *static_cast<MessageSeries*>(buffer.owner.get());
  std::shared_ptr<void> owner;
  {
    std::lock_guard lock(series.mutex);
    Round& round = series.At(static_cast<int>(buffer.token));
    ++round.complete;
    if (!series.IsComplete(round)) return;
    owner = series.owner;
  }
  std::lock_guard lock(completed_mutex_);
  completed_.push_back(std::move(owner));
  any_completed_.store(true, std::memory_order_release);
}

}  // namespace syncbn::comm
