#include "comm/launch_order.h"

#include <algorithm>
#include <utility>

#include "comm/group_state.h"

namespace syncbn::comm {

std::shared_ptr<ReductionOp> LaunchQueue::TakeDue() {
  if (current != nullptr) {
    if (!current->all_launched.load(std::memory_order_acquire)) return nullptr;
    current.reset();
  }
  const auto due = std::ranges::find(
      combined, next, [](const std::shared_ptr<ReductionOp>& op) { return op->launch_number; });
  if (due == combined.end()) return nullptr;
  std::shared_ptr<ReductionOp> op = std::move(*due);
  combined.erase(due);
  ++next;
  if (one_by_one) current = op;
  return op;
}

ProgramOrder::ProgramOrder(Group local)
    : local_(local), next_(static_cast<size_t>(local.size()), 0) {}

std::optional<std::string> ProgramOrder::Start(int replica, const std::shared_ptr<ReductionOp>& op,
                                               std::string_view name) {
  const int64_t number = next_[static_cast<size_t>(replica - local_.begin)]++;
  const auto index = static_cast<size_t>(number - first_);
  if (index >= places_.size()) places_.resize(index + 1);
  Place& place = places_[index];
  ++place.reached;
  if (op->group->crosses_processes()) {
    if (op->place < 0) {
      op->place = number;
      place.ops.push_back(op);
    } else if (op->place != number) {
      return "replica " + std::to_string(replica) + " starts '" + std::string(name) +
             "', reduction " + std::to_string(op->sequence) + " of " +
             Describe(op->group->plan.group) + ", as number " + std::to_string(number) +
             " of its program, another replica of its process as number " +
             std::to_string(op->place) +
             ": all replicas must start the same reductions in one order, on which this exchange "
             "relies";
    }
  }
  while (!places_.empty() && places_.front().reached == local_.size()) {
    std::vector<std::shared_ptr<ReductionOp>>& ops = places_.front().ops;
    std::ranges::sort(ops, {}, [](const std::shared_ptr<ReductionOp>& one) {
      return std::pair(one->group->plan.group.begin, one->group->plan.group.end);
    });
    for (const std::shared_ptr<ReductionOp>& one : ops) one->launch_number = numbered_++;
    places_.pop_front();
    ++first_;
  }
  return std::nullopt;
}

std::vector<int> ProgramOrder::Behind(const ReductionOp& op) const {
  std::vector<int> replicas;
  for (int replica = local_.begin; replica < local_.end; ++replica) {
    if (next_[static_cast<size_t>(replica - local_.begin)] <= op.place) replicas.push_back(replica);
  }
  return replicas;
}

}  // namespace syncbn::comm
