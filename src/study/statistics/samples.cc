#include "study/statistics/samples.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/error.h"

namespace syncbn::study {
namespace {

[[noreturn]] void Refuse(std::string message) {
  throw Error(ErrorCode::kInvalidArgument, std::move(message));
}

std::string SampleName(std::string_view what, size_t index, double value) {
  return std::string(what) + ": sample " + std::to_string(index) + " is " + std::to_string(value);
}

}  // namespace

void CheckSamples(std::string_view what, std::span<const double> samples, size_t least) {
  if (samples.size() < least) {
    Refuse(std::string(what) + ": " + std::to_string(samples.size()) + " samples, and " +
           std::to_string(least) + " are needed; run more seeds");
  }
  for (size_t i = 0; i < samples.size(); ++i) {
    if (!std::isfinite(samples[i])) {
      Refuse(SampleName(what, i, samples[i]) +
             ", and samples must be finite; a run that diverged counts at chance level");
    }
  }
}

void CheckPairs(std::span<const double> a, std::span<const double> b, size_t least) {
  if (a.size() != b.size()) {
    Refuse("pairs need as many samples on both sides, and there are " + std::to_string(a.size()) +
           " and " + std::to_string(b.size()) + "; give both arms the same seeds, in one order");
  }
  CheckSamples("first of each pair", a, least);
  CheckSamples("second of each pair", b, least);
}

void CheckLevel(double level) {
  // Nor so near to 1 that the quantile of its end is the largest of all.
  if (!(level > 0 && (1 + level) / 2 < 1)) {
    Refuse("the level of an interval is " + std::to_string(level) +
           ", and must lie between 0 and 1; 0.95 is usual");
  }
}

double Finite(std::string_view what, double value) {
  if (!std::isfinite(value)) {
    Refuse(std::string(what) + " is beyond what a double holds; give the samples in a larger unit");
  }
  return value;
}

std::vector<double> Differences(std::span<const double> a, std::span<const double> b) {
  CheckPairs(a, b, 2);
  std::vector<double> differences(a.size());
  for (size_t i = 0; i < a.size(); ++i) differences[i] = Finite("a difference", a[i] - b[i]);
  return differences;
}

std::vector<double> Logarithms(std::string_view what, std::span<const double> samples) {
  CheckSamples(what, samples, 0);
  std::vector<double> logarithms(samples.size());
  for (size_t i = 0; i < samples.size(); ++i) {
    if (!(samples[i] > 0)) {
      Refuse(SampleName(what, i, samples[i]) +
             ", and a logarithm needs samples above 0; compare differences instead");
    }
    logarithms[i] = std::log(samples[i]);
  }
  return logarithms;
}

double Centered::SquaredDeviations() const {
  double sum = 0;
  for (double deviation : deviations) sum += deviation * deviation;
  return sum;
}

double Centered::StandardError() const {
  const double n = static_cast<double>(deviations.size());
  return scale * std::sqrt(SquaredDeviations() / (n - 1) / n);
}

Centered Center(std::span<const double> samples) {
  Centered centered;
  centered.deviations.resize(samples.size());
  // From the first sample on: samples that are close together have exact differences, and equal
  // ones none.
  const double first = samples.front();
  double sum = 0;
  for (size_t i = 0; i < samples.size(); ++i) {
    centered.deviations[i] = Finite("the spread of the samples", samples[i] - first);
    sum += centered.deviations[i];
  }
  const double offset = Finite("the sum of the samples", sum) / static_cast<double>(samples.size());
  centered.mean = first + offset;
  for (double& deviation : centered.deviations) {
    deviation -= offset;
    centered.scale = std::max(centered.scale, std::abs(deviation));
  }
  if (centered.scale > 0) {
    for (double& deviation : centered.deviations) deviation /= centered.scale;
  }
  return centered;
}

}  // namespace syncbn::study
