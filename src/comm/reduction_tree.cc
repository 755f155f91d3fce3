#include "comm/reduction_tree.h"

#include <algorithm>

#include "base/check.h"

namespace syncbn::comm {
namespace {

int LowestBit(int value) { return value & -value; }

// The node that is the right child of the split at `begin`.
Subtree RightChildAt(int begin, int size) {
  return {begin, std::min(begin + LowestBit(begin), size)};
}

}  // namespace

std::optional<Subtree> SiblingOf(Subtree node, int size) {
  SYNCBN_CHECK(0 <= node.begin && node.begin < node.end && node.end <= size)
      << "[" << node.begin << ", " << node.end << ") of " << size;
  if (node.begin > 0 && node == RightChildAt(node.begin, size)) {
    return Subtree{node.begin - LowestBit(node.begin), node.begin};
  }
  if (node.end == size) return std::nullopt;
  return RightChildAt(node.end, size);
}

std::vector<Subtree> MaximalSubtrees(int begin, int end, int size) {
  std::vector<Subtree> result;
  while (begin < end) {
    Subtree node{begin, begin + 1};
    // Grow to the right while the sibling is there too; left siblings are outside or already taken.
    while (const std::optional<Subtree> sibling = SiblingOf(node, size)) {
      if (sibling->begin < node.begin || sibling->end > end) break;
      node.end = sibling->end;
    }
    result.push_back(node);
    begin = node.end;
  }
  return result;
}

std::vector<MergeStep> MergePlan(std::span<const Subtree> subtrees, int size) {
  std::vector<MergeStep> steps;
  struct Open {
    Subtree node;
    int value;
  };
  std::vector<Open> open;
  for (int i = 0; i < static_cast<int>(subtrees.size()); ++i) {
    open.push_back({subtrees[static_cast<size_t>(i)], i});
    while (open.size() >= 2) {
      Open& left = open[open.size() - 2];
      const Open& right = open.back();
      if (SiblingOf(right.node, size) != left.node) break;
      steps.push_back({left.value, right.value});
      left.node.end = right.node.end;
      open.pop_back();
    }
  }
  SYNCBN_CHECK(open.size() == 1 && open[0].node == (Subtree{0, size}))
      << "subtrees do not cover the group of " << size;
  return steps;
}

}  // namespace syncbn::comm
