#include "app/jobs/training_figures.h"

#include <algorithm>
#include <cmath>

#include "app/client_text.h"
#include "app/console.h"
#include "app/jobs/job_text.h"
#include "base/printable.h"
#include "base/text.h"

namespace syncbn::app {
namespace {

// A name and its value as people say it.
std::string Figure(const std::string& name, double value) {
  if (!std::isfinite(value)) return name + " not finite";
  if (name.ends_with("accuracy")) return name + " " + AccuracyText(value);
  if (name.ends_with("loss")) return name + " " + Fixed(value, 4);
  return Format("%s %.4g", name.c_str(), value);
}

constexpr std::string_view kTest = "test/";

}  // namespace

bool TrainingFigures::Turn::Take(int64_t now_at) {
  const MonotonicTime now = Clock::System().Monotonic();
  if (now < next || now_at == step) return false;
  next = now + std::chrono::seconds(1);
  step = now_at;
  return true;
}

void TrainingFigures::UpdateTraining(int64_t step) {
  v1::QueryMetricsRequest request;
  request.set_job(job_);
  request.set_max_buckets(1);
  // A mean over some steps shows more than one step's noise.
  request.set_first_step(std::max<int64_t>(0, step - 20));
  for (const char* name : {"train/loss", "train/accuracy", "train/images_per_second"}) {
    request.add_names(name);
  }
  try {
    const auto train = connection_.Call(&v1::MetricsService::Stub::QueryMetrics, request);
    for (const v1::Series& series : train.series()) {
      if (!series.mean().empty()) train_[series.name()] = series.mean().rbegin()[0];
    }
  } catch (const Error&) {
    // The watch of the job tells when the coordinator is away.
  }
}

std::vector<TrainingFigures::Evaluation> TrainingFigures::NewEvaluations(
    const v1::Progress& progress) {
  if (!evaluation_turn_.Take(progress.step())) return {};
  return NewEvaluations();
}

std::vector<TrainingFigures::Evaluation> TrainingFigures::NewEvaluations() {
  v1::QueryMetricsRequest request;
  request.set_job(job_);
  request.add_names(std::string(kTest) + "*");
  // Those of one step may come one after the other: from the last step on that was told of.
  int64_t first = 0;
  for (const auto& [name, step] : told_) first = std::max(first, step);
  request.set_first_step(first);
  request.set_max_buckets(20000);  // one a step
  struct Found {
    int64_t time_us = 0;
    std::string text;
  };
  std::map<int64_t, Found> found;
  try {
    const auto answer = connection_.Call(&v1::MetricsService::Stub::QueryMetrics, request);
    for (const v1::Series& series : answer.series()) {
      const auto known = told_.find(series.name());
      const int64_t last = known == told_.end() ? -1 : known->second;
      for (int i = 0; i < series.mean_size(); ++i) {
        const int64_t step = series.last_step(i);
        if (step <= last) continue;
        Found& one = found[step];
        one.time_us = std::max(one.time_us, series.time_us(i));
        one.text += "  " + Figure(OneLine(series.name().substr(kTest.size())), series.mean(i));
        told_[series.name()] = step;
      }
    }
  } catch (const Error&) {
    // They come with the next.
  }
  std::vector<Evaluation> evaluations;
  for (const auto& [step, one] : found) {
    evaluations.push_back({.time = WallTime(std::chrono::microseconds(one.time_us)),
                           .text = "step " + std::to_string(step) + one.text});
  }
  return evaluations;
}

std::optional<double> TrainingFigures::SecondsLeft(const v1::Job& job) {
  const v1::Progress& progress = job.progress();
  const double used = SecondsOf(job.used_time());
  if (!start_ || start_->attempt != job.attempt() || progress.step() < start_->step)
    start_ = Start{.attempt = job.attempt(), .step = progress.step(), .used = used};
  if (progress.step() <= 0 || progress.step() >= progress.total_steps()) return std::nullopt;
  Start since = *start_;
  if (used - since.used < 5 || progress.step() == since.step) {
    // What is seen of it tells too little. All of the first attempt began at step 0; later ones
    // began anywhere.
    if (job.attempt() != 1) return std::nullopt;
    since = Start();
  }
  if (used <= since.used) return std::nullopt;
  const auto left = static_cast<double>(progress.total_steps() - progress.step());
  return left * (used - since.used) / static_cast<double>(progress.step() - since.step);
}

std::string TrainingFigures::Line(const v1::Job& job) {
  const v1::Progress& progress = job.progress();
  if (training_turn_.Take(progress.step())) UpdateTraining(progress.step());
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
  if (const auto rate = find("train/images_per_second"))
    line += "  " + Fixed(*rate, 0) + " images/s";
  if (const auto left = SecondsLeft(job)) line += "  about " + FormatDuration(*left) + " left";
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
      if (!wanted) continue;
      text += "  " + Figure(series.name(), series.last_value());
      const bool was_better = series.name() == "test/accuracy" && series.has_max_value() &&
                              !(series.last_value() >= series.max_value());
      if (was_better) text += " (best " + AccuracyText(series.max_value()) + ")";
      text += "\n";
    }
  } catch (const Error&) {
    return "";
  }
  return text;
}

}  // namespace syncbn::app
