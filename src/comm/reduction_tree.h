// The canonical binary tree over the members 0..size-1 of a group: [lo, hi) splits at lo + the largest
// power of two below hi - lo.
//
// Every m in 1..size-1 is the split of exactly one node, [m - b, min(m + b, size)) with b the lowest
// set bit of m. So neighbours find each other by looking at one number, and whoever evaluates which
// part of the tree, the expression is the same: that is why bits do not depend on the number of
// processes. Pure functions; members are numbered from the group's start.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "backend/merge.h"

namespace syncbn::comm {

// Members [begin, end) of a group; a node of the tree.
struct Subtree {
  int begin = 0;
  int end = 0;
  bool operator==(const Subtree&) const = default;
};

// What `node` merges with; nothing for the root. Precondition: node is one of the tree's.
std::optional<Subtree> SiblingOf(Subtree node, int size);

// The largest subtrees that lie inside members [begin, end), left to right; they cover it.
std::vector<Subtree> MaximalSubtrees(int begin, int end, int size);

using backend::MergeStep;

// The steps, in order, that turn the values of `subtrees` (left to right, covering 0..size-1) into the
// value of the root, left in values[0].
std::vector<MergeStep> MergePlan(std::span<const Subtree> subtrees, int size);

}  // namespace syncbn::comm
