#include "data/batch_plan.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/text.h"
#include "syncbn/v1/run.pb.h"

namespace syncbn::data {
namespace {

std::vector<int64_t> Offsets(const std::vector<int64_t>& sizes) {
  std::vector<int64_t> offsets = {0};
  for (int64_t size : sizes) offsets.push_back(offsets.back() + size);
  return offsets;
}

// `samples` spread evenly under the capacities: the largest level at which min(capacity, level)
// adds up to no more, and one more for the first replicas that have room.
std::vector<int64_t> SpreadEvenly(int64_t samples, const std::vector<int64_t>& capacities) {
  const auto filled = [&](int64_t level) {
    int64_t sum = 0;
    for (int64_t capacity : capacities) sum += std::min(capacity, level);
    return sum;
  };
  int64_t low = 0, high = *std::max_element(capacities.begin(), capacities.end());
  while (low < high) {
    const int64_t middle = (low + high + 1) / 2;
    if (filled(middle) <= samples) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  int64_t left = samples - filled(low);
  std::vector<int64_t> sizes;
  for (int64_t capacity : capacities) {
    const bool one_more = left > 0 && capacity > low;
    sizes.push_back(std::min(capacity, low) + (one_more ? 1 : 0));
    left -= one_more ? 1 : 0;
  }
  return sizes;
}

}  // namespace

std::vector<int64_t> BatchPerReplica(const v1::ClusterSpec& cluster) {
  std::vector<int64_t> batches(cluster.batch_per_replica().begin(),
                               cluster.batch_per_replica().end());
  const auto replicas = static_cast<size_t>(cluster.replicas());
  if (batches.size() == 1) batches.resize(replicas, batches[0]);
  SYNCBN_CHECK_EQ(batches.size(), replicas) << "numbers in cluster.batch_per_replica";
  return batches;
}

int64_t SgdBatch(const v1::ClusterSpec& cluster) {
  const std::vector<int64_t> batches = BatchPerReplica(cluster);
  return std::accumulate(batches.begin(), batches.end(), int64_t{0});
}

BatchPlan::BatchPlan(int64_t samples, std::vector<int64_t> batch_per_replica,
                     v1::LastBatch last_batch)
    : samples_(samples),
      batch_per_replica_(std::move(batch_per_replica)),
      offsets_(Offsets(batch_per_replica_)) {
  SYNCBN_CHECK(last_batch == v1::LAST_BATCH_KEEP || last_batch == v1::LAST_BATCH_DROP)
      << "data.last_batch " << last_batch;
  for (int64_t size : batch_per_replica_) SYNCBN_CHECK_GE(size, 0) << "batch of a replica";
  batch_ = offsets_.back();
  if (batch_ < 1) {
    throw Error(ErrorCode::kInvalidArgument,
                "cluster.batch_per_replica adds up to 0 samples; at least one replica needs some");
  }
  if (samples_ < 1) throw Error(ErrorCode::kInvalidArgument, "there are no samples to train on");
  const int64_t partial = samples_ % batch_;
  steps_ = samples_ / batch_;
  if (partial > 0 && last_batch == v1::LAST_BATCH_KEEP) {
    ++steps_;
    partial_offsets_ = Offsets(SpreadEvenly(partial, batch_per_replica_));
  }
  if (steps_ == 0) {
    throw Error(ErrorCode::kInvalidArgument,
                "data.last_batch drop leaves nothing to train on: a batch of all replicas is " +
                    Plural(batch_, "sample") + " and there " + (samples_ == 1 ? "is " : "are ") +
                    std::to_string(samples_) +
                    "; make the batch smaller or set data.last_batch to keep");
  }
}

int64_t BatchPlan::largest_slice() const {
  return *std::max_element(batch_per_replica_.begin(), batch_per_replica_.end());
}

PositionRange BatchPlan::Step(int64_t step) const {
  SYNCBN_CHECK(step >= 0 && step < steps_) << "step " << step << " of " << steps_;
  return {step * batch_, std::min((step + 1) * batch_, samples_)};
}

PositionRange BatchPlan::Slice(int64_t step, int replica) const {
  SYNCBN_CHECK(replica >= 0 && replica < replicas()) << "replica " << replica;
  const PositionRange whole = Step(step);
  const std::vector<int64_t>& offsets = whole.size() < batch_ ? partial_offsets_ : offsets_;
  const auto r = static_cast<size_t>(replica);
  return {whole.begin + offsets[r], whole.begin + offsets[r + 1]};
}

int64_t StepsOfEpochs(double epochs, int64_t steps_per_epoch) {
  return std::max<int64_t>(1, std::llround(epochs * static_cast<double>(steps_per_epoch)));
}

}  // namespace syncbn::data
