#include "comm/group_plan.h"

#include <algorithm>

#include "base/check.h"

namespace syncbn::comm {

int GroupPlan::IndexOf(int rank) const {
  // Participants are consecutive ranks.
  const int index = rank - participants.front().rank;
  return index >= 0 && index < static_cast<int>(participants.size()) ? index : -1;
}

GroupPlan MakeGroupPlan(const ReplicaMap& map, Group group, int rank) {
  SYNCBN_CHECK(0 <= group.begin && group.begin < group.end && group.end <= map.replicas())
      << "group [" << group.begin << ", " << group.end << ") of " << map.replicas() << " replicas";
  GroupPlan plan{.group = group, .self = -1};
  const int last = map.ProcessOf(group.end - 1);
  for (int process = map.ProcessOf(group.begin); process <= last; ++process) {
    const Group run = map.OfProcess(process);
    const Subtree members{std::max(run.begin, group.begin) - group.begin,
                          std::min(run.end, group.end) - group.begin};
    const std::vector<Subtree> subtrees = MaximalSubtrees(members.begin, members.end, group.size());
    if (process == rank) plan.self = static_cast<int>(plan.participants.size());
    plan.participants.push_back({.rank = process,
                                 .members = members,
                                 .first_subtree = static_cast<int>(plan.subtrees.size()),
                                 .subtrees = static_cast<int>(subtrees.size())});
    plan.subtrees.insert(plan.subtrees.end(), subtrees.begin(), subtrees.end());
  }
  plan.steps = MergePlan(plan.subtrees, group.size());
  SYNCBN_CHECK_GE(plan.self, 0) << "rank " << rank << " hosts no replica of the group";
  return plan;
}

}  // namespace syncbn::comm
