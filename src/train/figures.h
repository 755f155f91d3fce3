// Loss and accuracy: of an evaluation, and of an epoch of training.
#pragma once

#include <cstdint>
#include <optional>

namespace syncbn::train {

// Means over samples.
struct Figures {
  double loss = 0;
  double accuracy = 0;
};

// Sums over the steps of one epoch so far. Skipped steps are counted and add nothing else: what is
// not finite in one step does not hide the others. Kept in checkpoints, so an epoch that was
// stopped in the middle has the same figures.
struct EpochSums {
  double loss = 0, correct = 0, samples = 0;
  int64_t skipped = 0;

  void Add(double step_loss, double step_correct, double step_samples, bool accepted) {
    if (!accepted) {
      ++skipped;
      return;
    }
    loss += step_loss;
    correct += step_correct;
    samples += step_samples;
  }
  // Nothing before the first step that was not skipped.
  std::optional<Figures> Means() const {
    if (samples <= 0) return std::nullopt;
    return Figures{.loss = loss / samples, .accuracy = correct / samples};
  }
};

}  // namespace syncbn::train
