// Batch normalization (Ioffe and Szegedy 2015). Local, ghost, grouped and global are one class: the
// samples that share statistics are slices of a replica's batch, that batch, or the batches of a
// group of replicas.
//
// The time steps of a recurrent layer have statistics apart, under one gamma and beta, in one
// message.
//
// With frozen statistics it is a scale and a shift of each channel, and sends nothing.
//
// Over a group: one message a pass. Forward, [count, mean[C], m2[C]] merged by Chan's formula;
// backward, sum(dy) and sum(dy * xhat), summed. A replica without samples takes part with count 0.
// The gradients of gamma and beta are the replica's own sums; the trainer adds those of all
// replicas.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "nn/norm.h"
#include "nn/statistics_scope.h"

namespace syncbn::nn {

class BatchNorm : public Norm {
 public:
  struct BatchOptions {
    StatisticsScope scope;
    int64_t channels = 0;
    // Index in the layout of running statistics.
    int statistics = 0;
    // Time steps that have statistics of their own, with consecutive indices from there on. Later
    // ones have those of the last in evaluation, else those of their batch, which are not logged.
    int64_t steps = 1;
    // Normalizes by its running statistics in every pass, and leaves no moments by which they would
    // move.
    bool frozen = false;
  };

  BatchNorm(std::string name, const Options& options, const BatchOptions& batch);

  // Throws INVALID_ARGUMENT when the channels do not match.
  Shape OutputShape(const Shape& input) const override;
  Description Describe() const override {
    return BatchNormOf{.gamma = options().gamma,
                       .beta = options().beta,
                       .epsilon = epsilon(),
                       .statistics = batch_.statistics};
  }

 protected:
  void StartStatistics(Pending& pending, StepContext& context) const override;
  void FinishStatistics(Pending& pending, StepContext& context) const override;
  comm::Reducer::Handle StartInputTerms(const Sums& sums, Tensor& message,
                                        StepContext& context) const override;
  backend::InputTerms FinishInputTerms(const Sums& sums, const comm::Reducer::Handle& handle,
                                       const Tensor& message, StepContext& context) const override;

  // Takes over the statistics of a batch, when they are known.
  virtual void UseBatchStatistics(Pending& pending, backend::Statistics statistics,
                                  StepContext& context) const {
    pending.Set(std::move(statistics));
  }
  const BatchOptions& batch() const { return batch_; }

 private:
  // Samples that share statistics, of all steps of `count` in turn.
  std::vector<int64_t> SliceSizes(int64_t samples, int64_t count) const;
  void LogMoments(const Pending& pending, const Tensor& moments, StepContext& context) const;
  void UseRunningStatistics(Pending& pending, StepContext& context) const;

  const BatchOptions batch_;
  const std::string forward_name_, backward_name_;
};

}  // namespace syncbn::nn
