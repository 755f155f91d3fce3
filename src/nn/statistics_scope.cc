#include "nn/statistics_scope.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "base/text.h"
#include "base/unknown_value.h"
#include "config/norm_fit.h"

namespace syncbn::nn {

std::vector<int64_t> BatchOfEachReplica(const v1::ClusterSpec& cluster) {
  const size_t replicas = static_cast<size_t>(cluster.replicas());
  std::vector<int64_t> batches(cluster.batch_per_replica().begin(),
                               cluster.batch_per_replica().end());
  if (batches.size() == 1) batches.assign(replicas, batches[0]);
  if (batches.size() != replicas) {
    throw Error(ErrorCode::kInvalidArgument,
                "cluster.batch_per_replica has " +
                    Plural(static_cast<long long>(batches.size()), "number") + " for " +
                    Plural(cluster.replicas(), "replica") +
                    "; give one number, or one for each replica");
  }
  return batches;
}

std::vector<int64_t> StatisticsScope::SliceSizes(int64_t batch) const {
  if (!slice_samples) return {batch};
  return config::BalancedSlices(batch, *slice_samples);
}

comm::Group StatisticsScope::GroupOf(const comm::ReplicaLink& link) const {
  const comm::Group group = GroupOf(link.replica);
  if (link.reducer == nullptr || group.end > link.replicas()) {
    throw Error(ErrorCode::kFailedPrecondition,
                "statistics are shared by " + Plural(group.size(), "replica") + ", and " +
                    (link.reducer == nullptr ? std::string("this pass has no reducer")
                                             : "there are " + std::to_string(link.replicas())) +
                    "; build the model for the cluster it runs on");
  }
  return group;
}

StatisticsScope ResolveScope(const v1::NormBatch& batch, const v1::ClusterSpec& cluster) {
  const std::vector<int64_t> batches = BatchOfEachReplica(cluster);
  if (batch.samples() == 0 && !v1::NormScope_IsValid(batch.scope())) {
    ThrowUnknownValue("model.norm.batch", static_cast<int>(batch.scope()));
  }
  if (const std::optional<config::NormGroups> groups = config::FitNormBatch(batch, batches)) {
    return {.slice_samples = groups->slice_samples,
            .replicas_per_group = groups->replicas_per_group};
  }
  const int64_t n = batch.samples();
  const int64_t largest = *std::max_element(batches.begin(), batches.end());
  // The sizes that exist, in increasing order.
  std::vector<std::string> possible = {"any number up to " + std::to_string(largest)};
  for (size_t g = 2; g <= batches.size(); ++g) {
    if (batches.size() % g != 0) continue;
    const std::optional<int64_t> samples = config::SamplesOfGroups(batches, g);
    if (samples && *samples > largest) possible.push_back(std::to_string(*samples));
  }
  throw Error(ErrorCode::kInvalidArgument,
              "a normalization batch of " + Plural(n, "sample") + " does not fit " +
                  Plural(cluster.replicas(), "replica") + " with batches of up to " +
                  Plural(largest, "sample") + "; possible: " + JoinAlternatives(possible));
}

}  // namespace syncbn::nn
