#include "comm/nccl/join_words.h"

#include "base/error.h"
#include "base/exception_text.h"

namespace syncbn::comm {

void JoinWords::Tell(const std::exception_ptr& failure) {
  if (heard_) return;  // all hear it of the one that it comes from
  // A body that is copied: nobody has to stay for it.
  const std::string cause = ExceptionText(failure).substr(0, Communicator::kCopiedBytes);
  constexpr std::byte kHead{1};
  for (int rank = 0; rank < words_->size(); ++rank) {
    if (rank == words_->rank()) continue;
    words_->Send(rank, std::span(&kHead, 1), std::as_bytes(std::span(cause)), nullptr);
  }
}

void JoinWords::Listen() {
  words_->Progress(*this, Communicator::IfBusy::kWait);
  if (heard_) throw Error(ErrorCode::kAborted, *heard_);
}

ReceiveBuffer JoinWords::OnHead(int, std::span<const std::byte>, size_t body_bytes) {
  auto text = std::make_shared<std::string>(body_bytes, ' ');
  auto* const memory = reinterpret_cast<std::byte*>(text->data());
  return {.memory = memory, .owner = std::move(text)};
}

void JoinWords::OnBody(int from, const ReceiveBuffer& buffer) {
  if (heard_) return;
  heard_ = "rank " + std::to_string(from) +
           " could not use NCCL: " + *static_cast<const std::string*>(buffer.owner.get());
}

}  // namespace syncbn::comm
