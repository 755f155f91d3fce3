// What processes send each other: the head of every message.
#pragma once

#include <cstring>
#include <span>

#include "base/check.h"
#include "comm/communicator.h"
#include "comm/signature.h"

namespace syncbn::comm {

enum class MessageKind : int32_t {
  // A block of an exchange.
  kData,
  // What a process launches (roll_call.h). Without a body.
  kRollCall,
  // How far a process's device has come (device_words.h). Without a body.
  kDeviceWord,
  // Control.
  kHeartbeat,
  kFailure,
  kFinished,
};

// Trivially copyable: is sent as it is (processes of a run are the same binary, see Handshake).
struct MessageHead {
  MessageKind kind = MessageKind::kHeartbeat;
  // kData: of which series and round, which of the sender's blocks for this receiver.
  int32_t group_begin = 0, group_end = 0;
  int32_t round = 0;
  int32_t index = 0;
  int64_t sequence = 0;
  Signature signature;

  bool is_control() const { return kind >= MessageKind::kHeartbeat; }
  Group group() const { return {group_begin, group_end}; }

  std::span<const std::byte> Bytes() const { return std::as_bytes(std::span(this, 1)); }
  static MessageHead Of(std::span<const std::byte> bytes) {
    SYNCBN_CHECK_EQ(bytes.size(), sizeof(MessageHead)) << "head of a message";
    MessageHead head;
    std::memcpy(&head, bytes.data(), sizeof head);
    return head;
  }
};
static_assert(sizeof(MessageHead) <= Communicator::kMaxHeadBytes);

}  // namespace syncbn::comm
