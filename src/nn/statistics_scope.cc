#include "nn/statistics_scope.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "base/text.h"
#include "base/unknown_value.h"
#include "config/norm_fit.h"

namespace syncbn::nn {
namespace {

std::vector<int64_t> BatchOfEachReplica(const v1::ClusterSpec& cluster) {
  const size_t replicas = static_cast<size_t>(cluster.replicas());
  std::vector<int64_t> batches(cluster.batch_per_replica().begin(),
                               cluster.batch_per_replica().end());
  if (batches.size() == 1) batches.assign(replicas, batches[0]);
  if (batches.size() != replicas) {
    throw Error(ErrorCode::kInvalidArgument, "cluster.batch_per_replica has " +
                                                 std::to_string(batches.size()) + " numbers for " +
                                                 Plural(cluster.replicas(), "replica") +
                                                 "; give one number, or one for each replica");
  }
  return batches;
}

}  // namespace

std::vector<int64_t> StatisticsScope::SliceSizes(int64_t batch) const {
  if (!slice_samples || batch == 0) return {batch};
  const int64_t slices = (batch + *slice_samples - 1) / *slice_samples;
  std::vector<int64_t> sizes;
  for (int64_t i = 0; i < slices; ++i)
    sizes.push_back(batch / slices + (i < batch % slices ? 1 : 0));
  return sizes;
}

StatisticsScope ResolveScope(const v1::NormBatch& batch, const v1::ClusterSpec& cluster) {
  if (batch.samples() == 0) {
    switch (batch.scope()) {
      case v1::NORM_SCOPE_REPLICA: return {};
      case v1::NORM_SCOPE_UNSPECIFIED:
      case v1::NORM_SCOPE_GLOBAL: return {.replicas_per_group = std::max(1, cluster.replicas())};
      default: ThrowUnknownValue("model.norm.batch", static_cast<int>(batch.scope()));
    }
  }
  const int64_t n = batch.samples();
  const std::vector<int64_t> batches = BatchOfEachReplica(cluster);
  const int64_t largest = *std::max_element(batches.begin(), batches.end());
  if (n < largest) return {.slice_samples = n};
  if (n == largest) return {};
  // The sizes that exist, in increasing order.
  std::vector<std::string> possible = {"any number up to " + std::to_string(largest)};
  for (size_t g = 2; g <= batches.size(); ++g) {
    if (batches.size() % g != 0) continue;
    const std::optional<int64_t> samples = config::SamplesOfGroups(batches, g);
    if (samples == n) return {.replicas_per_group = static_cast<int>(g)};
    if (samples && *samples > largest) possible.push_back(std::to_string(*samples));
  }
  throw Error(ErrorCode::kInvalidArgument,
              "a normalization batch of " + std::to_string(n) + " samples does not fit " +
                  Plural(cluster.replicas(), "replica") + " with batches of up to " +
                  Plural(largest, "sample") + "; possible: " + JoinAlternatives(possible));
}

}  // namespace syncbn::nn
