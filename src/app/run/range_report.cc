#include "app/run/range_report.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "app/console.h"
#include "base/text.h"

namespace syncbn::app {
namespace {

// Beyond this a value is called suspicious: activations and gradients that train lie far below, and
// half precision ends at 65,504.
constexpr double kLarge = 1e4;
constexpr size_t kMostSuspects = 5;

bool HasFinite(const TensorRange& range) {
  return range.not_finite < range.elements;
}

double Magnitude(const TensorRange& range) {
  return HasFinite(range) ? std::max(std::abs(range.min), std::abs(range.max)) : 0;
}

bool IsGradient(const TensorRange& range) {
  return range.what == "gradient";
}

std::string Named(const TensorRange& range) {
  return range.layer + " (" + range.what + ")";
}

// Why a tensor deserves a look; empty: it does not.
std::string Suspicion(const TensorRange& range) {
  if (range.not_finite > 0) {
    return Format("%lld of %lld values are not finite", static_cast<long long>(range.not_finite),
                  static_cast<long long>(range.elements));
  }
  const double magnitude = Magnitude(range);
  if (magnitude > kLarge) return Format("from %.4g to %.4g", range.min, range.max);
  if (range.elements > 0 && magnitude == 0) return "zero throughout";
  return "";
}

std::string LargestLine(const char* label, const std::vector<TensorRange>& merged, bool gradients) {
  const TensorRange* largest = nullptr;
  for (const TensorRange& range : merged) {
    if (IsGradient(range) != gradients || !HasFinite(range)) continue;
    if (largest == nullptr || Magnitude(range) > Magnitude(*largest)) largest = &range;
  }
  if (largest == nullptr) return "";
  return Format("%s: %.4g to %.4g, %s\n", label, largest->min, largest->max,
                Named(*largest).c_str());
}

}  // namespace

std::vector<TensorRange> MergedOverReplicas(const std::vector<TensorRange>& ranges) {
  std::vector<TensorRange> merged;
  std::map<std::pair<std::string, std::string>, size_t> places;
  for (const TensorRange& range : ranges) {
    const auto [place, added] = places.try_emplace({range.layer, range.what}, merged.size());
    if (added) {
      merged.push_back(range);
      continue;
    }
    TensorRange& sum = merged[place->second];
    if (HasFinite(range)) {
      sum.min = HasFinite(sum) ? std::min(sum.min, range.min) : range.min;
      sum.max = HasFinite(sum) ? std::max(sum.max, range.max) : range.max;
    }
    sum.not_finite += range.not_finite;
    sum.elements += range.elements;
  }
  return merged;
}

const TensorRange* FirstNotFinite(const std::vector<TensorRange>& ranges) {
  const TensorRange* first = nullptr;
  size_t first_position = 0, position = 0;
  int replica = -1;
  for (const TensorRange& range : ranges) {
    position = range.replica == replica ? position + 1 : 0;
    replica = range.replica;
    if (range.not_finite > 0 && (first == nullptr || position < first_position)) {
      first = &range;
      first_position = position;
    }
  }
  return first;
}

std::string RangeSummary(const std::vector<TensorRange>& ranges) {
  const std::vector<TensorRange> merged = MergedOverReplicas(ranges);
  std::string text =
      LargestLine("largest output", merged, false) + LargestLine("largest gradient", merged, true);
  std::vector<std::string> suspects;
  for (const TensorRange& range : merged) {
    const std::string reason = Suspicion(range);
    if (!reason.empty()) suspects.push_back(Named(range) + ": " + reason);
  }
  const size_t shown = std::min(suspects.size(), kMostSuspects);
  for (size_t i = 0; i < shown; ++i) text += "suspicious: " + suspects[i] + "\n";
  if (suspects.size() > shown) {
    text += Format("and %zu more that are suspicious\n", suspects.size() - shown);
  } else if (suspects.empty()) {
    text += "nothing suspicious\n";
  }
  return text + Format("of %s that layers gave and received; --layers shows the range of each\n",
                       Plural(static_cast<long long>(merged.size()), "tensor").c_str());
}

std::string RangeTable(const std::vector<TensorRange>& ranges, RangeDetail detail) {
  const bool replicas = detail == RangeDetail::kReplicas;
  std::vector<std::vector<std::string>> rows = {
      {"layer", "tensor", "smallest", "largest", "not finite"}};
  if (replicas) rows.front().insert(rows.front().begin(), "replica");
  for (const TensorRange& range : replicas ? ranges : MergedOverReplicas(ranges)) {
    const bool finite = HasFinite(range);
    rows.push_back({range.layer, range.what, finite ? Format("%.4g", range.min) : "-",
                    finite ? Format("%.4g", range.max) : "-",
                    range.not_finite == 0 ? "-" : std::to_string(range.not_finite)});
    if (replicas) rows.back().insert(rows.back().begin(), std::to_string(range.replica));
  }
  return FormatTable(rows, replicas ? std::vector<bool>{true, false, false, true, true, true}
                                    : std::vector<bool>{false, false, true, true, true});
}

}  // namespace syncbn::app
