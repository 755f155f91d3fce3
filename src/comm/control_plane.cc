#include "comm/control_plane.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#include "base/unknown_value.h"

namespace syncbn::comm {
namespace {

struct HeartbeatHead {
  std::array<char, 64> host{};
  ProcessStatus process;
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

void AppendText(std::vector<std::byte>& to, std::string_view text) {
  Append(to, static_cast<uint64_t>(text.size()));
  const auto bytes = std::as_bytes(std::span(text));
  to.insert(to.end(), bytes.begin(), bytes.end());
}

std::string TakeText(std::span<const std::byte>& from) {
  const auto size = Take<uint64_t>(from);
  SYNCBN_CHECK_GE(from.size(), size) << "text of a control message";
  std::string text(reinterpret_cast<const char*>(from.data()), size);
  from = from.subspan(size);
  return text;
}

void AppendCause(std::vector<std::byte>& to, const FailureCause& cause) {
  Append(to, cause.code);
  AppendText(to, cause.message);
  Append(to, static_cast<int32_t>(cause.stall.has_value()));
  if (!cause.stall) return;
  for (const std::string& text : {cause.stall->waited_for, cause.stall->activity, cause.stall->layer}) {
    AppendText(to, text);
  }
  Append(to, static_cast<uint64_t>(cause.stall->missing_ranks.size()));
  for (const int rank : cause.stall->missing_ranks) Append(to, rank);
}

FailureCause TakeCause(std::span<const std::byte>& from) {
  FailureCause cause{.code = Take<ErrorCode>(from)};
  cause.message = TakeText(from);
  if (Take<int32_t>(from) == 0) return cause;
  Stall& stall = cause.stall.emplace(Stall{.message = cause.message});
  for (std::string* text : {&stall.waited_for, &stall.activity, &stall.layer}) *text = TakeText(from);
  stall.missing_ranks.resize(Take<uint64_t>(from));
  for (int& rank : stall.missing_ranks) rank = Take<int>(from);
  return cause;
}

}  // namespace

struct ControlPlane::Incoming {
  MessageKind kind;
  std::vector<std::byte> body;
};

ControlPlane::ControlPlane(Communicator& communicator, const ReplicaMap& map, Watchdog& watchdog,
                           Failure& failure)
    : communicator_(communicator), map_(map), watchdog_(watchdog), failure_(failure) {}

ReceiveBuffer ControlPlane::OnHead(int from, const MessageHead& head, size_t body_bytes) {
  auto incoming = std::make_shared<Incoming>(Incoming{head.kind, std::vector<std::byte>(body_bytes)});
  std::byte* const memory = incoming->body.data();
  return {.memory = memory, .owner = std::move(incoming)};
}

void ControlPlane::OnBody(int from, const ReceiveBuffer& buffer) {
  const auto& incoming = *static_cast<const Incoming*>(buffer.owner.get());
  std::span<const std::byte> body = incoming.body;
  switch (incoming.kind) {
    case MessageKind::kFinished: return watchdog_.SetFinished(from);
    case MessageKind::kFailure:
      failure_.Set(TakeCause(body), Failure::Origin::kElsewhere);
      return;
    case MessageKind::kHeartbeat: return TakeHeartbeat(from, body);
    case MessageKind::kData:
    case MessageKind::kRollCall:
    case MessageKind::kDeviceWord:
      break;
  }
  ThrowUnknownValue("control message", static_cast<int>(incoming.kind));
}

void ControlPlane::TakeHeartbeat(int from, std::span<const std::byte> body) {
  const auto head = Take<HeartbeatHead>(body);
  watchdog_.SetHost(from, std::string(head.host.data(), ::strnlen(head.host.data(), 64)));
  if (head.process.rank == from) watchdog_.board().WriteProcess(head.process);
  for (int64_t i = 0; i < head.replicas; ++i) {
    const auto status = Take<ReplicaStatus>(body);
    if (map_.ProcessOf(status.replica) == from) watchdog_.board().Write(status);
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
  HeartbeatHead head{.process = watchdog_.board().ReadProcess(communicator_.rank()),
                     .replicas = local.size()};
  std::memcpy(head.host.data(), watchdog_.host().data(),
              std::min(watchdog_.host().size(), head.host.size() - 1));
  Append(*body, head);
  for (int replica = local.begin; replica < local.end; ++replica) {
    Append(*body, watchdog_.board().Read(replica));
  }
  SendToAll(MessageKind::kHeartbeat, std::move(body));
}

void ControlPlane::SpreadFailure(const FailureCause& cause) {
  auto body = std::make_shared<std::vector<std::byte>>();
  AppendCause(*body, cause);
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
