// Batch renormalization (Ioffe 2017): batch normalization whose output in training is r xhat + d,
// with
//   r = std of the batch / running std            within [1 / r_max, r_max]
//   d = (mean of the batch - running mean) / running std    within [-d_max, d_max]
// so that, within the limits, it is what inference gives. The running statistics are those of the
// step's start; r and d are constants of the backward pass. Statistics, their messages and what the
// step logs are those of BatchNorm.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "nn/batch_norm.h"

namespace syncbn::nn {

// The limits at a step: those of batch normalization in the first `hold` steps, then growing evenly
// to the last ones over `ramp` steps.
struct RenormSchedule {
  backend::RenormLimits last;
  int64_t hold = 0, ramp = 0;

  backend::RenormLimits At(int64_t step) const;
};

class BatchRenorm : public BatchNorm {
 public:
  BatchRenorm(std::string name, const Options& options, const BatchOptions& batch,
              const RenormSchedule& schedule)
      : BatchNorm(std::move(name), options, batch), schedule_(schedule) {}

 protected:
  void UseBatchStatistics(Pending& pending, backend::Statistics statistics,
                          StepContext& context) const override;
  backend::InputTerms FinishInputTerms(const Sums& sums, const comm::Reducer::Handle& handle,
                                       const Tensor& message, StepContext& context) const override;

 private:
  const RenormSchedule schedule_;
};

}  // namespace syncbn::nn
