// What the ranges of a step's tensors say to people: the few that matter, or a table of all. Pure
// functions of what a RangeCollector has seen.
#pragma once

#include <string>
#include <vector>

#include "app/run/tensor_ranges.h"

namespace syncbn::app {

// Ranges of several replicas as one for each layer and tensor, in the order of computation.
// Replicas without a finite value (no samples, say) do not move a range. `replica` and
// `first_bad_sample` say nothing there.
std::vector<TensorRange> MergedOverReplicas(const std::vector<TensorRange>& ranges);

// The first value that is not finite, in the order of computation: replicas run side by side, so
// the earliest position within a replica counts, then the smaller replica. Null: all are finite.
const TensorRange* FirstNotFinite(const std::vector<TensorRange>& ranges);

// About ten lines: how many tensors there are, the largest output and the largest gradient, and
// what is suspicious: not finite, so large that it will not be for long, or zero throughout.
std::string RangeSummary(const std::vector<TensorRange>& ranges);

enum class RangeDetail { kLayers, kReplicas };

// A line for each layer and tensor, or for each of every replica.
std::string RangeTable(const std::vector<TensorRange>& ranges, RangeDetail detail);

}  // namespace syncbn::app
