// Iterative normalization (Huang et al. 2019): the channels of a group are centered and made
// uncorrelated over the normalization batch, by W, the inverse square root of their covariance from
// Newton's iteration; then scaled and shifted as by every norm. backend::WhiteningSpec has the
// formulas.
//
// Over a group of replicas: one message a pass. Forward, for each group of channels [count, mean,
// co-moments], merged by Chan's formula; backward, the sums of dxhat and of dxhat (x - mean)^T. A
// replica without samples takes part with count 0.
//
// What is kept for inference are the mean and the covariance over the samples of a step, averaged
// as the mean and the variance of batch norm are, from which W is made when it is needed. (The
// paper averages W. Covariances merge over groups of samples, over steps and over the batches of
// precise statistics; matrices W do not.)
#pragma once

#include <string>

#include "nn/norm.h"
#include "nn/statistics_scope.h"

namespace syncbn::nn {

class IterativeNorm : public Norm {
 public:
  struct IterativeOptions {
    StatisticsScope scope;
    backend::WhiteningSpec whitening;
    // Index in the layout of running statistics.
    int statistics = 0;
  };

  IterativeNorm(std::string name, const Options& options, const IterativeOptions& iterative);

  // Throws INVALID_ARGUMENT when the channels do not match.
  Shape OutputShape(const Shape& input) const override;

 protected:
  void StartStatistics(Pending& pending, StepContext& context) const override;
  // What is normalized then is xhat, with mean 0 and deviation 1.
  void FinishStatistics(Pending& pending, StepContext& context) const override;
  backend::InputTerms FinishInputTerms(const Sums& sums, const comm::Reducer::Handle& handle,
                                       const Tensor& message, StepContext& context) const override {
    return {};
  }
  Tensor BackwardThroughStatistics(Tensor dx, StepContext& context) const override;

 private:
  // The channels of each group as kMergeMoments takes them.
  std::vector<int64_t> Blocks() const;

  const IterativeOptions iterative_;
  const std::vector<int64_t> blocks_;
  const std::string forward_name_, backward_name_;
};

}  // namespace syncbn::nn
