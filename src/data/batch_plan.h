// Which positions of an epoch's order each replica takes in each step.
//
// Pure functions of the sample count and the run file: nothing here knows of processes. A step's
// batch is a contiguous run of positions; replicas take contiguous slices of it in their order, of
// the sizes batch_per_replica. A last partial batch is either left out (drop) or spread evenly
// (keep): every replica takes as many samples as every other, up to one, but never more than its
// own batch, so that [61, 1, 1, 1] does not give a replica of 1 more than 1, and replicas of 0 stay
// empty. Immutable and thread-safe.
#pragma once

#include <cstdint>
#include <vector>

namespace syncbn::v1 {
class ClusterSpec;
enum LastBatch : int;
}  // namespace syncbn::v1

namespace syncbn::data {

// Positions [begin, end).
struct PositionRange {
  int64_t begin = 0;
  int64_t end = 0;

  int64_t size() const { return end - begin; }
  bool operator==(const PositionRange&) const = default;
};

// The batch of each replica: one number of the run file stands for all replicas.
std::vector<int64_t> BatchPerReplica(const v1::ClusterSpec& cluster);
// Their sum.
int64_t SgdBatch(const v1::ClusterSpec& cluster);

class BatchPlan {
 public:
  // Throws INVALID_ARGUMENT when no step would have a sample: no samples, a batch of 0 in all, or
  // fewer samples than a batch with `drop`.
  BatchPlan(int64_t samples, std::vector<int64_t> batch_per_replica, v1::LastBatch last_batch);

  int replicas() const { return static_cast<int>(batch_per_replica_.size()); }
  int64_t samples() const { return samples_; }
  // Samples of a whole batch (the SGD batch) and of the largest slice.
  int64_t batch() const { return batch_; }
  int64_t largest_slice() const;
  int64_t steps_per_epoch() const { return steps_; }

  // The whole batch of `step` (in [0, steps_per_epoch())) and the slice of one replica.
  PositionRange Step(int64_t step) const;
  PositionRange Slice(int64_t step, int replica) const;

 private:
  int64_t samples_;
  std::vector<int64_t> batch_per_replica_;
  int64_t batch_ = 0;
  int64_t steps_ = 0;
  std::vector<int64_t> offsets_;          // of each slice in a whole batch; replicas + 1 entries
  std::vector<int64_t> partial_offsets_;  // the same in the last batch, when that is partial
};

// Steps of so many passes over the training samples: rounded, one at least.
int64_t StepsOfEpochs(double epochs, int64_t steps_per_epoch);

}  // namespace syncbn::data
