// The exchange over messages, for every transport that has them: MPI and in-process. A block is a message
// whose head tells series, round and place, so it may come before its receiver has begun: it is kept then.
//
// Uses the messages of a communicator that somebody else drives, and not the collectives of MPI: those
// cannot be taken back when a replica fails, would make groups wait for each other, and could not name who
// takes part in another one. Data and control share a channel, because their order tells something: who has
// said that it has finished will send nothing more.
#pragma once

#include <atomic>
#include <mutex>
#include <unordered_map>

#include "comm/exchange.h"
#include "comm/failure.h"
#include "comm/wire.h"

namespace syncbn::comm {

class MessageExchange : public Exchange {
 public:
  MessageExchange(Communicator& communicator, Failure& failure);

  Order order() const override { return Order::kOfGroup; }
  std::shared_ptr<Series> Open(const Key& key, const Signature& signature,
                               std::shared_ptr<void> owner) override;
  void Close(Series& series) override;
  void Expect(Series& series, int round, std::vector<Incoming> incoming) override;
  bool AllGather(Series& series, int round, const Tensor& block,
                 std::vector<Incoming> incoming) override;
  bool AllToAll(Series& series, int round, std::span<const Outgoing> outgoing,
                std::vector<Incoming> incoming) override;
  std::vector<std::shared_ptr<void>> Completed() override;
  std::vector<Block> Take(Series& series, int round) override;
  int Announced(Series& series, int round, int rank) const override;

  // For messages of data (not head.is_control()); as in MessageHandler.
  ReceiveBuffer OnHead(int from, const MessageHead& head, size_t body_bytes);
  void OnBody(const ReceiveBuffer& buffer);

 private:
  struct MessageSeries;
  struct Round;
  struct HashKey {
    size_t operator()(const Key& key) const;
  };

  std::shared_ptr<MessageSeries> SeriesAt(const Key& key);
  void Send(MessageSeries& series, int round, int rank, int index, const Tensor& block);
  // After everything has been sent: from here on the round can be complete.
  bool Launched(MessageSeries& series, int round, std::vector<Incoming> incoming);

  Communicator& communicator_;
  Failure& failure_;

  // Locks, outermost first: the transport's, mutex_, a series', completed_mutex_. Nothing is sent under the
  // latter three.
  std::mutex mutex_;
  std::unordered_map<Key, std::shared_ptr<MessageSeries>, HashKey> open_;

  std::mutex completed_mutex_;
  std::vector<std::shared_ptr<void>> completed_;
  std::atomic<bool> any_completed_{false};
};

}  // namespace syncbn::comm
