#include "comm/control_plane.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

namespace syncbn::comm {
namespace {

struct HeartbeatHead {
  std::array<char, 64> host{};
  int64_t replicas = 0;
};

template <typename T>
void Append(std::vector<std::byte>& to, const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  const auto bytes = std::as_bytes(std::span(&value, 1));
  to.insert(to.end(), bytes.begin(), bytes.end());
}

template <typename T>
T Take(std::span<const std::byte>& from) {
  SYNCBN_CHECK_GE(from.size(), sizeof(T)) << "control message";
  T value;
  std::memcpy(&value, from.data(), sizeof value);
  from = from.subspan(sizeof value);
  return value;
}

}  // namespace

struct ControlPlane::Incoming {
  MessageKind kind;
  std::vector<std::byte> body;
};

ControlPlane::ControlPlane(Communicator& communicator, const ReplicaMap& map, Watchdog& watchdog,
                           Failure& failure)
    : communicator_(communicator), map_(map), watchdog_(watchdog), failure_(failure) {}

Landing ControlPlane::OnHead(int from, const MessageHead& head, size_t body_bytes) {
  auto incoming = std::make_shared<Incoming>(Incoming{head.kind, std::vector<std::byte>(body_bytes)});
  std::byte* const memory = incoming->body.data();
  return {.memory = memory, .owner = std::move(incoming)};
}

void ControlPlane::OnBody(int from, const Landing& landing) {
  const auto& incoming = *static_cast<const Incoming*>(landing.owner.get());
  std::span<const std::byte> body = incoming.body;
  if (incoming.kind == MessageKind::kFinished) {
    watchdog_.SetFinished(from);
  } else if (incoming.kind == MessageKind::kFailure) {
    const auto code = Take<ErrorCode>(body);
    failure_.Set(code, std::string(reinterpret_cast<const char*>(body.data()), body.size()));
  } else {
    const auto head = Take<HeartbeatHead>(body);
    watchdog_.SetHost(from, std::string(head.host.data(), ::strnlen(head.host.data(), 64)));
    for (int64_t i = 0; i < head.replicas; ++i) {
      const auto status = Take<ReplicaStatus>(body);
      if (map_.ProcessOf(status.replica) == from) watchdog_.board().Write(status);
    }
  }
}

void ControlPlane::SendToAll(MessageKind kind, std::shared_ptr<std::vector<std::byte>> body) {
  const MessageHead head{.kind = kind};
  for (int rank = 0; rank < communicator_.size(); ++rank) {
    if (rank != communicator_.rank()) communicator_.Send(rank, head.Bytes(), *body, body);
  }
}

void ControlPlane::SendHeartbeats() {
  auto body = std::make_shared<std::vector<std::byte>>();
  const Group local = map_.OfProcess(communicator_.rank());
  HeartbeatHead head{.replicas = local.size()};
  std::memcpy(head.host.data(), watchdog_.host().data(),
              std::min(watchdog_.host().size(), head.host.size() - 1));
  Append(*body, head);
  for (int replica = local.begin; replica < local.end; ++replica) {
    Append(*body, watchdog_.board().Read(replica));
  }
  SendToAll(MessageKind::kHeartbeat, std::move(body));
}

void ControlPlane::SpreadFailure(const Error& error) {
  auto body = std::make_shared<std::vector<std::byte>>();
  Append(*body, error.code());
  const auto text = std::as_bytes(std::span(error.message()));
  body->insert(body->end(), text.begin(), text.end());
  SendToAll(MessageKind::kFailure, std::move(body));
}

void ControlPlane::SendFinished() {
  SendToAll(MessageKind::kFinished, std::make_shared<std::vector<std::byte>>());
}

bool ControlPlane::AllFinished() const {
  for (int rank = 0; rank < communicator_.size(); ++rank) {
    if (rank != communicator_.rank() && !watchdog_.finished(rank)) return false;
  }
  return true;
}

}  // namespace syncbn::comm
