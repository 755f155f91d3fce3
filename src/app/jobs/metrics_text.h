// Metrics as text: lists, tables, curves, CSV and JSON.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "app/terminal.h"
#include "base/clock.h"
#include "syncbn/v1/job.pb.h"
#include "syncbn/v1/metrics.pb.h"

namespace syncbn::app {

// Whether `name` is `pattern`, or begins as a pattern that ends in '*' does.
bool NameMatches(const std::string& name, const std::string& pattern);

// What there is of one job, with its last, least and greatest values.
std::string SeriesList(const v1::ListSeriesResponse& series, const Terminal& terminal, WallTime now);

// A line a job: its last and, of accuracies and losses on the test split, its best values. `names` as
// in a query; none: what is worth a column.
struct JobSeries {
  v1::Job job;
  v1::ListSeriesResponse series;
};
std::string ComparisonTable(std::span<const JobSeries> jobs, const std::vector<std::string>& names,
                            const Terminal& terminal);

// Series with the same ranges of steps side by side. `non_finite`: set where a value was not finite.
std::string SeriesTables(const v1::QueryMetricsResponse& response, const Terminal& terminal,
                         bool& non_finite);
std::string SeriesCurves(const v1::QueryMetricsResponse& response, const Terminal& terminal);

// CSV of several jobs (RFC 4180), of which each has a column for every label and changed key of any.
class MetricsCsv {
 public:
  explicit MetricsCsv(std::span<const v1::Job> jobs);

  std::string Header() const;
  std::string Rows(const v1::Job& job, const v1::QueryMetricsResponse& response) const;
  // Of points as they come.
  std::string PointsHeader() const;
  std::string Points(const v1::Job& job, const v1::MetricUpdate& update) const;

 private:
  std::string JobColumns() const;
  std::string JobFields(const v1::Job& job) const;

  std::vector<std::string> labels_, changes_;
};

// The message of a job, with whose it is.
std::string JsonLineOf(const v1::Job& job, const google::protobuf::Message& message);

}  // namespace syncbn::app
