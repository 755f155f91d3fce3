#include "comm/progress_board.h"

#include <algorithm>
#include <cstring>

#include "base/text.h"
#include "comm/signature.h"

namespace syncbn::comm {
namespace {

template <size_t N>
void Copy(std::string_view text, std::array<char, N>& to) {
  const size_t kept = std::min(text.size(), N - 1);
  std::memcpy(to.data(), text.data(), kept);
  std::memset(to.data() + kept, 0, N - kept);
}

template <size_t N>
std::string_view View(const std::array<char, N>& text) {
  return {text.data(), ::strnlen(text.data(), N)};
}

}  // namespace

bool ReplicaStatus::WaitsFor(Group group, int64_t number) const {
  return activity == Activity::kReduction && group == Group{group_begin, group_end} &&
         sequence == number;
}

std::string_view ReplicaStatus::Layer() const { return View(layer); }

std::string ReplicaStatus::Describe() const {
  std::string text = step < 0 ? "before its first step" : "step " + std::to_string(step);
  if (activity == Activity::kCompute || activity == Activity::kReduction) {
    if (!View(phase).empty()) text += ", " + std::string(View(phase));
    if (!View(layer).empty()) text += ", " + std::string(View(layer));
  }
  switch (activity) {
    case Activity::kReduction:
      return text + ", waiting for '" + std::string(View(reduction)) + "' (reduction " +
             std::to_string(sequence) + " of " + comm::Describe(Group{group_begin, group_end}) + ")";
    case Activity::kTurn: return text + ", waiting for its turn";
    case Activity::kData: return text + ", waiting for data";
    default: return text;
  }
}

std::string ProcessStatus::Describe() const {
  return std::string(NameOf(activity)) + ", after " + Plural(steps, "step");
}

ProgressBoard::ProgressBoard(const ReplicaMap& map, int rank)
    : map_(map),
      rank_(rank),
      replicas_(std::make_unique<Entry<ReplicaStatus>[]>(static_cast<size_t>(map.replicas()))),
      processes_(std::make_unique<Entry<ProcessStatus>[]>(static_cast<size_t>(map.processes()))) {
  for (int replica = 0; replica < map.replicas(); ++replica) {
    replicas_[static_cast<size_t>(replica)].status.replica = replica;
  }
  for (int process = 0; process < map.processes(); ++process) {
    processes_[static_cast<size_t>(process)].status.rank = process;
  }
}

template <typename Change>
void ProgressBoard::Update(int replica, Change&& change) {
  auto& entry = replicas_[static_cast<size_t>(replica)];
  std::lock_guard lock(entry.mutex);
  ++entry.status.changes;
  change(entry.status);
}

void ProgressBoard::Report(int replica, int64_t step, std::string_view phase,
                           std::string_view layer) {
  Update(replica, [&](ReplicaStatus& status) {
    status.activity = Activity::kCompute;
    status.step = step;
    Copy(phase, status.phase);
    Copy(layer, status.layer);
  });
}

void ProgressBoard::Enter(int replica, int64_t step, Activity activity) {
  Update(replica, [&](ReplicaStatus& status) {
    status.activity = activity;
    status.step = step;
  });
}

void ProgressBoard::Touch(int replica) {
  Update(replica, [](ReplicaStatus&) {});
}

void ProgressBoard::Contribute(int replica) {
  Update(replica, [](ReplicaStatus& status) { ++status.reductions; });
}

void ProgressBoard::EnterWait(int replica, std::string_view reduction, Group group,
                              int64_t sequence) {
  Update(replica, [&](ReplicaStatus& status) {
    status.activity = Activity::kReduction;
    status.group_begin = group.begin;
    status.group_end = group.end;
    status.sequence = sequence;
    Copy(reduction, status.reduction);
  });
}

void ProgressBoard::LeaveWait(int replica) {
  Update(replica, [](ReplicaStatus& status) { status.activity = Activity::kCompute; });
}

void ProgressBoard::SetProcess(Activity activity, int64_t steps) {
  auto& entry = processes_[static_cast<size_t>(rank_)];
  std::lock_guard lock(entry.mutex);
  ++entry.status.changes;
  entry.status.activity = activity;
  entry.status.steps = steps;
}

void ProgressBoard::SetInRound(bool in_round) {
  auto& entry = processes_[static_cast<size_t>(rank_)];
  std::lock_guard lock(entry.mutex);
  ++entry.status.changes;
  entry.status.in_round = in_round;
}

ProcessActivity ProgressBoard::ReadActivity() const {
  const ProcessStatus process = ReadProcess(rank_);
  auto progress = static_cast<int64_t>(process.changes);
  const Group local = map_.OfProcess(rank_);
  ReplicaStatus slowest;
  for (int replica = local.begin; replica < local.end; ++replica) {
    const ReplicaStatus status = Read(replica);
    progress += static_cast<int64_t>(status.changes);
    if (replica == local.begin || status.reductions < slowest.reductions) slowest = status;
  }
  ProcessActivity result{.activity = process.activity,
                         .step = slowest.step,
                         .reductions = slowest.reductions,
                         .progress = progress};
  if (slowest.activity == Activity::kReduction || slowest.activity == Activity::kCompute) {
    const bool waits = slowest.activity == Activity::kReduction;
    result.phase = View(slowest.phase);
    result.where = View(waits ? slowest.reduction : slowest.layer);
  } else {
    result.where = NameOf(slowest.activity);
  }
  return result;
}

ReplicaStatus ProgressBoard::Read(int replica) const {
  const auto& entry = replicas_[static_cast<size_t>(replica)];
  std::lock_guard lock(entry.mutex);
  return entry.status;
}

uint64_t ProgressBoard::Changes(int replica) const {
  const auto& entry = replicas_[static_cast<size_t>(replica)];
  std::lock_guard lock(entry.mutex);
  return entry.status.changes;
}

ProcessStatus ProgressBoard::ReadProcess(int rank) const {
  const auto& entry = processes_[static_cast<size_t>(rank)];
  std::lock_guard lock(entry.mutex);
  return entry.status;
}

void ProgressBoard::Write(const ReplicaStatus& status) {
  auto& entry = replicas_[static_cast<size_t>(status.replica)];
  std::lock_guard lock(entry.mutex);
  entry.status = status;
}

void ProgressBoard::WriteProcess(const ProcessStatus& status) {
  auto& entry = processes_[static_cast<size_t>(status.rank)];
  std::lock_guard lock(entry.mutex);
  entry.status = status;
}

}  // namespace syncbn::comm
