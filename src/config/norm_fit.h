// How the sizes of normalizations fit those of a model and of its replicas: rules that validation
// and the layers share. `batches` are the samples of each replica in a step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "syncbn/v1/run.pb.h"

namespace syncbn::config {

// The number of groups of a group norm over `channels`: the largest divisor of it that is not above
// `groups`, so that one setting fits layers of any width; 1 for numbers that mean nothing.
int64_t FittingGroups(int64_t channels, int64_t groups);

// Samples of every `group` consecutive replicas, by the batch of each replica, where that is one
// number. `group` divides the number of replicas.
std::optional<int64_t> SamplesOfGroups(const std::vector<int64_t>& batches, size_t group);

// Which samples of a step share the statistics of a norm over the batch.
struct NormGroups {
  // A replica's batch is cut into balanced slices of at most this many samples; none: it stays
  // whole.
  std::optional<int64_t> slice_samples = std::nullopt;
  // Consecutive replicas that share statistics.
  int replicas_per_group = 1;

  bool operator==(const NormGroups&) const = default;
};

// A number of samples n means: up to the largest batch of a replica, slices of each replica's
// batch; above, the smallest number of replicas whose groups hold n samples each. None when there
// is none.
std::optional<NormGroups> FitNormBatch(const v1::NormBatch& batch,
                                       const std::vector<int64_t>& batches);

// ceil(batch / most) slices that differ by at most one, the larger first (5 samples at 4 are 3 +
// 2); an empty batch is one slice of 0.
std::vector<int64_t> BalancedSlices(int64_t batch, int64_t most);
// "2 + 1"; many of them "10 x 3 + 1 x 2".
std::string SlicesText(const std::vector<int64_t>& sizes);

// What leaves some statistics of a step with a single sample: "a replica has a batch of 1 sample";
// empty when nothing does. Replicas without samples have no statistics.
std::string GroupOfOneSample(const NormGroups& groups, const std::vector<int64_t>& batches);

// Samples of the smallest statistics group of a step, of those that have any; 0: none has.
int64_t FewestSamples(const NormGroups& groups, const std::vector<int64_t>& batches);

// Whether each channel of each sample is normalized by itself, at least in some group of the step:
// an instance norm, and every other kind where its groups are that small. Its mean over height and
// width says nothing about the image.
bool NormalizesChannelsAlone(const v1::NormSpec& norm, int64_t channels,
                             const std::vector<int64_t>& batches);

// `channels` times the factor model.width, rounded, at least 1.
int64_t ScaledChannels(int64_t channels, double width);

}  // namespace syncbn::config
