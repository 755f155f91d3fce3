// A transport: moves bytes between the processes of a run, knows nothing of what they mean.
//
// A message is a small head and a body of any length. It is delivered to whoever drives Progress, head
// first, without having been asked for: the receiver says where the body goes. So a message that nobody
// expects can be named in an error, where a receive posted for a tag would wait for ever. Between two
// processes heads arrive in the order in which they were sent.
//
// Thread-safe. Nothing moves by itself: somebody must call Progress (the reducer's waiting threads do).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace syncbn::comm {

class NativeCollectives;

// Where the body of a message goes.
struct ReceiveBuffer {
  std::byte* memory = nullptr;
  // Keeps the memory alive until the body is there, and tells OnBody what this was.
  std::shared_ptr<void> owner;
  uint64_t token = 0;
};

// Receives messages; called from inside Progress, one call at a time. Must be short, and must not call the
// communicator.
class MessageHandler {
 public:
  virtual ~MessageHandler() = default;
  // A message has begun to arrive. Returns memory for exactly `body_bytes` (anything if 0).
  virtual ReceiveBuffer OnHead(int from, std::span<const std::byte> head, size_t body_bytes) = 0;
  // Its body is complete (also called when it is empty).
  virtual void OnBody(int from, const ReceiveBuffer& buffer) = 0;
};

class Communicator {
 public:
  static constexpr size_t kMaxHeadBytes = 192;
  // Bodies up to this size are copied before Send returns and arrive together with their head.
  static constexpr size_t kCopiedBytes = 16384;
  static constexpr std::chrono::milliseconds kDefaultTimeout{600'000};

  virtual ~Communicator() = default;

  // "in-process", "mpi"
  virtual std::string_view transport() const = 0;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  // Does not block. A body above kCopiedBytes is read until the last reference to `keep_alive` is
  // dropped, and must not change meanwhile.
  virtual void Send(int to, std::span<const std::byte> head, std::span<const std::byte> body,
                    std::shared_ptr<void> keep_alive) = 0;

  enum class IfBusy { kWait, kReturn };
  // Moves data and delivers what has arrived; returns whether anything happened. If another thread is
  // at it: waits for its turn, or returns false. Throws UNAVAILABLE when the transport fails.
  virtual bool Progress(MessageHandler& handler, IfBusy if_busy) = 0;
  // Gives the core away for a moment: called after the `polls`-th fruitless Progress in a row.
  virtual void Idle(int polls) = 0;
  // True while bodies handed to Send are still being read: they need Progress of this process until
  // then.
  virtual bool Sending() = 0;

  // -- Collective: every process calls the same of these in the same order ----------------------------
  // What each process gave, by rank; sleeps until all have. Throws DEADLINE_EXCEEDED: this process has then
  // left the exchange (in-process), or must make no further one (MPI, which cannot take a part back).
  virtual std::vector<std::string> AllGather(std::string_view mine,
                                             std::chrono::milliseconds timeout) = 0;
  std::vector<std::string> AllGather(std::string_view mine) { return AllGather(mine, timeout_); }
  // For exchanges without a timeout of their own. Not thread-safe.
  void SetTimeout(std::chrono::milliseconds timeout) { timeout_ = timeout; }
  std::string Broadcast(int root, std::string_view text) {
    return AllGather(rank() == root ? text : std::string_view())[static_cast<size_t>(root)];
  }
  void Barrier() { AllGather({}); }
  // A communicator of the same processes whose messages do not mix with this one's. Does not wait for the
  // others. Bodies that are being sent when it is destroyed are kept until the end of the process.
  virtual std::unique_ptr<Communicator> Duplicate() = 0;
  // The library's own all-reduce among each of these sets of ranks (ascending). Throws UNIMPLEMENTED when
  // the transport has none.
  virtual std::unique_ptr<NativeCollectives> MakeNative(
      const std::vector<std::vector<int>>& rank_sets) = 0;

  // Ends all processes of the run with this exit code, without a word: the caller has said why.
  [[noreturn]] virtual void Abort(int exit_code) = 0;

 private:
  std::chrono::milliseconds timeout_ = kDefaultTimeout;
};

}  // namespace syncbn::comm
