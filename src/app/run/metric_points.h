// The figures of a metric record as named points, as a coordinator stores them.
//
//   train/loss, train/accuracy, train/learning_rate, train/gradient_norm, train/images_per_second
//   train/skipped              1 at a step that was skipped; no point elsewhere
//   train/other_bits           1 at a step after the run went on with another program, library or
//                              instruction set (test/other_bits: an evaluation); no point elsewhere
//   time/compute_ms, time/statistics_ms, time/gradients_ms, time/data_ms
//   test/loss, test/accuracy   with the statistics by which the best checkpoint is judged: the
//   first
//                              of train.evaluate.with
//   test/precise/loss, ...     with further ones, by name
//   train/NAME, test/NAME      the record's further figures
#pragma once

#include <string>
#include <vector>

#include "report/metric_batches.h"
#include "train/metric_record.h"

namespace syncbn::app {

// `evaluation`: which statistics are the first. A digest is no number, and not among them.
std::vector<report::Point> PointsOf(const train::MetricRecord& record,
                                    const std::string& evaluation, int64_t time_us);

}  // namespace syncbn::app
