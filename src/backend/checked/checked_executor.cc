#include "backend/checked/checked_executor.h"

namespace syncbn::backend::checked {
GradientOut CheckedExecutor::Written(GradientOut out) {
  if (out.accumulate) Read(out.tensor);
  out.tensor = CheckedStream::Written(std::move(out.tensor));
  return out;
}

Normalization CheckedExecutor::Read(const Normalization& norm) {
  return {.layout = norm.layout,
          .mean = Read(norm.mean),
          .inv_std = Read(norm.inv_std),
          .gamma = Read(norm.gamma),
          .beta = Read(norm.beta),
          .relu = norm.relu};
}

InputTerms CheckedExecutor::Read(const InputTerms& terms) {
  return {.mean_dy = Read(terms.mean_dy), .mean_dy_xhat = Read(terms.mean_dy_xhat)};
}

InputTerms CheckedExecutor::Result(InputTerms terms) {
  return {.mean_dy = Result(std::move(terms.mean_dy)),
          .mean_dy_xhat = Result(std::move(terms.mean_dy_xhat))};
}

Whitening CheckedExecutor::Read(const Whitening& whitening) {
  return {.mean = Read(whitening.mean),
          .matrix = Read(whitening.matrix),
          .newton = Read(whitening.newton)};
}

Whitening CheckedExecutor::Result(Whitening whitening) {
  return {.mean = Result(std::move(whitening.mean)),
          .matrix = Result(std::move(whitening.matrix)),
          .newton = Result(std::move(whitening.newton))};
}

// -- Input ---------------------------------------------------------------------------------------

Tensor CheckedExecutor::MakeImages(const RawImages& raw) {
  return Result(inner().MakeImages(
      {.pixels = Read(raw.pixels), .changes = Read(raw.changes), .values = Read(raw.values)}));
}

// -- Convolution and matrix products -------------------------------------------------------------------

Tensor CheckedExecutor::Conv2dForward(const Conv2dSpec& spec, const Tensor& x, const Tensor& weight,
                                      const Tensor& bias) {
  return Result(inner().Conv2dForward(spec, Read(x), Read(weight), Read(bias)));
}

Tensor CheckedExecutor::Conv2dBackwardInput(const Conv2dSpec& spec, const Shape& x_shape,
                                            const Tensor& dy, const Tensor& weight) {
  return Result(inner().Conv2dBackwardInput(spec, x_shape, Read(dy), Read(weight)));
}

void CheckedExecutor::Conv2dBackwardWeights(const Conv2dSpec& spec, const Tensor& x,
                                            const Tensor& dy, GradientOut dweight,
                                            GradientOut dbias) {
  inner().Conv2dBackwardWeights(spec, Read(x), Read(dy), Written(dweight), Written(dbias));
}

Tensor CheckedExecutor::LinearForward(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  return Result(inner().LinearForward(Read(x), Read(weight), Read(bias)));
}

Tensor CheckedExecutor::LinearBackwardInput(const Tensor& dy, const Tensor& weight) {
  return Result(inner().LinearBackwardInput(Read(dy), Read(weight)));
}

void CheckedExecutor::LinearBackwardWeights(const Tensor& x, const Tensor& dy, GradientOut dweight,
                                            GradientOut dbias) {
  inner().LinearBackwardWeights(Read(x), Read(dy), Written(dweight), Written(dbias));
}

// -- Pooling and layout ----------------------------------------------------------------------------------

PoolResult CheckedExecutor::Pool2dForward(const Pool2dSpec& spec, const Tensor& x) {
  PoolResult result = inner().Pool2dForward(spec, Read(x));
  return {.y = Result(std::move(result.y)), .positions = Result(std::move(result.positions))};
}

Tensor CheckedExecutor::Pool2dBackward(const Pool2dSpec& spec, const Shape& x_shape,
                                       const Tensor& dy, const Tensor& positions) {
  return Result(inner().Pool2dBackward(spec, x_shape, Read(dy), Read(positions)));
}

Tensor CheckedExecutor::GlobalAveragePoolForward(const Tensor& x) {
  return Result(inner().GlobalAveragePoolForward(Read(x)));
}

Tensor CheckedExecutor::GlobalAveragePoolBackward(const Shape& x_shape, const Tensor& dy) {
  return Result(inner().GlobalAveragePoolBackward(x_shape, Read(dy)));
}

Tensor CheckedExecutor::FlattenToChannelsFirst(const Tensor& x) {
  return Result(inner().FlattenToChannelsFirst(Read(x)));
}

Tensor CheckedExecutor::UnflattenFromChannelsFirst(const Shape& x_shape, const Tensor& dy) {
  return Result(inner().UnflattenFromChannelsFirst(x_shape, Read(dy)));
}

// -- Elementwise -----------------------------------------------------------------------------------------

Tensor CheckedExecutor::ActivationForward(ActivationKind kind, Tensor x) {
  const std::byte* const place = x.DeviceAddress();
  return Result(inner().ActivationForward(kind, Read(std::move(x))), place);
}

Tensor CheckedExecutor::ActivationBackward(ActivationKind kind, const Tensor& kept, Tensor dy) {
  const std::byte* const place = dy.DeviceAddress();
  return Result(inner().ActivationBackward(kind, Read(kept), Read(std::move(dy))), place);
}

Tensor CheckedExecutor::Add(Tensor a, const Tensor& b) {
  const std::byte* const place = a.DeviceAddress();
  return Result(inner().Add(Read(std::move(a)), Read(b)), place);
}

Tensor CheckedExecutor::Convert(const Tensor& x, DType type) {
  return x.dtype() == type ? x : Result(inner().Convert(Read(x), type));
}

Tensor CheckedExecutor::Dropout(Tensor x, std::span<const RandomKey> keys, double probability) {
  const std::byte* const place = x.DeviceAddress();
  return Result(inner().Dropout(Read(std::move(x)), keys, probability), place);
}

Tensor CheckedExecutor::Noise(const NoiseSpec& noise, Tensor x, std::span<const RandomKey> keys) {
  const std::byte* const place = x.DeviceAddress();
  return Result(inner().Noise(noise, Read(std::move(x)), keys), place);
}

Tensor CheckedExecutor::NoiseBackward(const NoiseSpec& noise, Tensor dy,
                                      std::span<const RandomKey> keys) {
  const std::byte* const place = dy.DeviceAddress();
  return Result(inner().NoiseBackward(noise, Read(std::move(dy)), keys), place);
}

Tensor CheckedExecutor::ConcatChannels(std::span<const Tensor> parts) {
  return Result(inner().ConcatChannels(AllRead(parts)));
}

Tensor CheckedExecutor::SliceChannels(const Tensor& x, int64_t begin, int64_t channels) {
  return Result(inner().SliceChannels(Read(x), begin, channels));
}

// -- Normalization ---------------------------------------------------------------------------------------

void CheckedExecutor::Moments(const RowLayout& layout, const Tensor& x, Tensor& moments) {
  Tensor inside = Written(moments);
  inner().Moments(layout, Read(x), inside);
}

Tensor CheckedExecutor::NormalizeForward(const Normalization& norm, const Tensor& x,
                                         const Tensor& residual) {
  return Result(inner().NormalizeForward(Read(norm), Read(x), Read(residual)));
}

void CheckedExecutor::NormalizeBackwardSums(const Normalization& norm, const Tensor& x,
                                            const Tensor& y, const Tensor& dy, Tensor& sum_dy,
                                            Tensor& sum_dy_xhat) {
  Tensor sum = Written(sum_dy), sum_xhat = Written(sum_dy_xhat);
  inner().NormalizeBackwardSums(Read(norm), Read(x), Read(y), Read(dy), sum, sum_xhat);
}

Tensor CheckedExecutor::NormalizeBackwardInput(const Normalization& norm, const Tensor& x,
                                               const Tensor& y, Tensor dy, const InputTerms& terms,
                                               Tensor* dresidual) {
  const std::byte* const place = dy.DeviceAddress();
  Tensor dx = inner().NormalizeBackwardInput(Read(norm), Read(x), Read(y),
                                             Read(std::move(dy)), Read(terms), dresidual);
  if (dresidual != nullptr) *dresidual = Result(std::move(*dresidual), place);
  return Result(std::move(dx), place);
}

// -- Statistics ------------------------------------------------------------------------------------------

void CheckedExecutor::MergeMoments(std::span<const int64_t> channels,
                                   std::span<const int64_t> sizes, const Tensor& from,
                                   Tensor& into) {
  Tensor inside = Written(into);
  inner().MergeMoments(channels, sizes, Read(from), inside);
}

void CheckedExecutor::MergeChannels(int64_t groups, Tensor& moments) {
  Tensor inside = Written(moments);
  inner().MergeChannels(groups, inside);
}

Statistics CheckedExecutor::FinishMoments(const Tensor& moments, std::span<const int64_t> repeats,
                                          double epsilon) {
  Statistics result = inner().FinishMoments(Read(moments), repeats, epsilon);
  return {.mean = Result(std::move(result.mean)),
          .inv_std = Result(std::move(result.inv_std)),
          .counts = Result(std::move(result.counts))};
}

Tensor CheckedExecutor::InverseStd(const Tensor& variance, double epsilon) {
  return Result(inner().InverseStd(Read(variance), epsilon));
}

void CheckedExecutor::AffineGradients(const Tensor& sum_dy, const Tensor& sum_dy_xhat,
                                      GradientOut dgamma, GradientOut dbeta) {
  inner().AffineGradients(Read(sum_dy), Read(sum_dy_xhat), Written(dgamma), Written(dbeta));
}

InputTerms CheckedExecutor::BatchInputTerms(const Tensor& sum_dy, const Tensor& sum_dy_xhat,
                                            const Tensor& counts, const Tensor& gamma,
                                            std::span<const int64_t> sizes) {
  return Result(inner().BatchInputTerms(Read(sum_dy), Read(sum_dy_xhat), Read(counts),
                                         Read(gamma), sizes));
}

InputTerms CheckedExecutor::GroupInputTerms(const Tensor& sum_dy, const Tensor& sum_dy_xhat,
                                            const Tensor& counts, const Tensor& gamma,
                                            int64_t groups) {
  return Result(inner().GroupInputTerms(Read(sum_dy), Read(sum_dy_xhat), Read(counts),
                                         Read(gamma), groups));
}

Renorm CheckedExecutor::Renormalize(const RenormLimits& limits, const Tensor& running_mean,
                                    const Tensor& running_inv_std, Statistics& statistics) {
  Read(statistics.mean);
  Read(statistics.inv_std);
  Statistics inside{.mean = Written(statistics.mean), .inv_std = Written(statistics.inv_std)};
  Renorm result = inner().Renormalize(limits, Read(running_mean), Read(running_inv_std), inside);
  return {.r = Result(std::move(result.r)), .d = Result(std::move(result.d))};
}

void CheckedExecutor::RenormInputTerms(const Renorm& renorm, InputTerms& terms) {
  Read(terms);
  InputTerms inside{.mean_dy = Written(terms.mean_dy), .mean_dy_xhat = Written(terms.mean_dy_xhat)};
  inner().RenormInputTerms({.r = Read(renorm.r), .d = Read(renorm.d)}, inside);
}

// -- Iterative normalization ---------------------------------------------------------------------

void CheckedExecutor::CoMoments(const WhiteningSpec& spec, const Tensor& x, Tensor& moments) {
  Tensor inside = Written(moments);
  inner().CoMoments(spec, Read(x), inside);
}

Whitening CheckedExecutor::WhitenByMoments(const WhiteningSpec& spec, const Tensor& moments) {
  return Result(inner().WhitenByMoments(spec, Read(moments)));
}

Whitening CheckedExecutor::WhitenByRunning(const WhiteningSpec& spec, const Tensor& running) {
  return Result(inner().WhitenByRunning(spec, Read(running)));
}

void CheckedExecutor::Whiten(const WhiteningSpec& spec, const Whitening& whitening, const Tensor& x,
                             Tensor& xhat) {
  Tensor inside = Written(xhat);
  inner().Whiten(spec, Read(whitening), Read(x), inside);
}

void CheckedExecutor::WhitenBackwardSums(const WhiteningSpec& spec, const Whitening& whitening,
                                         const Tensor& x, const Tensor& dxhat, Tensor& sums) {
  Tensor inside = Written(sums);
  inner().WhitenBackwardSums(spec, Read(whitening), Read(x), Read(dxhat), inside);
}

void CheckedExecutor::WhitenBackwardInput(const WhiteningSpec& spec, const Whitening& whitening,
                                          const Tensor& sums, const Tensor& x, const Tensor& dxhat,
                                          Tensor& dx) {
  Tensor inside = Written(dx);
  inner().WhitenBackwardInput(spec, Read(whitening), Read(sums), Read(x), Read(dxhat), inside);
}

WeightNormResult CheckedExecutor::WeightNormForward(const Tensor& v, const Tensor& gain) {
  WeightNormResult result = inner().WeightNormForward(Read(v), Read(gain));
  return {.weight = Result(std::move(result.weight)), .norms = Result(std::move(result.norms))};
}

void CheckedExecutor::WeightNormBackward(const Tensor& v, const Tensor& gain, const Tensor& norms,
                                         const Tensor& dweight, GradientOut dv,
                                         GradientOut dgain) {
  inner().WeightNormBackward(Read(v), Read(gain), Read(norms), Written(dweight), Written(dv),
                             Written(dgain));
}

// -- Sequences -------------------------------------------------------------------------------------------

Tensor CheckedExecutor::SwapLeadingAxes(const Tensor& x, int64_t keep) {
  return Result(inner().SwapLeadingAxes(Read(x), keep));
}

Tensor CheckedExecutor::SwapLeadingAxesBackward(const Shape& x_shape, const Tensor& dy) {
  return Result(inner().SwapLeadingAxesBackward(x_shape, Read(dy)));
}

void CheckedExecutor::RnnForward(const Tensor& a, const Tensor& b, Tensor& state) {
  Tensor inside = Written(state);
  inner().RnnForward(Read(a), Read(b), inside);
}

void CheckedExecutor::RnnBackward(const Tensor& state, const Tensor& dstate, Tensor& dsum) {
  Tensor inside = Written(dsum);
  inner().RnnBackward(Read(state), Read(dstate), inside);
}

LstmCell CheckedExecutor::LstmCellForward(const Tensor& a, Tensor b, const Tensor& before) {
  const std::byte* const place = b.DeviceAddress();
  LstmCell result = inner().LstmCellForward(Read(a), Read(std::move(b)), Read(before));
  return {.gates = Result(std::move(result.gates), place), .cell = Result(std::move(result.cell))};
}

Tensor CheckedExecutor::LstmStateForward(const Tensor& gates, Tensor u, Tensor& state) {
  const std::byte* const place = u.DeviceAddress();
  Tensor inside = Written(state);
  return Result(inner().LstmStateForward(Read(gates), Read(std::move(u)), inside), place);
}

Tensor CheckedExecutor::LstmStateBackward(const Tensor& gates, const Tensor& tanh_u,
                                          const Tensor& dstate) {
  return Result(inner().LstmStateBackward(Read(gates), Read(tanh_u), Read(dstate)));
}

Tensor CheckedExecutor::LstmCellBackward(const Tensor& gates, const Tensor& before,
                                         const Tensor& tanh_u, const Tensor& dstate, Tensor dcell,
                                         Tensor& dsum) {
  const std::byte* const place = dcell.DeviceAddress();
  Tensor inside = Written(dsum);
  return Result(inner().LstmCellBackward(Read(gates), Read(before), Read(tanh_u), Read(dstate),
                                         Read(std::move(dcell)), inside),
                place);
}

// -- Loss, and what a step changes -----------------------------------------------------------------------

LossResult CheckedExecutor::SoftmaxCrossEntropy(const Tensor& logits, const Tensor& labels,
                                                double label_smoothing, double scale,
                                                bool want_gradient) {
  LossResult result = inner().SoftmaxCrossEntropy(Read(logits), Read(labels), label_smoothing,
                                                  scale, want_gradient);
  return {.losses = Result(std::move(result.losses)),
          .correct = Result(std::move(result.correct)),
          .dlogits = Result(std::move(result.dlogits))};
}

void CheckedExecutor::AddSum(const Tensor& values, Tensor& total) {
  Tensor inside = Written(total);
  inner().AddSum(Read(values), inside);
}

void CheckedExecutor::SumsOfSquares(std::span<const Tensor> tensors, Tensor& sums) {
  Tensor inside = Written(sums);
  inner().SumsOfSquares(AllRead(tensors), inside);
}

void CheckedExecutor::JudgeStep(const StepEvidence& evidence, double clip_norm, Tensor& verdict) {
  Tensor inside = Written(verdict);
  inner().JudgeStep({.squares = Read(evidence.squares),
                     .loss = Read(evidence.loss),
                     .moments = Read(evidence.moments)},
                    clip_norm, inside);
}

void CheckedExecutor::Update(const UpdateSpec& spec, const UpdateInputs& inputs,
                             Tensor& parameters, std::span<Tensor> slots, Tensor& updates) {
  Tensor inside = Written(parameters), inside_updates = Written(updates);
  std::vector<Tensor> inside_slots = AllWritten(slots);
  inner().Update(spec,
                 {.learning_rate = inputs.learning_rate,
                  .gradients = Read(inputs.gradients),
                  .squares = Read(inputs.squares),
                  .verdict = Read(inputs.verdict)},
                 inside, inside_slots, inside_updates);
}

Tensor CheckedExecutor::UpdateRunning(const RunningRule& rule, std::span<const RunningBlock> blocks,
                                      const Tensor& running, const Tensor& moments,
                                      const Tensor& verdict) {
  return Result(inner().UpdateRunning(rule, blocks, Read(running), Read(moments),
                                       Read(verdict)));
}

}  // namespace syncbn::backend::checked
