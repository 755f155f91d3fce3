#include "comm/watchdog.h"

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <numeric>
#include <utility>

#include "base/unknown_value.h"

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
      board_(map, rank),
      peers_(std::make_unique<Peer[]>(static_cast<size_t>(map.processes()))),
      last_(clock.Monotonic()),
      seen_(static_cast<size_t>(map.replicas())),
      seen_processes_(static_cast<size_t>(map.processes())) {}

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
    seen_[static_cast<size_t>(replica)].Look(board_.Changes(replica), now_);
  }
  for (int rank = 0; rank < map_.processes(); ++rank) {
    seen_processes_[static_cast<size_t>(rank)].Look(board_.ReadProcess(rank).changes, now_);
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

std::string Watchdog::DescribeRank(int rank) const {
  const std::string& host = rank == rank_ ? host_ : peers_[static_cast<size_t>(rank)].host;
  return "rank " + std::to_string(rank) + (host.empty() ? "" : " on " + host);
}

nanoseconds Watchdog::StillFor(int replica, const ReplicaStatus& status,
                               const ProcessStatus& process) const {
  const nanoseconds alone = StillSince(seen_[static_cast<size_t>(replica)], status.changes);
  if (AwaitedBy(status.activity) != Awaits::kProcess) return alone;
  const auto rank = static_cast<size_t>(map_.ProcessOf(replica));
  return std::min(alone, StillSince(seen_processes_[rank], process.changes));
}

nanoseconds Watchdog::ProcessStillFor(int rank) const {
  nanoseconds still =
      StillSince(seen_processes_[static_cast<size_t>(rank)], board_.ReadProcess(rank).changes);
  const Group replicas = map_.OfProcess(rank);
  for (int replica = replicas.begin; replica < replicas.end; ++replica) {
    still =
        std::min(still, StillSince(seen_[static_cast<size_t>(replica)], board_.Changes(replica)));
  }
  return still;
}

nanoseconds Watchdog::StillSince(const Seen& seen, uint64_t changes) const {
  return changes == seen.changes ? now_ - seen.moved : nanoseconds(0);
}

std::string Watchdog::Account(const std::vector<int>& replicas) const {
  std::lock_guard lock(mutex_);
  std::string text;
  int last_rank = -1;
  for (const int replica : replicas) {
    const int rank = map_.ProcessOf(replica);
    if (std::exchange(last_rank, rank) == rank) continue;
    text +=
        (text.empty() ? "" : "; ") + DescribeRank(rank) + ": " + board_.Read(replica).Describe();
  }
  return text;
}

Watchdog::Standing Watchdog::Judge(int replica) const {
  const int rank = map_.ProcessOf(replica);
  if (rank != rank_) {
    const Peer& peer = peers_[static_cast<size_t>(rank)];
    if (peer.finished.load()) return Standing::kFinished;
    if (now_ - peer.heard >= stall_timeout_) return Standing::kSilent;
  }
  // Each read once: what it does is judged together with how long it has done so. One that has
  // waited for long and computes since a moment ago is not stalled.
  const ReplicaStatus status = board_.Read(replica);
  const ProcessStatus process = board_.ReadProcess(rank);
  if (StillFor(replica, status, process) < stall_timeout_) return Standing::kHopeful;
  Awaits awaits = AwaitedBy(status.activity);
  if (awaits == Awaits::kProcess) {
    awaits = process.in_round ? Awaits::kReplicas : AwaitedBy(process.activity);
  }
  switch (awaits) {
    case Awaits::kItself: return Standing::kStalled;
    case Awaits::kReplicas:
    case Awaits::kProcess: return Standing::kWaiting;
    case Awaits::kOutside:
      return ProcessStillFor(rank) < kOutsidePatience * stall_timeout_ ? Standing::kHopeful
                                                                       : Standing::kStalled;
  }
  ThrowUnknownValue("what an activity waits for", static_cast<int>(awaits));
}

std::vector<int> Watchdog::Those(const std::vector<int>& replicas, Standing standing) const {
  std::vector<int> result;
  std::ranges::copy_if(replicas, std::back_inserter(result),
                       [&](int replica) { return Judge(replica) == standing; });
  return result;
}

std::string Watchdog::Describe(const std::vector<int>& replicas) const {
  std::string text;
  int last_rank = -1;
  for (const int replica : replicas) {
    const int rank = map_.ProcessOf(replica);
    const bool new_rank = std::exchange(last_rank, rank) != rank;
    const ReplicaStatus status = board_.Read(replica);
    const std::string last_seen =
        "last seen: " + (status.changes == 0 ? "nothing" : status.Describe());
    const Standing standing = Judge(replica);
    if (standing == Standing::kFinished || standing == Standing::kSilent) {
      if (!new_rank) continue;
      const Peer& peer = peers_[static_cast<size_t>(rank)];
      text += "\n  " + DescribeRank(rank) +
              (standing == Standing::kFinished
                   ? " has finished; "
                   : " has not been heard of for " + Seconds(now_ - peer.heard) + "; ") +
              last_seen;
    } else if (AwaitedBy(status.activity) == Awaits::kProcess) {
      // What the process is at tells for all of its replicas.
      if (!new_rank) continue;
      text += "\n  " + DescribeRank(rank) + ": " + board_.ReadProcess(rank).Describe() +
              ", no progress for " + Seconds(ProcessStillFor(rank));
    } else {
      text += "\n  replica " + std::to_string(replica) + " (" + DescribeRank(rank) +
              "): " + status.Describe() + ", no progress for " +
              Seconds(StillFor(replica, status, board_.ReadProcess(rank)));
    }
  }
  return text;
}

Stall Watchdog::MakeStall(const WaitedFor& wait, std::string text,
                          const std::vector<int>& who) const {
  std::vector<int> culprits = who;
  std::ranges::sort(culprits);
  Stall stall{.message = std::move(text), .waited_for = wait.name};
  for (const int replica : culprits) {
    const int rank = map_.ProcessOf(replica);
    if (stall.missing_ranks.empty() || stall.missing_ranks.back() != rank) {
      stall.missing_ranks.push_back(rank);
    }
  }
  if (culprits.empty()) return stall;
  const ReplicaStatus first = board_.Read(culprits.front());
  const bool rests = AwaitedBy(first.activity) == Awaits::kProcess;
  stall.activity =
      NameOf(rests ? board_.ReadProcess(stall.missing_ranks.front()).activity : first.activity);
  if (first.activity == Activity::kCompute) stall.layer = first.Layer();
  return stall;
}

std::optional<Stall> Watchdog::Judge(const WaitedFor& wait) const {
  std::lock_guard lock(mutex_);
  const nanoseconds waited = now_ - wait.since;
  const std::string head = "waited " + Seconds(waited) + " for " + wait.what;
  if (const auto finished = Those(wait.missing, Standing::kFinished); !finished.empty()) {
    return MakeStall(wait,
                     head + ", which will not come: its replicas are not in step with the others" +
                         Describe(finished),
                     finished);
  }
  if (waited < stall_timeout_) return std::nullopt;
  const auto blame = [&](const std::vector<int>& among) -> std::optional<Stall> {
    std::vector<int> culprits = Those(among, Standing::kSilent);
    std::ranges::copy(Those(among, Standing::kStalled), std::back_inserter(culprits));
    std::ranges::sort(culprits);
    if (culprits.empty()) return std::nullopt;
    return MakeStall(wait, head + "; who is missing:" + Describe(culprits), culprits);
  };
  if (auto stall = blame(wait.missing)) return stall;
  // Whoever is missing waits for others itself: hopeless only if nobody at all moves.
  std::vector<int> everybody(static_cast<size_t>(map_.replicas()));
  std::iota(everybody.begin(), everybody.end(), 0);
  if (!Those(everybody, Standing::kHopeful).empty()) return std::nullopt;
  if (auto stall = blame(everybody)) return stall;
  return MakeStall(
      wait,
      head +
          (wait.on_devices
               ? "; nobody moves any more, and all have given their part: a GPU, or what is "
                 "between them, does not answer:"
               : "; nobody moves any more, replicas wait for different reductions:") +
          Describe(wait.missing),
      wait.missing);
}

}  // namespace syncbn::comm
