// One line of metrics.jsonl.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/digest.h"

namespace syncbn::train {

// Figures that are no part of every record, by name: see IsMetricName.
using NamedFigures = std::map<std::string, double>;

struct MetricRecord {
  // Where a step's wall time went; every moment is counted once.
  struct Milliseconds {
    double compute = 0, statistics = 0, gradients = 0, data = 0;
    bool operator==(const Milliseconds&) const = default;
  };

  // Number of the step from 0; of an evaluation: of the last step before it.
  int64_t step = 0;
  // Its epoch, from 0.
  int64_t epoch = 0;
  // "train" or "test".
  std::string split;
  // With which statistics the test split was evaluated: "running", "precise" or "batch".
  std::optional<std::string> evaluation;
  // Images of the step or of the evaluation.
  std::optional<int64_t> samples;
  // Mean over the samples.
  std::optional<double> loss;
  // Share of the samples, from 0 to 1.
  std::optional<double> accuracy;
  std::optional<double> learning_rate;
  // Euclidean norm of the gradients before clipping.
  std::optional<double> gradient_norm;
  // The step was not accepted (non-finite): it changed nothing.
  bool skipped = false;
  std::optional<double> images_per_second;
  std::optional<Milliseconds> milliseconds;
  // The run has gone on from a checkpoint of another program, library or instruction set at this
  // step or before: the bits are no longer those of a run that was never stopped.
  bool other_bits = false;
  // StateDigest after the step.
  std::optional<Digest> digest;
  // What else was measured; each is a series of its own at the coordinator, beside train/loss:
  // train/NAME.
  NamedFigures figures;

  bool operator==(const MetricRecord&) const = default;

  // Throws INVALID_ARGUMENT for a name that no series can have, or that another series has: one of
  // every record, or one of an evaluation (running/..., precise/..., batch/...).
  void AddFigures(const NamedFigures& more);

  // A JSON object on one line, without a line end. What is not given is left out. Numbers read back
  // as the same double; what is not finite is null.
  std::string ToJson() const;
  // The inverse, NaN for null; unknown keys are ignored. Throws DATA_LOSS with what is wrong,
  // names of figures that AddFigures refuses included.
  static MetricRecord FromJson(std::string_view line);
};

}  // namespace syncbn::train
