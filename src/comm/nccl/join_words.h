// What processes tell each other while they join a communicator of NCCL: one that cannot says so at
// once, over messages. NCCL does not notice that it does not come, and the others would wait for it
// as long as they may.
#pragma once

#include <exception>
#include <memory>
#include <optional>
#include <string>

#include "comm/communicator.h"

namespace syncbn::comm {

class JoinWords final : private MessageHandler {
 public:
  // Collective (duplicates the communicator).
  explicit JoinWords(Communicator& control) : words_(control.Duplicate()) {}

  // This process cannot join. Does not wait.
  void Tell(const std::exception_ptr& failure);
  // Throws ABORTED, "rank 3 could not use NCCL: <cause>", where another process has told that.
  void Listen();

 private:
  ReceiveBuffer OnHead(int from, std::span<const std::byte> head, size_t body_bytes) override;
  void OnBody(int from, const ReceiveBuffer& buffer) override;

  const std::unique_ptr<Communicator> words_;
  std::optional<std::string> heard_;
};

}  // namespace syncbn::comm
