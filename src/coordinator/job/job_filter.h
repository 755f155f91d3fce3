// The filter of ListJobs and WatchJobs: `state = RUNNING AND labels.team = vision AND name :
// resnet` (grammar and fields: syncbn.v1.ListJobsRequest.filter).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace syncbn::coordinator {

class JobFilter {
 public:
  using Value = std::variant<int64_t, std::string>;

  // Matches every job.
  JobFilter() = default;

  // Throws INVALID_ARGUMENT with the column, what was expected and, for a field or a state, the
  // nearest one that exists.
  static JobFilter Parse(std::string_view text);

  // A condition over the columns of `jobs`, "1" when empty, and the values of its '?' in order.
  // Made of fixed pieces only: no text of the filter is part of it.
  const std::string& sql() const { return sql_; }
  const std::vector<Value>& values() const { return values_; }

  // Equal for equal filters: page tokens hold for one filter only.
  std::string Fingerprint() const;

 private:
  friend class FilterParser;

  std::string sql_ = "1";
  std::vector<Value> values_;
};

}  // namespace syncbn::coordinator
