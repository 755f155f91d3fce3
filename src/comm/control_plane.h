// The control plane: what processes tell each other beside data. Heartbeats with the state of their
// replicas, the first failure, and that they have finished.
//
// Has no thread of its own and is driven by the reducer that owns it.
#pragma once

#include <memory>
#include <vector>

#include "comm/failure.h"
#include "comm/watchdog.h"
#include "comm/wire.h"

namespace syncbn::comm {

// Thread-safe.
class ControlPlane {
 public:
  ControlPlane(Communicator& communicator, const ReplicaMap& map, Watchdog& watchdog,
               Failure& failure);

  // For messages with head.is_control(); as in MessageHandler.
  ReceiveBuffer OnHead(int from, const MessageHead& head, size_t body_bytes);
  void OnBody(int from, const ReceiveBuffer& buffer);

  void SendHeartbeats();
  // Tells all others of our failure, once.
  void SpreadFailure(const FailureCause& cause);
  void SendFinished();
  // Every other process has said that it has finished.
  bool AllFinished() const;

 private:
  struct Incoming;
  void TakeHeartbeat(int from, std::span<const std::byte> body);
  void SendToAll(MessageKind kind, std::shared_ptr<std::vector<std::byte>> body);

  Communicator& communicator_;
  const ReplicaMap map_;
  Watchdog& watchdog_;
  Failure& failure_;
};

}  // namespace syncbn::comm
