#include "comm/reduction_tree.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

#include "comm/replica_map.h"

namespace syncbn::comm {
namespace {

// The tree by its definition.
std::string Expression(int lo, int hi) {
  if (hi - lo == 1) return std::to_string(lo);
  int power = 1;
  while (power * 2 < hi - lo) power *= 2;
  return "(" + Expression(lo, lo + power) + "+" + Expression(lo + power, hi) + ")";
}

// The leftmost chain of nodes that start at `lo` and lie in the tree.
void CollectNodes(int lo, int hi, std::map<std::pair<int, int>, std::pair<int, int>>& sibling) {
  if (hi - lo == 1) return;
  int power = 1;
  while (power * 2 < hi - lo) power *= 2;
  const int mid = lo + power;
  sibling[{lo, mid}] = {mid, hi};
  sibling[{mid, hi}] = {lo, mid};
  CollectNodes(lo, mid, sibling);
  CollectNodes(mid, hi, sibling);
}

// Evaluates the plan of these runs with strings in the place of numbers.
std::string Evaluate(const std::vector<std::pair<int, int>>& runs, int size) {
  std::vector<Subtree> subtrees;
  for (const auto& [begin, end] : runs) {
    for (const Subtree& node : MaximalSubtrees(begin, end, size)) subtrees.push_back(node);
  }
  std::vector<std::string> values;
  for (const Subtree& node : subtrees) values.push_back(Expression(node.begin, node.end));
  // A subtree must be a node of the canonical tree, not merely a range.
  const std::string whole = Expression(0, size);
  for (const std::string& value : values) EXPECT_NE(whole.find(value), std::string::npos) << value;
  for (const MergeStep& step : MergePlan(subtrees, size)) {
    values[step.into] = "(" + values[step.into] + "+" + values[step.from] + ")";
  }
  return values[0];
}

TEST(ReductionTree, EveryNodeKnowsItsSibling) {
  for (int size = 1; size <= 32; ++size) {
    std::map<std::pair<int, int>, std::pair<int, int>> siblings;
    CollectNodes(0, size, siblings);
    for (const auto& [node, sibling] : siblings) {
      const std::optional<Subtree> found = SiblingOf({node.first, node.second}, size);
      ASSERT_TRUE(found.has_value()) << size << ": [" << node.first << "," << node.second << ")";
      EXPECT_EQ(found->begin, sibling.first);
      EXPECT_EQ(found->end, sibling.second);
    }
    EXPECT_EQ(SiblingOf({0, size}, size), std::nullopt);
  }
}

TEST(ReductionTree, AnyNumberOfProcessesEvaluatesTheSameExpression) {
  for (int replicas = 1; replicas <= 32; ++replicas) {
    for (int processes = 1; processes <= replicas; ++processes) {
      const ReplicaMap map(replicas, processes);
      std::vector<std::pair<int, int>> runs;
      for (int process = 0; process < processes; ++process) {
        runs.emplace_back(map.OfProcess(process).begin, map.OfProcess(process).end);
      }
      EXPECT_EQ(Evaluate(runs, replicas), Expression(0, replicas)) << replicas << "/" << processes;
    }
  }
}

TEST(ReductionTree, AnyCutIntoRunsEvaluatesTheSameExpression) {
  std::mt19937 random(1);
  for (int size = 1; size <= 32; ++size) {
    for (int trial = 0; trial < 50; ++trial) {
      std::vector<std::pair<int, int>> runs{{0, size}};
      for (int cut = 1; cut < size; ++cut) {
        if (random() % 3 == 0) {
          runs.back().second = cut;
          runs.emplace_back(cut, size);
        }
      }
      EXPECT_EQ(Evaluate(runs, size), Expression(0, size));
    }
  }
}

TEST(ReductionTree, ARunOfAPowerOfTwoAtItsMultipleIsOneSubtree) {
  EXPECT_EQ(MaximalSubtrees(4, 8, 8), (std::vector<Subtree>{{4, 8}}));
  EXPECT_EQ(MaximalSubtrees(0, 2, 6), (std::vector<Subtree>{{0, 2}}));
  EXPECT_EQ(MaximalSubtrees(4, 6, 6), (std::vector<Subtree>{{4, 6}}));
  EXPECT_EQ(MaximalSubtrees(1, 4, 8), (std::vector<Subtree>{{1, 2}, {2, 4}}));
}

}  // namespace
}  // namespace syncbn::comm
