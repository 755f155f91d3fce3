#include "app/jobs/training_figures.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "app/client_text.h"
#include "app/console.h"
#include "base/printable.h"
#include "base/text.h"

namespace syncbn::app {
namespace {

// A name and its value as people say it.
std::string Figure(const std::string& name, double value) {
  if (!std::isfinite(value)) return name + " not finite";
  if (name.ends_with("accuracy")) return Format("%s %.1f %%", name.c_str(), 100 * value);
  if (name.ends_with("loss")) return Format("%s %.4f", name.c_str(), value);
  return Format("%s %.4g", name.c_str(), value);
}

}  // namespace

bool TrainingFigures::Update(const v1::Progress& progress) {
  const MonotonicTime now = Clock::System().Monotonic();
  if (now < next_ || progress.step() == asked_step_) return false;
  next_ = now + std::chrono::seconds(1);
  asked_step_ = progress.step();
  v1::QueryMetricsRequest request;
  request.set_job(job_);
  request.set_max_buckets(1);
  // A mean over some steps shows more than one step's noise.
  request.set_first_step(std::max<int64_t>(0, progress.step() - 20));
  for (const char* name : {"train/loss", "train/accuracy", "train/images_per_second"}) {
    request.add_names(name);
  }
  try {
    const auto train = connection_.Call(&v1::MetricsService::Stub::QueryMetrics, request);
    for (const v1::Series& series : train.series()) {
      if (!series.mean().empty()) train_[series.name()] = series.mean().rbegin()[0];
    }
    request.clear_names();
    request.add_names("test/*");
    request.set_first_step(test_step_ + 1);
    int64_t newest = test_step_;
    std::map<std::string, double> values;
    // Several evaluations may have come since: the newest is shown. One bucket a step.
    request.set_max_buckets(20000);
    const auto test = connection_.Call(&v1::MetricsService::Stub::QueryMetrics, request);
    for (const v1::Series& series : test.series()) {
      if (series.mean().empty() || series.last_step().empty()) continue;
      newest = std::max(newest, series.last_step().rbegin()[0]);
      values[series.name()] = series.mean().rbegin()[0];
    }
    if (newest > test_step_) {
      test_step_ = newest;
      test_ = values;
      new_test_ = true;
    }
  } catch (const Error&) {
    // The watch of the job tells when the coordinator is away.
  }
  return true;
}

std::string TrainingFigures::Line(const v1::Progress& progress) const {
  std::string line = "step " + std::to_string(progress.step());
  if (progress.total_steps() > 0) line += "/" + std::to_string(progress.total_steps());
  line += Format("  epoch %.1f", progress.epoch());
  if (!progress.phase().empty() && progress.phase() != "train")
    line += "  " + OneLine(progress.phase());
  const auto find = [&](const char* name) -> std::optional<double> {
    const auto found = train_.find(name);
    if (found == train_.end()) return std::nullopt;
    return found->second;
  };
  if (const auto loss = find("train/loss")) line += "  " + Figure("loss", *loss);
  if (const auto accuracy = find("train/accuracy")) line += "  " + Figure("accuracy", *accuracy);
  if (const auto rate = find("train/images_per_second")) line += Format("  %.0f images/s", *rate);
  return line;
}

std::string TrainingFigures::TakeEvaluation() {
  if (!new_test_) return "";
  new_test_ = false;
  std::string line = "step " + std::to_string(test_step_);
  for (const auto& [name, value] : test_) line += "  " + Figure(OneLine(name), value);
  return line;
}

std::string TrainingFigures::Summary() {
  v1::ListSeriesRequest request;
  request.set_job(job_);
  std::string text;
  try {
    const auto listed = connection_.Call(&v1::MetricsService::Stub::ListSeries, request);
    for (const v1::SeriesInfo& series : listed.series()) {
      const bool wanted = series.name() == "train/loss" || series.name() == "train/accuracy" ||
                          series.name() == "test/loss" || series.name() == "test/accuracy";
      if (wanted) text += "  " + Figure(series.name(), series.last_value()) + "\n";
    }
  } catch (const Error&) {
    return "";
  }
  return text;
}

}  // namespace syncbn::app
