#include "comm/in_process.h"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/text.h"
#include "comm/native_collectives.h"

namespace syncbn::comm {
namespace {

struct Message {
  int from = 0;
  size_t head_bytes = 0;
  std::array<std::byte, Communicator::kMaxHeadBytes> head;
  std::vector<std::byte> copied;
  std::span<const std::byte> body;
  std::shared_ptr<void> keep_alive;
};

struct Mailbox {
  std::mutex mutex;
  std::condition_variable arrived;
  std::deque<Message> messages;
  // Held while messages are delivered, so that they stay in order.
  std::mutex delivery;
};

// What the communicators of one set share.
struct Hub {
  explicit Hub(int processes)
      : mailboxes(static_cast<size_t>(processes)), next_child(static_cast<size_t>(processes)),
        gather(static_cast<size_t>(processes)), gathered(static_cast<size_t>(processes)) {}

  int size() const { return static_cast<int>(mailboxes.size()); }

  std::vector<Mailbox> mailboxes;

  std::mutex mutex;
  std::condition_variable changed;
  // Duplicates: the n-th call of every rank names the same child.
  std::vector<int> next_child;
  std::map<int, std::shared_ptr<Hub>> children;
  // AllGather: contributions of the round that is being filled, nothing from who has not come or has given
  // up, and the last full one.
  std::vector<std::optional<std::string>> gather;
  std::vector<std::string> gathered;
  uint64_t round = 0;

  // Ranks that the round misses.
  std::vector<int> Missing() const {
    std::vector<int> missing;
    for (int rank = 0; rank < size(); ++rank) {
      if (!gather[static_cast<size_t>(rank)]) missing.push_back(rank);
    }
    return missing;
  }
};

class InProcessCommunicator : public Communicator {
 public:
  InProcessCommunicator(std::shared_ptr<Hub> hub, int rank) : hub_(std::move(hub)), rank_(rank) {}

  std::string_view transport() const override { return "in-process"; }
  int rank() const override { return rank_; }
  int size() const override { return hub_->size(); }

  void Send(int to, std::span<const std::byte> head, std::span<const std::byte> body,
            std::shared_ptr<void> keep_alive) override {
    SYNCBN_CHECK(to >= 0 && to < size()) << "send to rank " << to << " of " << size();
    SYNCBN_CHECK_LE(head.size(), kMaxHeadBytes);
    Message message{.from = rank_, .head_bytes = head.size()};
    std::memcpy(message.head.data(), head.data(), head.size());
    if (body.size() <= kCopiedBytes) {
      message.copied.assign(body.begin(), body.end());
      message.body = message.copied;
    } else {
      message.body = body;
      message.keep_alive = std::move(keep_alive);
    }
    Mailbox& mailbox = BoxOf(to);
    {
      std::lock_guard lock(mailbox.mutex);
      mailbox.messages.push_back(std::move(message));
    }
    mailbox.arrived.notify_one();
  }

  bool Progress(MessageHandler& handler, IfBusy if_busy) override {
    Mailbox& mailbox = BoxOf(rank_);
    std::unique_lock delivery(mailbox.delivery, std::defer_lock);
    if (if_busy == IfBusy::kWait) {
      delivery.lock();
    } else if (!delivery.try_lock()) {
      return false;
    }
    bool any = false;
    while (true) {
      Message message;
      {
        std::lock_guard lock(mailbox.mutex);
        if (mailbox.messages.empty()) return any;
        message = std::move(mailbox.messages.front());
        mailbox.messages.pop_front();
      }
      any = true;
      const ReceiveBuffer buffer = handler.OnHead(
          message.from, std::span(message.head).first(message.head_bytes), message.body.size());
      if (!message.body.empty()) {
        std::memcpy(buffer.memory, message.body.data(), message.body.size());
      }
      handler.OnBody(message.from, buffer);
    }
  }

  void Idle(int polls) override {
    // Another thread of this rank may be what the caller waits for, hence the short limit.
    Mailbox& mailbox = BoxOf(rank_);
    std::unique_lock lock(mailbox.mutex);
    mailbox.arrived.wait_for(lock, std::chrono::microseconds(std::min(500, 20 * polls)),
                             [&] { return !mailbox.messages.empty(); });
  }

  bool Sending() override { return false; }

  std::vector<std::string> AllGather(std::string_view mine,
                                     std::chrono::milliseconds timeout) override {
    std::unique_lock lock(hub_->mutex);
    const uint64_t round = hub_->round;
    std::optional<std::string>& own = hub_->gather[static_cast<size_t>(rank_)];
    SYNCBN_CHECK(!own) << "rank " << rank_ << " joins an exchange twice";
    own = mine;
    if (hub_->Missing().empty()) {
      for (size_t rank = 0; rank < hub_->gather.size(); ++rank) {
        hub_->gathered[rank] = *std::exchange(hub_->gather[rank], std::nullopt);
      }
      ++hub_->round;
      hub_->changed.notify_all();
      return hub_->gathered;
    }
    if (!hub_->changed.wait_for(lock, timeout, [&] { return hub_->round != round; })) {
      // Else the next exchange would take this part for one of its own.
      own.reset();
      std::vector<std::string> missing;
      for (const int rank : hub_->Missing()) {
        if (rank != rank_) missing.push_back(std::to_string(rank));
      }
      throw Error(ErrorCode::kDeadlineExceeded,
                  "rank " + std::to_string(rank_) + " waited " + std::to_string(timeout.count()) +
                      " ms for " + std::to_string(missing.size()) +
                      " other ranks to join an exchange: " + Join(missing, ", "));
    }
    return hub_->gathered;
  }

  std::unique_ptr<Communicator> Duplicate() override {
    std::lock_guard lock(hub_->mutex);
    const int index = hub_->next_child[static_cast<size_t>(rank_)]++;
    std::shared_ptr<Hub>& child = hub_->children[index];
    if (!child) child = std::make_shared<Hub>(size());
    return std::make_unique<InProcessCommunicator>(child, rank_);
  }

  std::unique_ptr<NativeCollectives> MakeNative(const std::vector<std::vector<int>>&) override {
    throw Error(ErrorCode::kUnimplemented,
                "reduction: native needs a library's all-reduce, and the in-process transport has none: "
                "start the run with mpirun, or use reduction: tree");
  }

  [[noreturn]] void Abort(int exit_code) override { std::_Exit(exit_code); }

 private:
  Mailbox& BoxOf(int rank) { return hub_->mailboxes[static_cast<size_t>(rank)]; }

  const std::shared_ptr<Hub> hub_;
  const int rank_;
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> MakeInProcessCommunicators(int processes) {
  const auto hub = std::make_shared<Hub>(processes);
  std::vector<std::unique_ptr<Communicator>> result;
  for (int rank = 0; rank < processes; ++rank) {
    result.push_back(std::make_unique<InProcessCommunicator>(hub, rank));
  }
  return result;
}

}  // namespace syncbn::comm
