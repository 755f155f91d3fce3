#include "comm/tree_reducer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/unknown_value.h"

namespace syncbn::comm {
namespace {

// Ranges are merged in pieces that stay in the cache over all steps of a plan.
constexpr int64_t kPieceElements = 16 * 1024;

std::byte* At(std::byte* memory, int64_t element, DType dtype) {
  return memory + element * static_cast<int64_t>(SizeOf(dtype));
}

// Of a message with roots: all of the sender's, or its range of one.
bool IsWholeRoots(MessageKind kind) {
  if (kind == MessageKind::kRoots) return true;
  if (kind == MessageKind::kRootRange) return false;
  ThrowUnknownValue("message of a tree", static_cast<int>(kind));
}

bool Overlaps(std::span<const std::byte> bytes, const std::byte* begin, size_t size) {
  return bytes.data() < begin + size && begin < bytes.data() + bytes.size();
}

}  // namespace

struct TreeReducer::TreeOp : Op {
  // -- Inside the process, under mutex -----------------------------------------------------------------
  // The subtree that begins at a local member and ends before `end`; end is 0 where there is none.
  struct Slot {
    Tensor value;
    int end = 0;
  };
  std::vector<Slot> slots;
  int open_subtrees = 0;  // maximal subtrees of the process that are not complete

  // -- Between processes -------------------------------------------------------------------------------
  // The values of plan.subtrees: whole, or (others' roots of a large message) the own range of them.
  struct Part {
    std::byte* memory = nullptr;
    std::shared_ptr<void> owner;
  };
  std::vector<Part> parts;
  std::vector<int> heard;  // roots announced by each participant; under mutex
  std::atomic<int> missing_parts{0};
  // Large messages: the own range and those of the others.
  std::vector<Range> ranges;
  std::byte* destination = nullptr;
  std::shared_ptr<void> destination_owner;
  std::atomic<int> missing_ranges{0};
  // What has to be done next by Advance.
  enum class Stage { kTree, kDone } stage = Stage::kTree;
};

TreeReducer::TreeReducer(Communicator& communicator, const ReducerOptions& options)
    : ReducerBase(communicator, options) {
  Open();
}

TreeReducer::~TreeReducer() { Shutdown(); }

std::shared_ptr<ReducerBase::Op> TreeReducer::NewOp(const GroupPlan& plan) const {
  auto op = std::make_shared<TreeOp>();
  const GroupPlan::Participant& own = plan.own();
  op->slots.resize(static_cast<size_t>(own.members.end - own.members.begin));
  op->open_subtrees = own.subtrees;
  if (plan.participants.size() > 1) {
    op->parts.resize(plan.subtrees.size());
    op->heard.resize(plan.participants.size());
    op->missing_parts = static_cast<int>(plan.subtrees.size());
    op->missing_ranges = static_cast<int>(plan.participants.size());
  }
  return op;
}

// -- Inside the process --------------------------------------------------------------------------------

void TreeReducer::Contribute(const std::shared_ptr<Op>& base, int index, Tensor value) {
  const auto op = std::static_pointer_cast<TreeOp>(base);
  const Subtree own = op->group->plan.own().members;
  const int size = op->group->plan.group.size();
  const Range whole{0, op->content.elements};
  const auto slot = [&](int member) -> TreeOp::Slot& {
    return op->slots[static_cast<size_t>(member - own.begin)];
  };
  Subtree node{own.begin + index, own.begin + index + 1};
  std::unique_lock lock(op->mutex);
  while (true) {
    const std::optional<Subtree> sibling = SiblingOf(node, size);
    const bool inside = sibling && sibling->begin >= own.begin && sibling->end <= own.end;
    if (!inside || slot(sibling->begin).end != sibling->end) {
      slot(node.begin) = {std::move(value), node.end};
      if (inside || --op->open_subtrees > 0) return;
      break;
    }
    Tensor other = std::exchange(slot(sibling->begin), TreeOp::Slot{}).value;
    lock.unlock();
    if (sibling->begin < node.begin) std::swap(value, other);
    MergeRange(op->content, whole, value.Bytes().data(), other.Bytes().data());
    other = Tensor();
    node = {std::min(node.begin, sibling->begin), std::max(node.end, sibling->end)};
    lock.lock();
  }
  lock.unlock();
  FinishLocally(op);
}

void TreeReducer::FinishLocally(const std::shared_ptr<TreeOp>& op) {
  const GroupPlan& plan = op->group->plan;
  const GroupPlan::Participant& own = plan.own();
  if (plan.participants.size() == 1) {
    const Tensor value = std::move(op->slots[0].value);
    Complete(op, value.Bytes().data(), /*expected_others=*/false);
    return;
  }
  for (int i = 0; i < own.subtrees; ++i) {
    const int part = own.first_subtree + i;
    const int member = plan.subtrees[static_cast<size_t>(part)].begin - own.members.begin;
    auto value = std::make_shared<Tensor>(std::move(op->slots[static_cast<size_t>(member)].value));
    op->parts[static_cast<size_t>(part)] = {value->Bytes().data(), std::move(value)};
  }
  ExpectOthers();
  if (IsSmall(*op)) {
    SendRoots(*op);
  } else {
    op->ranges = CutIntoRanges(op->content, static_cast<int>(plan.participants.size()));
    // The result is built where somebody wants it, or else in the first own root: a range of the
    // result arrives only after its owner has received that range of all roots, so nothing is
    // overwritten that is still to be sent.
    const auto wanted = std::find_if(op->results.begin(), op->results.end(),
                                     [](const Tensor& result) { return result.defined(); });
    const TreeOp::Part& root = op->parts[static_cast<size_t>(own.first_subtree)];
    op->destination = wanted != op->results.end() ? wanted->Bytes().data() : root.memory;
    op->destination_owner = root.owner;
    SendRootRanges(*op);
  }
  if (op->missing_parts.fetch_sub(own.subtrees) == own.subtrees) FinishTree(op);
}

// -- Between processes ---------------------------------------------------------------------------------

void TreeReducer::SendRoots(const TreeOp& op) {
  const GroupPlan& plan = op.group->plan;
  const GroupPlan::Participant& own = plan.own();
  const size_t bytes = op.content.bytes();
  const auto* first = &op.parts[static_cast<size_t>(own.first_subtree)];
  std::span<const std::byte> body(first->memory, bytes);
  std::shared_ptr<std::vector<std::byte>> copy;
  // The roots are merged in place soon: what is not copied by Send must be copied here.
  if (own.subtrees > 1 || bytes > Communicator::kCopiedBytes) {
    copy = std::make_shared<std::vector<std::byte>>();
    copy->reserve(bytes * static_cast<size_t>(own.subtrees));
    for (int i = 0; i < own.subtrees; ++i) {
      copy->insert(copy->end(), first[i].memory, first[i].memory + bytes);
    }
    body = *copy;
  }
  const MessageHead head = HeadOf(op, MessageKind::kRoots);
  for (const GroupPlan::Participant& participant : plan.participants) {
    if (participant.rank != own.rank) Send(participant.rank, head, body, copy);
  }
}

void TreeReducer::SendRootRanges(const TreeOp& op) {
  const GroupPlan& plan = op.group->plan;
  const GroupPlan::Participant& own = plan.own();
  const size_t participants = plan.participants.size();
  MessageHead head = HeadOf(op, MessageKind::kRootRange);
  // Everybody begins with its right neighbour, so that not all send to the same one at first.
  for (size_t step = 1; step < participants; ++step) {
    const size_t p = (static_cast<size_t>(plan.self) + step) % participants;
    const Range range = op.ranges[p];
    for (int i = 0; i < own.subtrees; ++i) {
      const TreeOp::Part& part = op.parts[static_cast<size_t>(own.first_subtree + i)];
      head.subtree = i;
      Send(plan.participants[p].rank, head,
           {At(part.memory, range.begin, op.content.dtype),
            static_cast<size_t>(range.size()) * SizeOf(op.content.dtype)},
           part.owner);
    }
  }
}

Landing TreeReducer::OnData(const std::shared_ptr<Op>& base, int from, const MessageHead& head,
                            size_t body_bytes) {
  auto& op = static_cast<TreeOp&>(*base);
  const GroupPlan& plan = op.group->plan;
  const GroupPlan::Participant& sender = plan.participants[static_cast<size_t>(from)];
  if (head.kind == MessageKind::kResultRange) {
    // Our own roots were sent before, so everything is known here.
    const Range range = op.ranges[static_cast<size_t>(from)];
    SYNCBN_CHECK_EQ(body_bytes, static_cast<size_t>(range.size()) * SizeOf(op.content.dtype));
    return {.memory = At(op.destination, range.begin, op.content.dtype),
            .owner = base,
            .token = static_cast<uint64_t>(head.kind)};
  }
  std::shared_ptr<void> memory = AllocateAligned(body_bytes);
  std::lock_guard lock(op.mutex);
  if (IsWholeRoots(head.kind)) {
    const size_t bytes = body_bytes / static_cast<size_t>(sender.subtrees);
    for (int i = 0; i < sender.subtrees; ++i) {
      op.parts[static_cast<size_t>(sender.first_subtree + i)] = {
          static_cast<std::byte*>(memory.get()) + bytes * static_cast<size_t>(i), memory};
    }
    op.heard[static_cast<size_t>(from)] = sender.subtrees;
  } else {
    op.parts[static_cast<size_t>(sender.first_subtree + head.subtree)] = {
        static_cast<std::byte*>(memory.get()), memory};
    ++op.heard[static_cast<size_t>(from)];
  }
  return {.memory = static_cast<std::byte*>(memory.get()),
          .owner = base,
          .token = static_cast<uint64_t>(head.kind)};
}

void TreeReducer::OnDataBody(const std::shared_ptr<Op>& base, int from, uint64_t token) {
  auto op = std::static_pointer_cast<TreeOp>(base);
  const auto kind = static_cast<MessageKind>(token);
  if (kind == MessageKind::kResultRange) {
    if (op->missing_ranges.fetch_sub(1) > 1) return;
    op->stage = TreeOp::Stage::kDone;
  } else {
    const int roots = IsWholeRoots(kind)
                          ? op->group->plan.participants[static_cast<size_t>(from)].subtrees
                          : 1;
    if (op->missing_parts.fetch_sub(roots) > roots) return;
  }
  // The arithmetic waits until the transport is free again.
  std::lock_guard lock(ready_mutex_);
  ready_.push_back(std::move(op));
  any_ready_.store(true, std::memory_order_release);
}

bool TreeReducer::Advance() {
  if (!any_ready_.load(std::memory_order_acquire)) return false;
  std::vector<std::shared_ptr<TreeOp>> ready;
  {
    std::lock_guard lock(ready_mutex_);
    ready.swap(ready_);
    any_ready_.store(false, std::memory_order_relaxed);
  }
  for (const std::shared_ptr<TreeOp>& op : ready) {
    if (op->stage == TreeOp::Stage::kDone) {
      Complete(op, op->destination, /*expected_others=*/true);
    } else {
      FinishTree(op);
    }
  }
  return !ready.empty();
}

bool TreeReducer::HeardFrom(const Op& base, int participant) const {
  const auto& op = static_cast<const TreeOp&>(base);
  const GroupPlan& plan = op.group->plan;
  return op.heard[static_cast<size_t>(participant)] ==
         plan.participants[static_cast<size_t>(participant)].subtrees;
}

void TreeReducer::FinishTree(const std::shared_ptr<TreeOp>& op) {
  if (!IsSmall(*op)) return FinishOwnRange(op);
  const Range whole{0, op->content.elements};
  for (const MergeStep& step : op->group->plan.steps) {
    MergeRange(op->content, whole, op->parts[static_cast<size_t>(step.into)].memory,
               op->parts[static_cast<size_t>(step.from)].memory);
  }
  const auto parts = std::move(op->parts);
  Complete(op, parts[0].memory, /*expected_others=*/true);
}

void TreeReducer::FinishOwnRange(const std::shared_ptr<TreeOp>& op) {
  const GroupPlan& plan = op->group->plan;
  const GroupPlan::Participant& own = plan.own();
  const DType dtype = op->content.dtype;
  const Range range = op->ranges[static_cast<size_t>(plan.self)];
  const size_t bytes = static_cast<size_t>(range.size()) * SizeOf(dtype);
  for (int i = 0; i < own.subtrees; ++i) {
    TreeOp::Part& part = op->parts[static_cast<size_t>(own.first_subtree + i)];
    part.memory = At(part.memory, range.begin, dtype);
  }
  // Moments are not cut further: a range of theirs holds whole blocks.
  const int64_t piece =
      op->content.operation == Operation::kSum ? kPieceElements : std::max<int64_t>(range.size(), 1);
  for (int64_t begin = 0; begin < range.size(); begin += piece) {
    const Range part{range.begin + begin, range.begin + std::min(begin + piece, range.size())};
    for (const MergeStep& step : plan.steps) {
      MergeRange(op->content, part, At(op->parts[static_cast<size_t>(step.into)].memory, begin, dtype),
                 At(op->parts[static_cast<size_t>(step.from)].memory, begin, dtype));
    }
  }
  TreeOp::Part value = op->parts[0];
  std::byte* const place = At(op->destination, range.begin, dtype);
  if (bytes > 0 && value.memory != place) std::memcpy(place, value.memory, bytes);
  // The owner of a result may write to it as soon as its wait is over, which can be before this range
  // has been sent.
  const bool aliased = std::any_of(op->results.begin(), op->results.end(), [&](const Tensor& result) {
    return result.defined() && Overlaps(result.Bytes(), value.memory, bytes);
  });
  if (aliased) {
    value.owner = AllocateAligned(bytes);
    std::memcpy(value.owner.get(), value.memory, bytes);
    value.memory = static_cast<std::byte*>(value.owner.get());
  }
  op->parts.clear();
  const MessageHead head = HeadOf(*op, MessageKind::kResultRange);
  for (size_t step = 1; step < plan.participants.size(); ++step) {
    const size_t p = (static_cast<size_t>(plan.self) + step) % plan.participants.size();
    Send(plan.participants[p].rank, head, {value.memory, bytes}, value.owner);
  }
  if (op->missing_ranges.fetch_sub(1) == 1) {
    Complete(op, op->destination, /*expected_others=*/true);
  }
}

}  // namespace syncbn::comm
