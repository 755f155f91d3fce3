#include "nn/batch_renorm.h"

#include <algorithm>

namespace syncbn::nn {

backend::RenormLimits RenormSchedule::At(int64_t step) const {
  const int64_t grown = step - hold;
  if (grown < 0) return {};
  if (grown >= ramp) return last;
  const double share = static_cast<double>(grown) / static_cast<double>(ramp);
  return {.r_max = 1 + share * (last.r_max - 1), .d_max = share * last.d_max};
}

void BatchRenorm::UseBatchStatistics(Pending& pending, backend::Statistics statistics,
                                     StepContext& context) const {
  // Evaluation with statistics of the batch means those and nothing else.
  if (context.training()) {
    const NormStatistics& norm = (*context.inputs().running_statistics_layout)[batch().statistics];
    const Tensor& running = context.inputs().running_statistics;
    const Shape channels{norm.channels};
    backend::Executor& executor = context.executor();
    const Tensor inv_std =
        executor.InverseStd(running.Slice(norm.offset + norm.channels, channels), epsilon());
    pending.renorm =
        executor.Renormalize(schedule_.At(context.inputs().step),
                             running.Slice(norm.offset, channels), inv_std, statistics);
  }
  pending.Set(std::move(statistics));
}

backend::InputTerms BatchRenorm::FinishInputTerms(const Sums& sums,
                                                  const comm::Reducer::Handle& handle,
                                                  const Tensor& message,
                                                  StepContext& context) const {
  backend::InputTerms terms = BatchNorm::FinishInputTerms(sums, handle, message, context);
  if (!batch().frozen) context.executor().RenormInputTerms(sums.renorm, terms);
  return terms;
}

}  // namespace syncbn::nn
