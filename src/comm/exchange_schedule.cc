#include "comm/exchange_schedule.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"

namespace syncbn::comm {
namespace {

// A node of the tree and which value it is.
struct Known {
  Subtree node;
  int value = 0;
};

// What a participant has heard of before a round: participants [first, first + count), around the end.
struct Run {
  int first = 0;
  int count = 0;
};

bool IsPowerOfTwo(int n) { return (n & (n - 1)) == 0; }

Run RunBefore(int round, int participant, int participants) {
  const int length = 1 << round;
  if (IsPowerOfTwo(participants)) return {participant & ~(length - 1), length};
  return {participant, std::min(length, participants)};
}

// The maximal subtrees of a run's members, left to right.
std::vector<Subtree> NodesOf(const GroupPlan& plan, Run run) {
  const int participants = static_cast<int>(plan.participants.size());
  const int size = plan.group.size();
  if (run.count == participants) return MaximalSubtrees(0, size, size);
  const auto members = [&](int p) { return plan.participants[static_cast<size_t>(p)].members; };
  const int last = run.first + run.count - 1;
  if (last < participants) {
    return MaximalSubtrees(members(run.first).begin, members(last).end, size);
  }
  std::vector<Subtree> nodes = MaximalSubtrees(0, members(last - participants).end, size);
  const std::vector<Subtree> right = MaximalSubtrees(members(run.first).begin, size, size);
  nodes.insert(nodes.end(), right.begin(), right.end());
  return nodes;
}

// Adds what was heard: a node inside of another is dropped, siblings are merged into their parent.
std::vector<Known> MergeKnown(std::vector<Known> known, const std::vector<Known>& heard, int size,
                              std::vector<MergeStep>& steps) {
  known.insert(known.end(), heard.begin(), heard.end());
  std::sort(known.begin(), known.end(), [](const Known& a, const Known& b) {
    return a.node.begin != b.node.begin ? a.node.begin < b.node.begin : a.node.end > b.node.end;
  });
  std::vector<Known> result;
  int covered = 0;
  for (const Known& next : known) {
    if (next.node.end <= covered) continue;
    covered = next.node.end;
    result.push_back(next);
    while (result.size() >= 2) {
      Known& left = result[result.size() - 2];
      const Known& right = result.back();
      if (SiblingOf(right.node, size) != left.node) break;
      steps.push_back({left.value, right.value});
      left.node.end = right.node.end;
      result.pop_back();
    }
  }
  return result;
}

std::vector<int> ValuesOf(const std::vector<Known>& known) {
  std::vector<int> values;
  for (const Known& one : known) values.push_back(one.value);
  return values;
}

std::vector<int> RootsOf(const GroupPlan::Participant& participant) {
  std::vector<int> values(static_cast<size_t>(participant.subtrees));
  std::iota(values.begin(), values.end(), participant.first_subtree);
  return values;
}

}  // namespace

ExchangeSchedule DirectSchedule(const GroupPlan& plan) {
  // Values are the plan's subtrees.
  ExchangeSchedule schedule{.values = static_cast<int>(plan.subtrees.size()),
                            .first_own = plan.own().first_subtree};
  ExchangeSchedule::Round& round = schedule.rounds.emplace_back();
  const std::vector<int> own = RootsOf(plan.own());
  for (int p = 0; p < static_cast<int>(plan.participants.size()); ++p) {
    if (p == plan.self) continue;
    round.send.push_back({.peer = p, .values = own});
    round.receive.push_back({.peer = p,
                             .values = RootsOf(plan.participants[static_cast<size_t>(p)]),
                             .first = p,
                             .count = 1});
  }
  round.steps = plan.steps;
  return schedule;
}

ExchangeSchedule RecursiveSchedule(const GroupPlan& plan) {
  const int participants = static_cast<int>(plan.participants.size());
  const int self = plan.self;
  ExchangeSchedule schedule;
  std::vector<Known> known;
  for (const Subtree node : NodesOf(plan, {self, 1})) known.push_back({node, schedule.values++});
  for (int k = 0; 1 << k < participants; ++k) {
    const int distance = 1 << k;
    const bool pairs = IsPowerOfTwo(participants);
    const int from = pairs ? self ^ distance : (self + distance) % participants;
    const int to = pairs ? from : (self - distance + participants) % participants;
    const Run run = RunBefore(k, from, participants);
    std::vector<Known> heard;
    for (const Subtree node : NodesOf(plan, run)) heard.push_back({node, schedule.values++});
    ExchangeSchedule::Round& round = schedule.rounds.emplace_back();
    round.send.push_back({.peer = to, .values = ValuesOf(known)});
    round.receive.push_back(
        {.peer = from, .values = ValuesOf(heard), .first = run.first, .count = run.count});
    known = MergeKnown(std::move(known), heard, plan.group.size(), round.steps);
  }
  SYNCBN_CHECK(known.size() == 1 && known[0].node == (Subtree{0, plan.group.size()}))
      << "the rounds do not cover the group of " << plan.group.size();
  schedule.root = known[0].value;
  return schedule;
}

}  // namespace syncbn::comm
