#include "app/run/metric_points.h"

#include <optional>

namespace syncbn::app {

std::vector<report::Point> PointsOf(const train::MetricRecord& record,
                                    const std::string& evaluation, int64_t time_us) {
  std::vector<report::Point> points;
  auto add = [&](std::string name, std::optional<double> value) {
    if (value) {
      points.push_back(
          {.name = std::move(name), .step = record.step, .value = *value, .time_us = time_us});
    }
  };
  std::string prefix = record.split + "/";
  if (record.evaluation && *record.evaluation != evaluation) prefix += *record.evaluation + "/";
  add(prefix + "loss", record.loss);
  add(prefix + "accuracy", record.accuracy);
  add(prefix + "learning_rate", record.learning_rate);
  add(prefix + "gradient_norm", record.gradient_norm);
  add(prefix + "images_per_second", record.images_per_second);
  if (record.skipped) add(prefix + "skipped", 1);
  if (record.other_bits) add(prefix + "other_bits", 1);
  for (const auto& [name, value] : record.figures) add(prefix + name, value);
  if (record.milliseconds) {
    add("time/compute_ms", record.milliseconds->compute);
    add("time/statistics_ms", record.milliseconds->statistics);
    add("time/gradients_ms", record.milliseconds->gradients);
    add("time/data_ms", record.milliseconds->data);
  }
  return points;
}

}  // namespace syncbn::app
