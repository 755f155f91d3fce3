#include "coordinator/control/rank_monitor.h"

#include <algorithm>

#include "base/activity.h"
#include "base/ranges_text.h"
#include "base/text.h"
#include "coordinator/api_error.h"
#include "coordinator/job/job_record.h"

namespace syncbn::coordinator {
namespace {

std::string Ranks(const std::vector<int>& ranks) {
  return (ranks.size() == 1 ? "rank " : "ranks ") + RangesText(ranks);
}

std::string Duration(MonotonicTime::duration time) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(time).count();
  return seconds >= 120 ? std::to_string(seconds / 60) + " min" : std::to_string(seconds) + " s";
}

}  // namespace

RankMonitorPolicy MonitorPolicyOf(const v1::Job& spec, const RankMonitorPolicy& defaults) {
  RankMonitorPolicy policy = defaults;
  if (spec.has_stall_timeout())
    policy.stall_after = std::max(policy.stall_after, 2 * FromProto(spec.stall_timeout()));
  return policy;
}

RankMonitor::RankMonitor(int processes, const RankMonitorPolicy& policy, MonotonicTime now)
    : policy_(policy), ranks_(static_cast<size_t>(processes)), last_progress_(now) {
  for (Rank& rank : ranks_) rank.heard = now;
}

void RankMonitor::CheckRank(int rank) const {
  if (rank < 0 || rank >= static_cast<int>(ranks_.size())) {
    ThrowFieldInvalid(
        "rank.rank",
        "rank.rank is " + std::to_string(rank) + ", but the attempt has " +
            Plural(static_cast<long long>(ranks_.size()), "rank") +
            (ranks_.size() == 1 ? ": 0" : ": 0 to " + std::to_string(ranks_.size() - 1)));
  }
}

RankMonitor::Rank& RankMonitor::At(int rank) {
  CheckRank(rank);
  return ranks_[static_cast<size_t>(rank)];
}

void RankMonitor::Register(int rank, const std::string& host, MonotonicTime now) {
  Rank& one = At(rank);
  // Starting up is progress; the same rank registering anew, after a restart of the coordinator, is
  // not.
  if (!one.registered) last_progress_ = now;
  one.registered = true;
  one.host = host;
  one.heard = now;
  activity_.reset();
}

void RankMonitor::Heartbeat(int rank, const RankHeartbeat& heartbeat, MonotonicTime now) {
  Rank& one = At(rank);
  one.heard = now;
  const bool moved = !one.newest || heartbeat.progress > one.newest->progress ||
                     heartbeat.reduction > one.newest->reduction ||
                     heartbeat.step > one.newest->step;
  if (moved) last_progress_ = now;
  one.newest = heartbeat;
  activity_.reset();
}

void RankMonitor::Exited(int rank, MonotonicTime now) {
  Rank& one = At(rank);
  one.exited = true;
  one.heard = now;
}

void RankMonitor::Saw(const std::optional<RankActivity>& activity, MonotonicTime now) {
  if (activity != activity_) last_activity_ = now;
  activity_ = activity;
  last_look_ = now;
}

void RankMonitor::Excuse(MonotonicTime::duration time, MonotonicTime now) {
  // Who has spoken since is as new as that.
  auto move = [&](MonotonicTime& when) { when = std::min(now, when + time); };
  for (Rank& rank : ranks_) move(rank.heard);
  move(last_progress_);
  move(last_activity_);
  move(last_look_);
}

bool RankMonitor::IsRegistered(int rank) const {
  CheckRank(rank);
  return ranks_[static_cast<size_t>(rank)].registered;
}

bool RankMonitor::AllRegistered() const {
  return Missing().empty();
}

std::vector<int> RankMonitor::Missing() const {
  std::vector<int> missing;
  for (size_t i = 0; i < ranks_.size(); ++i) {
    if (!ranks_[i].registered) missing.push_back(static_cast<int>(i));
  }
  return missing;
}

MonotonicTime RankMonitor::LastHeard() const {
  MonotonicTime latest = ranks_[0].heard;
  for (const Rank& rank : ranks_) latest = std::max(latest, rank.heard);
  return latest;
}

std::optional<RankHeartbeat> RankMonitor::Slowest() const {
  std::optional<RankHeartbeat> slowest;
  for (const Rank& rank : ranks_) {
    if (!rank.newest) continue;
    if (!slowest || rank.newest->step < slowest->step) slowest = rank.newest;
  }
  return slowest;
}

RankMonitor::Assessment RankMonitor::Assess(MonotonicTime now) const {
  Assessment assessment;
  bool any_heard = false, all_exited = true;
  for (size_t i = 0; i < ranks_.size(); ++i) {
    if (ranks_[i].exited) continue;
    all_exited = false;
    if (now - ranks_[i].heard >= policy_.stale_after) {
      assessment.silent.push_back(static_cast<int>(i));
    } else {
      any_heard = true;
    }
  }
  if (!assessment.silent.empty()) assessment.liveness = Liveness::kStale;
  if (!any_heard && !all_exited && now - LastHeard() >= policy_.unreachable_after) {
    assessment.liveness = Liveness::kUnreachable;
  }
  assessment.nobody_heard = !any_heard && !all_exited;
  if (any_heard) {
    const int patience = WaitsForOutside(assessment.silent) ? kOutsidePatience : 1;
    if (now - last_progress_ >= patience * policy_.stall_after)
      assessment.stall = MakeStall(assessment.silent, now);
  } else {
    assessment.stall = StallInSilence(assessment.silent, all_exited, now);
  }
  return assessment;
}

std::optional<Failure> RankMonitor::StallInSilence(const std::vector<int>& silent, bool all_exited,
                                                   MonotonicTime now) const {
  const MonotonicTime::duration silence = now - LastHeard();
  Failure failure{.failure_class = FailureClass::kStall};
  if (all_exited) {
    if (silence < policy_.leave_after) return std::nullopt;
    failure.message = "all ranks reported their end " + Duration(silence) +
                      " ago, and their launcher has not ended";
    return failure;
  }
  if (silence < policy_.stall_after) return std::nullopt;
  const Rank& first = ranks_[static_cast<size_t>(silent[0])];
  failure.rank = silent[0];
  failure.ranks = silent;
  failure.host = first.host;
  failure.message = "no progress for " + Duration(silence) + ": " + Ranks(silent) +
                    (silent.size() == 1 && !first.host.empty() ? " on " + first.host : "") +
                    (silent.size() == 1 ? " has" : " have") + " not been heard for " +
                    Duration(now - first.heard);
  if (silent.size() < ranks_.size()) {
    failure.message += "; the others have reported their end";
    return failure;
  }
  // A job that trains is never ended for what may be the network's fault.
  const auto idle = last_look_ - last_activity_;
  if (!activity_) return std::nullopt;
  if (activity_->written) {
    // One that evaluates leaves nothing on disk for a while.
    if (idle < kOutsidePatience * policy_.stall_after) return std::nullopt;
    failure.message +=
        "; their processes cannot be looked at, and they have left nothing on disk for " +
        Duration(idle);
    return failure;
  }
  if (idle < policy_.stall_after / 2) return std::nullopt;
  failure.message += activity_->ranks == 0
                         ? "; no process of theirs is there"
                         : "; the processors have done nothing for them for " + Duration(idle);
  return failure;
}

bool RankMonitor::WaitsForOutside(const std::vector<int>& silent) const {
  // A silent rank holds up the others more surely than a disk does.
  if (!silent.empty()) return false;
  return std::ranges::any_of(ranks_, [](const Rank& rank) {
    if (rank.exited || !rank.newest) return false;
    const std::optional<Activity> activity = ActivityNamed(rank.newest->phase);
    return activity && AwaitedBy(*activity) == Awaits::kOutside;
  });
}

Failure RankMonitor::MakeStall(const std::vector<int>& silent, MonotonicTime now) const {
  Failure failure{.failure_class = FailureClass::kStall};
  failure.message = "no progress for " + Duration(now - last_progress_) + ": ";
  // Among the ranks that speak, the smallest reduction is where the others wait.
  int64_t smallest = INT64_MAX;
  auto speaks = [&](size_t i) {
    return !ranks_[i].exited && ranks_[i].newest &&
           std::find(silent.begin(), silent.end(), static_cast<int>(i)) == silent.end();
  };
  for (size_t i = 0; i < ranks_.size(); ++i) {
    if (speaks(i)) smallest = std::min(smallest, ranks_[i].newest->reduction);
  }
  std::vector<int> behind, ahead;
  std::string where;
  // Where they all stand, and what the first of those who hold it up says of itself.
  auto last_seen = [&](int rank) {
    const std::optional<RankHeartbeat>& newest = ranks_[static_cast<size_t>(rank)].newest;
    if (newest) failure.activity = newest->phase;
  };
  for (size_t i = 0; i < ranks_.size(); ++i) {
    if (!speaks(i)) continue;
    if (ranks_[i].newest->reduction > smallest) {
      ahead.push_back(static_cast<int>(i));
      continue;
    }
    behind.push_back(static_cast<int>(i));
    const RankHeartbeat& newest = *ranks_[i].newest;
    failure.operation = newest.reduction_name;
    where = "reduction " + std::to_string(newest.reduction) +
            (newest.reduction_name.empty() ? "" : " (" + newest.reduction_name + ")") + ", step " +
            std::to_string(newest.step) + ", phase " + newest.phase;
  }
  // A silent rank holds up the others more surely than one that says where it waits.
  failure.ranks = silent.empty() ? behind : silent;
  if (!silent.empty()) {
    const Rank& first = ranks_[static_cast<size_t>(silent[0])];
    failure.rank = silent[0];
    failure.host = first.host;
    failure.message += Ranks(silent) +
                       (silent.size() == 1 && !first.host.empty() ? " on " + first.host : "") +
                       (silent.size() == 1 ? " has" : " have") + " not been heard for " +
                       Duration(now - first.heard);
    if (!where.empty()) failure.message += "; the others stand at " + where;
    last_seen(silent[0]);
    return failure;
  }
  if (!behind.empty()) {
    failure.rank = behind[0];
    last_seen(behind[0]);
    failure.host = ranks_[static_cast<size_t>(behind[0])].host;
    failure.message += Ranks(behind) + (behind.size() == 1 ? " stands" : " stand") + " at " + where;
    if (!ahead.empty())
      failure.message +=
          ", where " + Ranks(ahead) + (ahead.size() == 1 ? " waits" : " wait") + " for it";
    return failure;
  }
  failure.message += "no rank has said where it is";
  return failure;
}

}  // namespace syncbn::coordinator
