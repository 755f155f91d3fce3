#include "comm/watchdog.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "comm/signature.h"

namespace syncbn::comm {
namespace {

using std::chrono::nanoseconds;

std::string Seconds(nanoseconds time) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f s", std::chrono::duration<double>(time).count());
  return text;
}

}  // namespace

Watchdog::Watchdog(const ReplicaMap& map, int rank, std::string host, nanoseconds stall_timeout,
                   const Clock& clock)
    : map_(map),
      rank_(rank),
      host_(std::move(host)),
      stall_timeout_(stall_timeout),
      period_(std::clamp<nanoseconds>(stall_timeout / 8, std::chrono::milliseconds(5),
                                      std::chrono::seconds(1))),
      clock_(clock),
      board_(map.replicas()),
      peers_(std::make_unique<Peer[]>(static_cast<size_t>(map.processes()))),
      last_(clock.Monotonic()),
      seen_(static_cast<size_t>(map.replicas())) {}

void Watchdog::SetHost(int rank, std::string host) {
  std::lock_guard lock(mutex_);
  peers_[static_cast<size_t>(rank)].host = std::move(host);
}

nanoseconds Watchdog::Observe() {
  std::lock_guard lock(mutex_);
  const MonotonicTime time = clock_.Monotonic();
  // Hundreds of waiting threads may ask; looking at all replicas each time would be quadratic.
  if (time - last_ < period_ / 4) return now_;
  now_ += std::min<nanoseconds>(time - last_, 2 * period_);
  last_ = time;
  for (int replica = 0; replica < map_.replicas(); ++replica) {
    Seen& seen = seen_[static_cast<size_t>(replica)];
    const uint64_t changes = board_.Changes(replica);
    if (changes != seen.changes) seen = {changes, now_};
  }
  for (int rank = 0; rank < map_.processes(); ++rank) {
    Peer& peer = peers_[static_cast<size_t>(rank)];
    const uint64_t messages = peer.messages.load();
    if (messages != peer.seen || rank == rank_) {
      peer.seen = messages;
      peer.heard = now_;
    }
  }
  return now_;
}

nanoseconds Watchdog::Now() const {
  std::lock_guard lock(mutex_);
  return now_;
}

nanoseconds Watchdog::Silence(int rank) const {
  std::lock_guard lock(mutex_);
  return now_ - peers_[static_cast<size_t>(rank)].heard;
}

bool Watchdog::Quiet(int replica) const {
  return now_ - seen_[static_cast<size_t>(replica)].moved >= stall_timeout_;
}

std::string Watchdog::DescribeRank(int rank) const {
  const std::string& host = rank == rank_ ? host_ : peers_[static_cast<size_t>(rank)].host;
  return "rank " + std::to_string(rank) + (host.empty() ? "" : " on " + host);
}

std::string Watchdog::DescribeReplica(int replica) const {
  const Seen& seen = seen_[static_cast<size_t>(replica)];
  const ReplicaStatus status = board_.Read(replica);
  std::string text = "replica " + std::to_string(replica) + " (" +
                     DescribeRank(map_.ProcessOf(replica)) + "): ";
  if (status.changes == 0) return text + "has not reported anything yet";
  return text + status.Describe() + ", no progress for " + Seconds(now_ - seen.moved);
}

std::optional<std::string> Watchdog::Judge(const WaitedFor& wait) const {
  std::lock_guard lock(mutex_);
  const nanoseconds waited = now_ - wait.since;
  const std::string head = "waited " + Seconds(waited) + " for " + wait.what + ", reduction " +
                           std::to_string(wait.sequence) + " of " + comm::Describe(wait.group);
  std::string finished, silent;
  std::vector<int> blamed, waiting;
  int last_rank = -1;
  for (int replica : wait.missing) {
    const int rank = map_.ProcessOf(replica);
    const Peer& peer = peers_[static_cast<size_t>(rank)];
    const ReplicaStatus status = board_.Read(replica);
    const bool new_rank = std::exchange(last_rank, rank) != rank;
    if (rank != rank_ && peer.finished.load()) {
      if (new_rank) {
        finished += "\n  " + DescribeRank(rank) + " has finished; last seen: " + status.Describe();
      }
    } else if (rank != rank_ && now_ - peer.heard >= stall_timeout_) {
      if (new_rank) {
        silent += "\n  " + DescribeRank(rank) + " has not been heard of for " +
                  Seconds(now_ - peer.heard) + "; last seen: " +
                  (status.changes == 0 ? "nothing" : status.Describe());
      }
    } else if (Quiet(replica)) {
      (status.waiting != 0 ? waiting : blamed).push_back(replica);
    }
  }
  if (!finished.empty()) {
    return head + ", which will not come: its replicas are not in step with the others" + finished;
  }
  if (waited < stall_timeout_) return std::nullopt;
  if (!silent.empty() || !blamed.empty()) {
    std::string text = head + "; who is missing:" + silent;
    for (int replica : blamed) text += "\n  " + DescribeReplica(replica);
    return text;
  }
  // Everybody who is missing waits for something else: hopeless only if nobody at all moves.
  if (waiting.size() < wait.missing.size()) return std::nullopt;
  for (int replica = 0; replica < map_.replicas(); ++replica) {
    if (!Quiet(replica)) return std::nullopt;
  }
  std::string text = head + "; nobody moves any more, replicas wait for different reductions:";
  for (int replica : waiting) text += "\n  " + DescribeReplica(replica);
  return text;
}

}  // namespace syncbn::comm
