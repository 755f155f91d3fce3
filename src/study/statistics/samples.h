// What all statistics ask of their samples and do to them first, in one place.
//
// Errors are INVALID_ARGUMENT and name the sample, counted from 0. A run that diverged has no
// figure that is not finite: it counts, at chance level, and whoever collects samples puts that in
// its place.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

namespace syncbn::study {

// Throws unless there are `least` samples or more, all finite. `what` names them: "accuracy of arm
// a".
void CheckSamples(std::string_view what, std::span<const double> samples, size_t least);
// Throws unless both have the same length, which is `least` or more, and all are finite.
void CheckPairs(std::span<const double> a, std::span<const double> b, size_t least);
// Throws unless 0 < level < 1.
void CheckLevel(double level);
// `value`, once it is known to be finite; throws where the samples were too large for doubles.
double Finite(std::string_view what, double value);

// a[i] - b[i]. Pairs as CheckPairs wants them, 2 or more.
std::vector<double> Differences(std::span<const double> a, std::span<const double> b);
// Natural logarithms. Throws unless all are finite and above 0.
std::vector<double> Logarithms(std::string_view what, std::span<const double> samples);

// samples[i] = mean + scale * deviations[i]: deviations of at most 1, so that their squares and
// cubes neither overflow nor vanish, whatever the unit. scale = 0, exactly, where all samples are
// equal.
struct Centered {
  double mean = 0;
  double scale = 0;
  std::vector<double> deviations;

  double SquaredDeviations() const;
  // Of the mean: s / sqrt(n), s^2 = squared deviations / (n - 1). n >= 2.
  double StandardError() const;
};

// One finite sample or more; throws where they are too large for doubles.
Centered Center(std::span<const double> samples);

}  // namespace syncbn::study
