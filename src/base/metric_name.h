// Names of what is measured over the steps of a run: of series at the coordinator, of figures in
// metrics.jsonl.
#pragma once

#include <cstddef>
#include <string_view>

namespace syncbn {

inline constexpr size_t kLongestMetricName = 128;

// Letters, digits, '.', '_', '-' and '/'; not empty, at most kLongestMetricName long.
bool IsMetricName(std::string_view name);

}  // namespace syncbn
