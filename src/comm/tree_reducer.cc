#include "comm/tree_reducer.h"

#include <algorithm>
#include <utility>

#include "comm/local_tree.h"

namespace syncbn::comm {
namespace {

Tensor RangeOf(const Tensor& message, Range range) {
  return message.Slice(range.begin, {range.size()});
}

bool Overlap(const Tensor& a, const Tensor& b) {
  return a.DeviceAddress() < b.DeviceAddress() + b.bytes() &&
         b.DeviceAddress() < a.DeviceAddress() + a.bytes();
}

}  // namespace

struct TreeReducer::TreeOp : Op {
  TreeOp(const GroupPlan& plan, backend::MergeStream& stream) : local(plan, stream) {}

  LocalTree local;
  // Of the schedule's values those that are here: whole, or (others' roots of a large message) the own
  // range of them.
  std::vector<Tensor> values;
  // Which was launched last.
  std::atomic<int> round{0};
  // Large messages: the own range and those of the others, and where the result is built.
  std::vector<Range> ranges;
  Tensor destination;

  const GroupPlan& plan() const { return group->plan; }
  Range own_range() const { return ranges[static_cast<size_t>(plan().self)]; }
  Tensor& At(int value) { return values[static_cast<size_t>(value)]; }
};

TreeReducer::TreeReducer(Communicator& communicator, const ReducerOptions& options)
    : ReducerBase(communicator, options) {
  Open();
}

TreeReducer::~TreeReducer() { Shutdown(); }

std::shared_ptr<ReducerBase::Op> TreeReducer::NewOp(const GroupState& group) const {
  return std::make_shared<TreeOp>(group.plan, stream());
}

const ExchangeSchedule& TreeReducer::ScheduleOf(const Op& op) const {
  return IsSmall(op) ? op.group->whole : op.group->direct;
}

// -- Inside the process --------------------------------------------------------------------------------

bool TreeReducer::Combine(Op& op, int index, Tensor value) {
  const int member = op.group->plan.own().members.begin + index;
  return static_cast<TreeOp&>(op).local.Add(op.content, member, std::move(value));
}

Tensor TreeReducer::TakePart(Op& op) { return static_cast<TreeOp&>(op).local.TakeRoot(0); }

// -- Between processes ---------------------------------------------------------------------------------

bool TreeReducer::Launch(const std::shared_ptr<Op>& base) {
  auto& op = static_cast<TreeOp&>(*base);
  const ExchangeSchedule& schedule = ScheduleOf(op);
  op.values.resize(static_cast<size_t>(schedule.values));
  for (int i = 0; i < op.plan().own().subtrees; ++i) {
    const Tensor root = ForExchange(op.local.TakeRoot(i));
    op.At(schedule.first_own + i) = root.Reshape({op.content.elements});
  }
  return LaunchRound(op);
}

int TreeReducer::LastRound(const Op& op) const {
  return IsSmall(op) ? static_cast<int>(ScheduleOf(op).rounds.size()) - 1 : 1;
}

bool TreeReducer::LaunchRound(TreeOp& op) {
  // Once it is launched, another thread may go on with the operation.
  const int round = op.round, last = LastRound(op);
  const bool complete = IsSmall(op)  ? LaunchWhole(op)
                        : round == 0 ? LaunchRootRanges(op)
                                     : LaunchResultRanges(op);
  if (round == last) op.all_launched.store(true, std::memory_order_release);
  return complete;
}

void TreeReducer::Continue(const std::shared_ptr<Op>& base) {
  auto& op = static_cast<TreeOp&>(*base);
  const bool small = IsSmall(op);
  const int last = LastRound(op);
  bool complete = true;
  while (complete) {
    const bool is_last = op.round == last;
    if (small) {
      MergeWhole(op);
      if (is_last) return Complete(base, op.At(ScheduleOf(op).root));
    } else {
      if (is_last) return Complete(base, op.destination);
      MergeOwnRange(op);
    }
    ++op.round;
    complete = LaunchRound(op);
  }
}

std::vector<ReducerBase::Contribution> TreeReducer::Contributions(const Op& base) const {
  const auto& op = static_cast<const TreeOp&>(base);
  const std::vector<ExchangeSchedule::Round>& rounds = ScheduleOf(op).rounds;
  const size_t participants = op.plan().participants.size();
  std::vector<Contribution> contributions(participants, Contribution::kHere);
  const auto round = static_cast<size_t>(op.round.load());
  if (round >= rounds.size()) {
    // The ranges of the result: everybody owes one.
    for (const ExchangeSchedule::Message& message : rounds.back().receive) {
      const auto peer = static_cast<size_t>(message.peer);
      if (exchange().Announced(*op.series, static_cast<int>(round), op.plan().participants[peer].rank) == 0) {
        contributions[peer] = Contribution::kOwed;
      }
    }
    return contributions;
  }
  for (size_t k = round; k < rounds.size(); ++k) {
    for (const ExchangeSchedule::Message& message : rounds[k].receive) {
      const auto peer = static_cast<size_t>(message.peer);
      const int blocks = IsSmall(op) ? 1 : static_cast<int>(message.values.size());
      const int rank = op.plan().participants[peer].rank;
      if (exchange().Announced(*op.series, static_cast<int>(k), rank) >= blocks) continue;
      for (int i = 0; i < message.count; ++i) {
        const size_t p = static_cast<size_t>(message.first + i) % participants;
        if (contributions[p] == Contribution::kHere) contributions[p] = Contribution::kRelayed;
      }
      contributions[peer] = Contribution::kOwed;
    }
  }
  return contributions;
}

// -- Small: values travel whole ------------------------------------------------------------------------

bool TreeReducer::LaunchWhole(TreeOp& op) {
  const ExchangeSchedule::Round& round = ScheduleOf(op).rounds[static_cast<size_t>(op.round)];
  const std::vector<int>& values = round.send.front().values;  // the same for everybody
  const int64_t elements = op.content.elements;
  Tensor block = op.At(values.front());
  // They are merged in place soon: what the exchange does not copy must be copied here.
  if (values.size() > 1 || op.content.bytes() > exchange().copied_bytes()) {
    block = place().New({elements * static_cast<int64_t>(values.size())}, op.content.dtype);
    for (size_t i = 0; i < values.size(); ++i) {
      Tensor part = block.Slice(static_cast<int64_t>(i) * elements, {elements});
      place().Copy(op.At(values[i]), part);
    }
  }
  const auto rank_of = [&](const ExchangeSchedule::Message& message) {
    return op.plan().participants[static_cast<size_t>(message.peer)].rank;
  };
  std::vector<Exchange::Incoming> incoming;
  incoming.reserve(round.receive.size());
  for (const auto& message : round.receive) {
    incoming.push_back(
        {.rank = rank_of(message), .bytes = message.values.size() * op.content.bytes()});
  }
  if (op.group->whole_is_direct) {
    return exchange().AllGather(*op.series, op.round, block, std::move(incoming));
  }
  const Exchange::Outgoing outgoing{rank_of(round.send.front()), block};
  return exchange().AllToAll(*op.series, op.round, {&outgoing, 1}, std::move(incoming));
}

void TreeReducer::MergeWhole(TreeOp& op) {
  const ExchangeSchedule::Round& round = ScheduleOf(op).rounds[static_cast<size_t>(op.round)];
  const auto bytes = static_cast<int64_t>(op.content.bytes());
  for (const Exchange::Block& block : exchange().Take(*op.series, op.round)) {
    const auto message = std::ranges::lower_bound(round.receive, op.plan().IndexOf(block.rank), {},
                                                  &ExchangeSchedule::Message::peer);
    int64_t at = 0;
    for (const int value : message->values) {
      op.At(value) = block.bytes.Slice(at, {bytes}).Viewed({op.content.elements}, op.content.dtype);
      at += bytes;
    }
  }
  place().Merge(op.content, op.values, round.steps);
  for (const MergeStep& step : round.steps) op.At(step.from) = Tensor();
}

// -- Large: everybody owns a range ---------------------------------------------------------------------

bool TreeReducer::LaunchRootRanges(TreeOp& op) {
  const GroupPlan& plan = op.plan();
  const size_t participants = plan.participants.size();
  op.ranges = CutIntoRanges(op.content, static_cast<int>(participants));
  // The result is built where somebody wants it, or else in the first own root: a range of the result
  // arrives only after its owner has received that range of all roots, so nothing is overwritten that is
  // still to be sent.
  const auto wanted = std::find_if(op.results.begin(), op.results.end(), [&](const Tensor& result) {
    return result.defined() && &result.device() == &place().device();
  });
  op.destination = wanted != op.results.end() ? wanted->Reshape({op.content.elements})
                                              : op.At(plan.own().first_subtree);
  // Others may be done with their ranges before this process has merged its own.
  exchange().Expect(*op.series, 1, ResultRanges(op));
  std::vector<Exchange::Outgoing> outgoing;
  std::vector<Exchange::Incoming> incoming;
  // Everybody begins with its right neighbour, so that not all send to the same one at first.
  for (size_t step = 1; step < participants; ++step) {
    const size_t p = (static_cast<size_t>(plan.self) + step) % participants;
    for (int i = 0; i < plan.own().subtrees; ++i) {
      outgoing.push_back(
          {plan.participants[p].rank, RangeOf(op.At(plan.own().first_subtree + i), op.ranges[p])});
    }
  }
  const size_t bytes = static_cast<size_t>(op.own_range().size()) * SizeOf(op.content.dtype);
  for (const GroupPlan::Participant& participant : plan.participants) {
    if (participant.rank == plan.own().rank) continue;
    incoming.push_back({.rank = participant.rank, .blocks = participant.subtrees, .bytes = bytes});
  }
  return exchange().AllToAll(*op.series, 0, outgoing, std::move(incoming));
}

std::vector<Exchange::Incoming> TreeReducer::ResultRanges(const TreeOp& op) {
  std::vector<Exchange::Incoming> incoming;
  for (size_t p = 0; p < op.ranges.size(); ++p) {
    if (static_cast<int>(p) == op.plan().self) continue;
    Tensor memory = RangeOf(op.destination, op.ranges[p]);
    incoming.push_back({.rank = op.plan().participants[p].rank,
                        .bytes = memory.bytes(),
                        .memory = std::move(memory)});
  }
  return incoming;
}

void TreeReducer::MergeOwnRange(TreeOp& op) {
  const GroupPlan& plan = op.plan();
  const Range range = op.own_range();
  for (int i = 0; i < plan.own().subtrees; ++i) {
    Tensor& value = op.At(plan.own().first_subtree + i);
    value = RangeOf(value, range);
  }
  for (const Exchange::Block& block : exchange().Take(*op.series, 0)) {
    const auto sender = static_cast<size_t>(plan.IndexOf(block.rank));
    op.At(plan.participants[sender].first_subtree + block.index) =
        block.bytes.Viewed({range.size()}, op.content.dtype);
  }
  if (range.size() == 0) return;
  place().Merge(op.content.Part(range.begin, range.end), op.values, plan.steps);
}

bool TreeReducer::LaunchResultRanges(TreeOp& op) {
  Tensor value = op.At(0), slot = RangeOf(op.destination, op.own_range());
  if (value.elements() > 0 && value.DeviceAddress() != slot.DeviceAddress()) {
    place().Copy(value, slot);
  }
  // In every process from where it lies in the whole: all must see that it can be gathered in
  // place.
  if (exchange().in_stream_order()) value = slot;
  // The owner of a result may write to it as soon as its wait is over, which can be before this range
  // has been sent.
  const bool aliased =
      value.bytes() > exchange().copied_bytes() &&
      std::ranges::any_of(op.results, [&](const Tensor& result) {
        return result.defined() && &result.device() == &value.device() && Overlap(result, value);
      });
  if (aliased) value = place().Clone(value);
  op.values.clear();
  return exchange().AllGather(*op.series, 1, value, ResultRanges(op));
}

}  // namespace syncbn::comm
