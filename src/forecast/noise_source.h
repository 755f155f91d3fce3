// The law of the noise scale from what has been trained: the folder of a run or of a study.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "forecast/noise_law.h"

namespace syncbn::forecast {

struct NoiseSource {
  UncertainLaw law;
  // Of the law's noise scale, 95 %; without width where nothing is known of that.
  study::Interval noise_scale;
  // What it is from, the target included, for people.
  std::string description;
  // Of a study: the largest SGD batch that the law rests on; beyond it the law is extrapolated. 0:
  // of a run, or given.
  int64_t largest_batch = 0;
  // Where the law has fewer steps than trials of the study ran that did not reach the target;
  // empty: nowhere. No batch beyond `largest_batch` is to be advised then.
  std::string contradiction = {};

  std::optional<int64_t> most_advised() const {
    return contradiction.empty() ? std::nullopt : std::optional(largest_batch);
  }
};

// Of a run with `probes.noise_scale`: the geometric mean of its figures until the target, its
// interval over at most 10 consecutive parts of the run (figures that follow each other are not
// independent). The target is reached at the first evaluation with an accuracy of `accuracy`, by
// default that of the last one; without evaluations steps are relative. Throws FAILED_PRECONDITION
// where there are no figures or the target was not reached.
NoiseSource FromRun(const std::filesystem::path& folder, std::optional<double> accuracy);

// Of a study over SGD batches that counts steps to a target: `target` by its name, where it has
// several. SGD batches at which a trial has not reached it or has diverged are not used, and are
// told. Throws FAILED_PRECONDITION for a study without targets, with several cells of one SGD
// batch, with fewer than two batches that can be used, or where FitLaw does.
NoiseSource FromStudy(const std::filesystem::path& folder, const std::string& target);

// A study's or a run's, by what is in it. Throws NOT_FOUND for another, INVALID_ARGUMENT for
// `accuracy` of a study or `target` of a run.
NoiseSource FromFolder(const std::filesystem::path& folder, std::optional<double> accuracy,
                       const std::string& target);

}  // namespace syncbn::forecast
