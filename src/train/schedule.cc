#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.h"
#include "base/error.h"
#include "base/unknown_value.h"

namespace syncbn::train {
namespace {

// The rate at which one_cycle starts, as a share of the peak.
constexpr double kOneCycleStart = 1.0 / 25;

double ScaleOf(const v1::LearningRateSpec& spec, int64_t sgd_batch) {
  const double ratio = static_cast<double>(sgd_batch) /
                       static_cast<double>(std::max<int64_t>(1, spec.reference_batch()));
  switch (spec.scaling()) {
    case v1::LEARNING_RATE_SCALING_UNSPECIFIED:
    case v1::LEARNING_RATE_SCALING_NONE:
      return 1;
    case v1::LEARNING_RATE_SCALING_LINEAR:
      return ratio;
    case v1::LEARNING_RATE_SCALING_SQRT:
      return std::sqrt(ratio);
    default:
      ThrowUnknownValue("train.learning_rate.scaling", static_cast<int>(spec.scaling()));
  }
}

// From `from` at p = 0 to `to` at p = 1, along half a cosine; exact at both ends.
double Cosine(double from, double to, double p) {
  const double half = 0.5 * std::cos(std::numbers::pi * p);
  return from * (0.5 + half) + to * (0.5 - half);
}

}  // namespace

LearningRate::LearningRate(const v1::LearningRateSpec& spec, int64_t sgd_batch,
                           int64_t steps_per_epoch, int64_t total_steps)
    : schedule_(spec.schedule()),
      base_(spec.base()),
      peak_(spec.base() * ScaleOf(spec, sgd_batch)),
      gamma_(spec.gamma()),
      power_(spec.power()),
      final_(spec.final()),
      rise_(spec.rise()),
      warmup_steps_(std::llround(spec.warmup_epochs() * static_cast<double>(steps_per_epoch))),
      total_steps_(total_steps) {
  SYNCBN_CHECK_GE(sgd_batch, 1);
  SYNCBN_CHECK_GE(steps_per_epoch, 1);
  if (schedule_ == v1::SCHEDULE_ONE_CYCLE && spec.warmup_epochs() > 0) {
    throw Error(
        ErrorCode::kInvalidArgument,
        "train.learning_rate: one_cycle rises by itself during `rise` of the run; leave out "
        "warmup_epochs");
  }
  for (double epoch : spec.milestones()) {
    milestones_.push_back(std::llround(epoch * static_cast<double>(steps_per_epoch)));
  }
}

double LearningRate::At(int64_t step) const {
  SYNCBN_CHECK_GE(step, 0);
  if (step >= warmup_steps_) return Scheduled(step);
  const bool from_base = peak_ > base_;
  const double start = from_base ? base_ : 0;
  const int64_t origin = from_base ? 0 : -1;
  const double risen =
      static_cast<double>(step - origin) / static_cast<double>(warmup_steps_ - origin);
  return start + (peak_ - start) * risen;
}

double LearningRate::Scheduled(int64_t step) const {
  const double length = static_cast<double>(std::max<int64_t>(1, total_steps_ - warmup_steps_));
  const double p = std::min(1.0, static_cast<double>(step - warmup_steps_) / length);
  switch (schedule_) {
    case v1::SCHEDULE_UNSPECIFIED:
    case v1::SCHEDULE_CONSTANT:
      return peak_;
    case v1::SCHEDULE_STEP: {
      const auto reached = std::count_if(milestones_.begin(), milestones_.end(),
                                         [&](int64_t milestone) { return step >= milestone; });
      return peak_ * std::pow(gamma_, static_cast<double>(reached));
    }
    case v1::SCHEDULE_COSINE:
      return Cosine(peak_, peak_ * final_, p);
    case v1::SCHEDULE_POLYNOMIAL:
      return peak_ * (final_ + (1 - final_) * std::pow(1 - p, power_));
    case v1::SCHEDULE_ONE_CYCLE:
      return p < rise_ ? Cosine(peak_ * kOneCycleStart, peak_, p / rise_)
                       : Cosine(peak_, peak_ * final_, (p - rise_) / (1 - rise_));
    default:
      ThrowUnknownValue("train.learning_rate.schedule", static_cast<int>(schedule_));
  }
}

}  // namespace syncbn::train
