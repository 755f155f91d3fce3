// How the sizes of normalizations fit those of a model and of its replicas: rules that validation
// and the layers share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace syncbn::config {

// The number of groups of a group norm over `channels`: the largest divisor of it that is not above
// `groups`, so that one setting fits layers of any width; 1 for numbers that mean nothing.
int64_t FittingGroups(int64_t channels, int64_t groups);

// Samples of every `group` consecutive replicas, by the batch of each replica, where that is one
// number. `group` divides the number of replicas.
std::optional<int64_t> SamplesOfGroups(const std::vector<int64_t>& batches, size_t group);

}  // namespace syncbn::config
