// Which samples share the statistics of a batch norm: the run file's normalization batch seen from
// one replica.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "comm/reducer.h"
#include "syncbn/v1/run.pb.h"

namespace syncbn::nn {

struct StatisticsScope {
  // A replica's batch is cut into balanced slices of at most this many samples; none: it stays
  // whole.
  std::optional<int64_t> slice_samples = std::nullopt;
  // Consecutive replicas that share statistics: [0, g), [g, 2g), ...
  int replicas_per_group = 1;

  bool crosses_replicas() const { return replicas_per_group > 1; }
  comm::Group GroupOf(int replica) const {
    const int begin = replica / replicas_per_group * replicas_per_group;
    return {begin, begin + replicas_per_group};
  }
  // That of the link's replica; throws FAILED_PRECONDITION when the link does not have it.
  comm::Group GroupOf(const comm::ReplicaLink& link) const;
  // Samples of each slice of a batch: ceil(batch / slice_samples) slices that differ by at most
  // one, the larger first (5 samples at 4 are 3 + 2). An empty batch is one slice of 0.
  std::vector<int64_t> SliceSizes(int64_t batch) const;

  bool operator==(const StatisticsScope&) const = default;
};

// Samples of each replica in a step: one number of the run file stands for all replicas. Throws
// INVALID_ARGUMENT for a list of another length.
std::vector<int64_t> BatchOfEachReplica(const v1::ClusterSpec& cluster);

// What config::FitNormBatch finds. Throws INVALID_ARGUMENT, with the nearest numbers that fit, when
// a number of samples does not.
StatisticsScope ResolveScope(const v1::NormBatch& batch, const v1::ClusterSpec& cluster);

}  // namespace syncbn::nn
