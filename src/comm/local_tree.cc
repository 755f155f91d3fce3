#include "comm/local_tree.h"

#include <algorithm>
#include <utility>

namespace syncbn::comm {

LocalTree::LocalTree(const GroupPlan& plan, backend::MergeStream& stream)
    : plan_(plan),
      stream_(stream),
      slots_(static_cast<size_t>(plan.own().members.end - plan.own().members.begin)),
      open_(plan.own().subtrees) {}

bool LocalTree::Add(const Content& content, int member, Tensor value) {
  const Subtree own = plan_.own().members;
  const int size = plan_.group.size();
  Subtree node{member, member + 1};
  std::unique_lock lock(mutex_);
  while (true) {
    const std::optional<Subtree> sibling = SiblingOf(node, size);
    const bool inside = sibling && sibling->begin >= own.begin && sibling->end <= own.end;
    if (!inside || SlotAt(sibling->begin).end != sibling->end) {
      SlotAt(node.begin) = {std::move(value), node.end};
      return !inside && --open_ == 0;
    }
    Tensor other = std::exchange(SlotAt(sibling->begin), Slot{}).value;
    lock.unlock();
    if (sibling->begin < node.begin) std::swap(value, other);
    stream_.Merge(content, value, other);
    other = Tensor();
    node = {std::min(node.begin, sibling->begin), std::max(node.end, sibling->end)};
    lock.lock();
  }
}

Tensor LocalTree::TakeRoot(int i) {
  const Subtree root = plan_.subtrees[static_cast<size_t>(plan_.own().first_subtree + i)];
  std::lock_guard lock(mutex_);
  return std::exchange(SlotAt(root.begin), Slot{}).value;
}

}  // namespace syncbn::comm
