#include "app/jobs/metrics_text.h"

#include <algorithm>
#include <ctime>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "app/client_text.h"
#include "app/console.h"
#include "app/jobs/curve.h"
#include "app/jobs/job_text.h"
#include "app/table.h"
#include "base/printable.h"
#include "base/text.h"

namespace syncbn::app {
namespace {

std::string ValueText(const v1::Series& series, int i) {
  if (series.non_finite(i) == series.count(i)) return "not finite";
  std::string text = Format("%.6g", series.mean(i));
  if (series.non_finite(i) > 0) text += "!";
  return text;
}

std::string Optional(bool there, double value) {
  return there ? Format("%.6g", value) : "";
}

// The series that tell most: those on the test split, and what is trained for.
bool IsWorthAColumn(const std::string& name) {
  return name.starts_with("test/") || name == "train/loss" || name == "train/accuracy";
}

bool IsLoss(const std::string& name) { return name.ends_with("loss"); }

// Of which one end is the better one.
bool HasBest(const std::string& name) {
  return name.starts_with("test/") && (IsLoss(name) || name.ends_with("accuracy"));
}

std::string BestText(const v1::SeriesInfo& series) {
  return IsLoss(series.name()) ? Optional(series.has_min_value(), series.min_value())
                               : Optional(series.has_max_value(), series.max_value());
}

const v1::SeriesInfo* Find(const v1::ListSeriesResponse& list, const std::string& name) {
  for (const v1::SeriesInfo& series : list.series()) {
    if (series.name() == name) return &series;
  }
  return nullptr;
}

std::string Csv(const std::string& text_of_others) {
  std::string text = OneLine(text_of_others);
  if (text.find_first_of(",\"") == std::string::npos) return text;
  for (size_t at = text.find('"'); at != std::string::npos; at = text.find('"', at + 2)) {
    text.insert(at, "\"");
  }
  return "\"" + text + "\"";
}

// "2026-11-22T21:03:11.000123Z"
std::string UtcTime(int64_t micros) {
  constexpr int64_t kMicros = 1'000'000;
  const int64_t rest = ((micros % kMicros) + kMicros) % kMicros;
  const auto seconds = static_cast<std::time_t>((micros - rest) / kMicros);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[64];
  text[std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts)] = '\0';
  return Format("%s.%06lldZ", text, static_cast<long long>(rest));
}

std::pair<std::string, std::string> ChangeOf(const std::string& change) {
  const size_t equals = std::min(change.find('='), change.size());
  return {change.substr(0, equals), change.substr(std::min(equals + 1, change.size()))};
}

}  // namespace

bool NameMatches(const std::string& name, const std::string& pattern) {
  return pattern.ends_with('*') ? name.starts_with(pattern.substr(0, pattern.size() - 1))
                                : name == pattern;
}

std::string SeriesList(const v1::ListSeriesResponse& list, const Terminal& terminal, WallTime now) {
  Table table({{.header = "NAME"},
               {.header = "LAST", .right = true},
               {.header = "AT STEP", .right = true},
               {.header = "LEAST", .right = true, .goes = 3},
               {.header = "GREATEST", .right = true, .goes = 4},
               {.header = "POINTS", .right = true, .goes = 1},
               {.header = "MEASURED", .right = true, .goes = 2}});
  for (const v1::SeriesInfo& series : list.series()) {
    table.Add({{series.name()},
               {Format("%.6g", series.last_value())},
               {Thousands(series.last_step())},
               {Optional(series.has_min_value(), series.min_value())},
               {Optional(series.has_max_value(), series.max_value())},
               {Thousands(series.points())},
               {series.has_last_time() ? Ago(series.last_time(), now) : ""}});
  }
  return table.Render(terminal);
}

std::string ComparisonTable(std::span<const JobSeries> jobs, const std::vector<std::string>& names,
                            const Terminal& terminal) {
  std::set<std::string> chosen;
  for (const JobSeries& one : jobs) {
    for (const v1::SeriesInfo& series : one.series.series()) {
      const bool wanted =
          names.empty() ? IsWorthAColumn(series.name())
                        : std::any_of(names.begin(), names.end(), [&](const std::string& pattern) {
                            return NameMatches(series.name(), pattern);
                          });
      if (wanted) chosen.insert(series.name());
    }
  }
  std::vector<Column> columns = {{.header = "JOB", .right = true},
                                 {.header = "NAME", .goes = 100},
                                 {.header = "LABELS", .goes = 1},
                                 {.header = "SET", .goes = 2},
                                 {.header = "STEP", .right = true, .goes = 99}};
  int goes = 3;
  for (const std::string& name : chosen) {
    columns.push_back({.header = name, .right = true, .goes = goes++});
    if (HasBest(name)) columns.push_back({.header = "BEST", .right = true, .goes = goes++});
  }
  Table table(columns);
  std::vector<const v1::Job*> all;
  for (const JobSeries& one : jobs) all.push_back(&one.job);
  const JobTags tags(all, terminal);
  for (const JobSeries& one : jobs) {
    int64_t step = -1;
    std::vector<Cell> values;
    for (const std::string& name : chosen) {
      const v1::SeriesInfo* series = Find(one.series, name);
      if (series != nullptr) step = std::max(step, series->last_step());
      values.push_back({series == nullptr ? "" : Format("%.6g", series->last_value())});
      if (HasBest(name)) values.push_back({series == nullptr ? "" : BestText(*series)});
    }
    std::vector<Cell> row = {{LastPart(one.job.name())},
                             {one.job.display_name()},
                             {tags.Labels(one.job)},
                             {tags.Changes(one.job)},
                             {step < 0 ? "" : Thousands(step)}};
    row.insert(row.end(), values.begin(), values.end());
    table.Add(row);
  }
  return table.Render(terminal);
}

std::string SeriesTables(const v1::QueryMetricsResponse& response, const Terminal& terminal,
                         bool& non_finite) {
  std::map<std::vector<std::pair<int64_t, int64_t>>, std::vector<const v1::Series*>> groups;
  std::vector<std::vector<std::pair<int64_t, int64_t>>> order;
  for (const v1::Series& series : response.series()) {
    if (series.mean().empty()) continue;
    std::vector<std::pair<int64_t, int64_t>> buckets;
    for (int i = 0; i < series.mean_size(); ++i) {
      buckets.emplace_back(series.first_step(i), series.last_step(i));
    }
    if (!groups.contains(buckets)) order.push_back(buckets);
    groups[buckets].push_back(&series);
  }
  std::string text;
  for (const auto& buckets : order) {
    std::vector<Column> columns = {{.header = "STEP", .right = true}};
    for (const v1::Series* series : groups[buckets]) {
      columns.push_back({.header = series->name(), .right = true});
    }
    Table table(columns);
    for (int i = 0; i < static_cast<int>(buckets.size()); ++i) {
      const auto [from, to] = buckets[static_cast<size_t>(i)];
      std::vector<Cell> row = {{from == to ? Thousands(from) : Thousands(from) + "-" + Thousands(to)}};
      for (const v1::Series* series : groups[buckets]) {
        const bool bad = series->non_finite(i) > 0;
        non_finite = non_finite || bad;
        row.push_back({ValueText(*series, i), bad ? Tone::kBad : Tone::kPlain});
      }
      table.Add(row);
    }
    if (!text.empty()) text += "\n";
    text += table.Render(terminal);
  }
  return text;
}

std::string SeriesCurves(const v1::QueryMetricsResponse& response, const Terminal& terminal) {
  std::string text;
  for (const v1::Series& series : response.series()) {
    if (series.mean().empty()) continue;
    std::vector<CurvePoint> points;
    for (int i = 0; i < series.mean_size(); ++i) points.push_back({series.last_step(i), series.mean(i)});
    if (!text.empty()) text += "\n";
    text += terminal.Paint(OneLine(series.name()), Tone::kStrong) + ", " +
            Thousands(series.points()) + Format(" points, last %.6g\n", points.back().value) +
            DrawCurve(points, std::min(terminal.width, 100), 12);
  }
  return text;
}

MetricsCsv::MetricsCsv(std::span<const v1::Job> jobs) {
  std::set<std::string> labels, changes;
  for (const v1::Job& job : jobs) {
    for (const auto& [key, value] : job.labels()) labels.insert(key);
    for (const std::string& change : job.overrides()) changes.insert(ChangeOf(change).first);
  }
  // Where the data is differs from machine to machine, not from run to run.
  changes.erase("data.path");
  labels_.assign(labels.begin(), labels.end());
  changes_.assign(changes.begin(), changes.end());
}

std::string MetricsCsv::JobColumns() const {
  std::string text = "job,job_name";
  for (const std::string& key : labels_) text += "," + Csv("labels." + key);
  for (const std::string& key : changes_) text += "," + Csv("set." + key);
  return text;
}

std::string MetricsCsv::JobFields(const v1::Job& job) const {
  std::string text = LastPart(job.name()) + "," + Csv(job.display_name());
  for (const std::string& key : labels_) {
    const auto label = job.labels().find(key);
    text += "," + (label == job.labels().end() ? "" : Csv(label->second));
  }
  std::map<std::string, std::string> changes;
  // Of two changes of a key the last counts.
  for (const std::string& change : job.overrides()) {
    const auto [key, value] = ChangeOf(change);
    changes[key] = value;
  }
  for (const std::string& key : changes_) text += "," + Csv(changes[key]);
  return text;
}

std::string MetricsCsv::Header() const {
  return JobColumns() +
         ",series,rank,attempt,first_step,last_step,time,mean,min,max,count,non_finite\n";
}

std::string MetricsCsv::Rows(const v1::Job& job, const v1::QueryMetricsResponse& response) const {
  const std::string fields = JobFields(job);
  std::string text;
  for (const v1::Series& series : response.series()) {
    for (int i = 0; i < series.mean_size(); ++i) {
      text += fields + "," + Csv(series.name()) + "," + std::to_string(series.rank()) + "," +
              std::to_string(series.attempt(i)) + "," + std::to_string(series.first_step(i)) + "," +
              std::to_string(series.last_step(i)) + "," + UtcTime(series.time_us(i)) + "," +
              FormatDouble(series.mean(i)) + "," + FormatDouble(series.min(i)) + "," +
              FormatDouble(series.max(i)) + "," + std::to_string(series.count(i)) + "," +
              std::to_string(series.non_finite(i)) + "\n";
    }
  }
  return text;
}

std::string MetricsCsv::PointsHeader() const {
  return JobColumns() + ",series,rank,attempt,step,time,value\n";
}

std::string MetricsCsv::Points(const v1::Job& job, const v1::MetricUpdate& update) const {
  const std::string fields = JobFields(job);
  const v1::MetricBatch& batch = update.batch();
  std::string text;
  for (int i = 0; i < batch.value_size(); ++i) {
    text += fields + "," + Csv(batch.names(batch.name_index(i))) + "," +
            std::to_string(update.rank()) + "," + std::to_string(update.attempt()) + "," +
            std::to_string(batch.step(i)) + "," + UtcTime(batch.time_us(i)) + "," +
            FormatDouble(batch.value(i)) + "\n";
  }
  return text;
}

std::string JsonLineOf(const v1::Job& job, const google::protobuf::Message& message) {
  nlohmann::ordered_json json = {{"job", job.name()}, {"job_name", job.display_name()}};
  json["labels"] = nlohmann::ordered_json::object();
  for (const auto& [key, value] : std::map<std::string, std::string>(job.labels().begin(), job.labels().end()))
    json["labels"][key] = value;
  json.update(JsonOf(message));
  return PrintableJson(json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

}  // namespace syncbn::app
