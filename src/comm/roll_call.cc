#include "comm/roll_call.h"

#include <utility>

namespace syncbn::comm {
namespace {

std::string DescribeOf(const MessageHead& head) {
  return head.signature.Describe() + ", reduction " + std::to_string(head.sequence) + " of " +
         Describe(head.group());
}

// The same text whichever of the two finds it.
std::string DescribeDifference(const MessageHead& one, const MessageHead& other) {
  if (one.group() == other.group() && one.sequence == other.sequence) {
    return DescribeMismatch(one.signature, other.signature, one.group(), one.sequence);
  }
  const bool swap = one.signature.rank < other.signature.rank;
  const MessageHead& first = swap ? other : one;
  const MessageHead& second = swap ? one : other;
  return "rank " + std::to_string(first.signature.rank) + " launches " + DescribeOf(first) +
         ", where rank " + std::to_string(second.signature.rank) + " launches " +
         DescribeOf(second) + ": all processes must launch what they reduce together in one order";
}

}  // namespace

void RollCall::Call(const Signature& signature, int64_t sequence, const GroupPlan& plan) {
  const size_t size = plan.participants.size(), self = static_cast<size_t>(plan.self);
  const MessageHead head{.kind = MessageKind::kRollCall,
                         .group_begin = plan.group.begin,
                         .group_end = plan.group.end,
                         .sequence = sequence,
                         .signature = signature};
  {
    std::lock_guard lock(mutex_);
    Neighbour& left = neighbours_[plan.participants[(self + size - 1) % size].rank];
    left.own.push_back({calls_++, head});
    Compare(left);
  }
  communicator_.Send(plan.participants[(self + 1) % size].rank, head.Bytes(), {}, nullptr);
}

void RollCall::Hear(int from, const MessageHead& head) {
  std::lock_guard lock(mutex_);
  Neighbour& left = neighbours_[from];
  left.heard.push_back(head);
  Compare(left);
}

void RollCall::Compare(Neighbour& neighbour) {
  while (!neighbour.own.empty() && !neighbour.heard.empty()) {
    const MessageHead& own = neighbour.own.front().head;
    const MessageHead& heard = neighbour.heard.front();
    if (own.group() != heard.group() || own.sequence != heard.sequence ||
        !own.signature.Agrees(heard.signature)) {
      failure_.Set({ErrorCode::kInternal, DescribeDifference(heard, own)});
      return;  // it stays unanswered
    }
    neighbour.own.pop_front();
    neighbour.heard.pop_front();
  }
}

int64_t RollCall::calls() const {
  std::lock_guard lock(mutex_);
  return calls_;
}

std::optional<RollCall::Open> RollCall::Unanswered(int64_t calls) const {
  std::lock_guard lock(mutex_);
  for (const auto& [rank, neighbour] : neighbours_) {
    if (neighbour.own.empty() || neighbour.own.front().call >= calls) continue;
    const MessageHead& head = neighbour.own.front().head;
    return Open{rank, head.signature.place, std::string(head.signature.Name()), DescribeOf(head)};
  }
  return std::nullopt;
}

bool RollCall::open() const {
  return Unanswered(calls()).has_value();
}

}  // namespace syncbn::comm
