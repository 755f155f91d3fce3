#include "comm/native_reducer.h"

#include <algorithm>
#include <utility>

namespace syncbn::comm {
namespace {

// The processes that host a group.
std::vector<int> RanksOf(const ReplicaMap& map, Group group) {
  std::vector<int> ranks;
  for (int rank = map.ProcessOf(group.begin); rank <= map.ProcessOf(group.end - 1); ++rank) {
    ranks.push_back(rank);
  }
  return ranks;
}

}  // namespace

struct NativeReducer::NativeOp : Op {
  // By local member; merged from the front as they become available. Under mutex.
  std::vector<Tensor> values;
  size_t merged = 0;
  bool merging = false;
  // The sum of this process, then of all.
  Tensor value;
  std::shared_ptr<NativeCollectives::Request> request;
  bool reduced = false;
  // The signatures of the others have come, as far as this process compares them.
  std::atomic<bool> compared{false};
};

NativeReducer::NativeReducer(Communicator& communicator, const ReducerOptions& options)
    : ReducerBase(communicator, options) {
  if (communicator.size() > 1) {
    const ReplicaMap map(options.replicas, communicator.size());
    std::vector<std::vector<int>> rank_sets;
    const auto prepare = [&](Group group) {
      std::vector<int> ranks = RanksOf(map, group);
      if (ranks.size() == 1) return;
      rank_sets.push_back(std::move(ranks));
      native_groups_.push_back(group);
    };
    prepare({0, options.replicas});
    for (const Group group : options.native_groups) {
      if (group != Group{0, options.replicas}) prepare(group);
    }
    native_ = exchange().MakeNative(rank_sets);
    if (!native_) native_ = this->communicator().MakeNative(rank_sets);
  }
  Open();
}

NativeReducer::~NativeReducer() { Shutdown(); }

std::shared_ptr<ReducerBase::Op> NativeReducer::NewOp(const GroupState& group) const {
  auto op = std::make_shared<NativeOp>();
  op->values.resize(static_cast<size_t>(group.local.size()));
  return op;
}

bool NativeReducer::Combine(Op& base, int index, Tensor value) {
  auto* const op = static_cast<NativeOp*>(&base);
  std::unique_lock lock(op->mutex);
  op->values[static_cast<size_t>(index)] = std::move(value);
  if (op->merging) return false;
  op->merging = true;
  while (op->merged < op->values.size() && op->values[op->merged].defined()) {
    Tensor next = std::move(op->values[op->merged]);
    lock.unlock();
    if (op->value.defined()) {
      stream().Merge(op->content, op->value, next);
    } else {
      op->value = std::move(next);
    }
    lock.lock();
    ++op->merged;
  }
  op->merging = false;
  return op->merged == op->values.size();
}

Tensor NativeReducer::TakePart(Op& op) { return std::move(static_cast<NativeOp&>(op).value); }

size_t NativeReducer::IndexOf(Group group) const {
  const auto found = std::ranges::find(native_groups_, group);
  if (found != native_groups_.end()) return static_cast<size_t>(found - native_groups_.begin());
  throw Error(ErrorCode::kUnimplemented,
              "reduction: native has not been prepared for " + Describe(group) +
                  ", which cross processes: name the group when the reducer is made, or use "
                  "reduction: tree");
}

bool NativeReducer::Launch(const std::shared_ptr<Op>& base) {
  auto op = std::static_pointer_cast<NativeOp>(base);
  const GroupPlan& plan = op->group->plan;
  const size_t index = IndexOf(plan.group);
  if (exchange().in_stream_order()) {
    native_->Start(static_cast<int>(index), op->content, op->value);
    op->all_launched.store(true, std::memory_order_release);
    return true;
  }
  // Blocks without bytes: what is compared is in their heads.
  std::vector<Exchange::Outgoing> outgoing;
  std::vector<Exchange::Incoming> incoming;
  if (plan.self != 0) {
    outgoing.push_back({.rank = plan.participants.front().rank, .block = {}});
  } else {
    for (size_t p = 1; p < plan.participants.size(); ++p) {
      incoming.push_back({.rank = plan.participants[p].rank});
    }
  }
  op->value = ForExchange(std::move(op->value));
  const bool compared = exchange().AllToAll(*op->series, 0, outgoing, std::move(incoming));
  op->request = native_->Start(static_cast<int>(index), op->content, op->value);
  op->all_launched.store(true, std::memory_order_release);
  std::lock_guard lock(running_mutex_);
  running_.push_back(std::move(op));
  return compared;
}

void NativeReducer::Continue(const std::shared_ptr<Op>& base) {
  auto& op = static_cast<NativeOp&>(*base);
  op.compared = true;
  if (exchange().in_stream_order()) Complete(base, std::exchange(op.value, Tensor()));
}

bool NativeReducer::Test(NativeOp& op) {
  try {
    return native_->Test(*op.request);
  } catch (const Error&) {
    // Messages of different lengths are an error of the library too, and less clear than the comparison
    // of signatures, which is under way.
    const auto now = std::chrono::steady_clock::now();
    if (!failing_since_) failing_since_ = now;
    if (now - *failing_since_ > std::chrono::seconds(1)) throw;
    return false;
  }
}

bool NativeReducer::Poll() {
  if (!native_) return false;
  std::vector<std::shared_ptr<NativeOp>> finished;
  {
    std::lock_guard lock(running_mutex_);
    const auto still_running =
        std::stable_partition(running_.begin(), running_.end(), [&](const auto& op) {
          if (!op->reduced) op->reduced = Test(*op);
          return !op->reduced || !op->compared;
        });
    finished.assign(still_running, running_.end());
    running_.erase(still_running, running_.end());
  }
  for (const std::shared_ptr<NativeOp>& op : finished) {
    Complete(op, op->value);
    op->value = Tensor();
  }
  return !finished.empty();
}

std::vector<ReducerBase::Contribution> NativeReducer::Contributions(const Op& op) const {
  // The library does not tell.
  std::vector<Contribution> contributions(op.group->plan.participants.size(), Contribution::kOwed);
  contributions[static_cast<size_t>(op.group->plan.self)] = Contribution::kHere;
  return contributions;
}

}  // namespace syncbn::comm
