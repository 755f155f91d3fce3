#include "comm/progress_board.h"

#include <algorithm>
#include <cstring>

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
  return waiting != 0 && group == Group{group_begin, group_end} && sequence == number;
}

std::string ReplicaStatus::Describe() const {
  std::string text = step < 0 ? "before its first step" : "step " + std::to_string(step);
  if (!View(phase).empty()) text += ", " + std::string(View(phase));
  if (!View(layer).empty()) text += ", " + std::string(View(layer));
  if (waiting != 0) {
    text += ", waiting for '" + std::string(View(reduction)) + "' (reduction " +
            std::to_string(sequence) + " of " +
            comm::Describe(Group{group_begin, group_end}) + ")";
  }
  return text;
}

ProgressBoard::ProgressBoard(int replicas)
    : replicas_(replicas), entries_(std::make_unique<Entry[]>(static_cast<size_t>(replicas))) {
  for (int replica = 0; replica < replicas; ++replica) At(replica).status.replica = replica;
}

void ProgressBoard::Report(int replica, int64_t step, std::string_view phase,
                           std::string_view layer) {
  Entry& entry = At(replica);
  std::lock_guard lock(entry.mutex);
  ++entry.status.changes;
  entry.status.step = step;
  Copy(phase, entry.status.phase);
  Copy(layer, entry.status.layer);
}

void ProgressBoard::Touch(int replica) {
  Entry& entry = At(replica);
  std::lock_guard lock(entry.mutex);
  ++entry.status.changes;
}

void ProgressBoard::Contribute(int replica) {
  Entry& entry = At(replica);
  std::lock_guard lock(entry.mutex);
  ++entry.status.changes;
  ++entry.status.reductions;
}

void ProgressBoard::EnterWait(int replica, std::string_view reduction, Group group,
                              int64_t sequence) {
  Entry& entry = At(replica);
  std::lock_guard lock(entry.mutex);
  ++entry.status.changes;
  entry.status.waiting = 1;
  entry.status.group_begin = group.begin;
  entry.status.group_end = group.end;
  entry.status.sequence = sequence;
  Copy(reduction, entry.status.reduction);
}

void ProgressBoard::LeaveWait(int replica) {
  Entry& entry = At(replica);
  std::lock_guard lock(entry.mutex);
  ++entry.status.changes;
  entry.status.waiting = 0;
}

ReplicaStatus ProgressBoard::Read(int replica) const {
  const Entry& entry = At(replica);
  std::lock_guard lock(entry.mutex);
  return entry.status;
}

uint64_t ProgressBoard::Changes(int replica) const {
  const Entry& entry = At(replica);
  std::lock_guard lock(entry.mutex);
  return entry.status.changes;
}

void ProgressBoard::Write(const ReplicaStatus& status) {
  Entry& entry = At(status.replica);
  std::lock_guard lock(entry.mutex);
  entry.status = status;
}

}  // namespace syncbn::comm
