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
  // The group's first process: signatures that have not come yet.
  std::atomic<int> missing_signatures{0};
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
      queues_.push_back({.group = group});
    };
    prepare({0, options.replicas});
    for (const Group group : options.native_groups) {
      if (group != Group{0, options.replicas}) prepare(group);
    }
    native_ = this->communicator().MakeNative(rank_sets);
  }
  Open();
}

NativeReducer::~NativeReducer() { Shutdown(); }

std::shared_ptr<ReducerBase::Op> NativeReducer::NewOp(const GroupPlan& plan) const {
  auto op = std::make_shared<NativeOp>();
  const Subtree members = plan.own().members;
  op->values.resize(static_cast<size_t>(members.end - members.begin));
  if (plan.self == 0) op->missing_signatures = static_cast<int>(plan.participants.size()) - 1;
  return op;
}

void NativeReducer::Contribute(const std::shared_ptr<Op>& base, int index, Tensor value) {
  const auto op = std::static_pointer_cast<NativeOp>(base);
  const Range whole{0, op->content.elements};
  std::unique_lock lock(op->mutex);
  op->values[static_cast<size_t>(index)] = std::move(value);
  if (op->merging) return;
  op->merging = true;
  while (op->merged < op->values.size() && op->values[op->merged].defined()) {
    Tensor next = std::move(op->values[op->merged]);
    lock.unlock();
    if (op->value.defined()) {
      MergeRange(op->content, whole, op->value.Bytes().data(), next.Bytes().data());
    } else {
      op->value = std::move(next);
    }
    lock.lock();
    ++op->merged;
  }
  op->merging = false;
  const bool complete = op->merged == op->values.size();
  lock.unlock();
  if (complete) FinishLocally(op);
}

size_t NativeReducer::QueueOf(Group group) const {
  for (size_t i = 0; i < queues_.size(); ++i) {
    if (queues_[i].group == group) return i;
  }
  throw Error(ErrorCode::kUnimplemented,
              "reduction: native has not been prepared for " + Describe(group) +
                  ", which cross processes: name the group when the reducer is made, or use "
                  "reduction: tree");
}

void NativeReducer::FinishLocally(const std::shared_ptr<NativeOp>& op) {
  const GroupPlan& plan = op->group->plan;
  if (plan.participants.size() == 1) {
    const Tensor value = std::move(op->value);
    return Complete(op, value.Bytes().data(), /*expected_others=*/false);
  }
  const size_t index = QueueOf(plan.group);
  ExpectOthers();
  if (plan.self != 0) {
    Send(plan.participants.front().rank, HeadOf(*op, MessageKind::kSignature), {}, nullptr);
  }
  std::lock_guard lock(queues_mutex_);
  Queue& queue = queues_[index];
  queue.waiting.emplace(op->sequence, op);
  while (!queue.waiting.empty() && queue.waiting.begin()->first == queue.next) {
    std::shared_ptr<NativeOp> next = queue.waiting.extract(queue.waiting.begin()).mapped();
    next->request = native_->Start(static_cast<int>(index), next->content, next->value.Bytes().data(),
                                   std::make_shared<Tensor>(next->value));
    running_.push_back(std::move(next));
    ++queue.next;
  }
}

Landing NativeReducer::OnData(const std::shared_ptr<Op>& op, int, const MessageHead&, size_t) {
  return {.owner = op};
}

void NativeReducer::OnDataBody(const std::shared_ptr<Op>& op, int, uint64_t) {
  static_cast<NativeOp&>(*op).missing_signatures.fetch_sub(1);
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

bool NativeReducer::Advance() {
  if (!native_) return false;
  std::vector<std::shared_ptr<NativeOp>> finished;
  {
    std::lock_guard lock(queues_mutex_);
    const auto still_running =
        std::stable_partition(running_.begin(), running_.end(), [&](const auto& op) {
          if (!op->reduced) op->reduced = Test(*op);
          return !op->reduced || op->missing_signatures.load() > 0;
        });
    finished.assign(still_running, running_.end());
    running_.erase(still_running, running_.end());
  }
  for (const std::shared_ptr<NativeOp>& op : finished) {
    Complete(op, op->value.Bytes().data(), /*expected_others=*/true);
    op->value = Tensor();
  }
  return !finished.empty();
}

bool NativeReducer::HeardFrom(const Op&, int) const { return false; }

}  // namespace syncbn::comm
