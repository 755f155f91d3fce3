#include "base/metric_name.h"

#include <algorithm>
#include <cctype>

namespace syncbn {

bool IsMetricName(std::string_view name) {
  if (name.empty() || name.size() > kLongestMetricName) return false;
  return std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '.' || c == '_' || c == '-' || c == '/';
  });
}

}  // namespace syncbn
