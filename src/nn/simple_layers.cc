#include "nn/simple_layers.h"

#include <utility>
#include <vector>

#include "base/check.h"

namespace syncbn::nn {
namespace {

void CheckImages(const Layer& layer, const char* kind, const Shape& input) {
  if (input.rank() == 4) return;
  throw Error(ErrorCode::kInvalidArgument,
              std::string(kind) + ": the input must be [N, H, W, C], got " + input.ToString())
      .AddFrame("layer " + layer.name());
}

}  // namespace

Tensor Activation::Forward(Tensor x, StepContext& context) const {
  const Tensor given = backend::IsFromInput(kind_) ? x : Tensor();
  Tensor y = context.executor().ActivationForward(kind_, std::move(x));
  const Tensor& kept = given.defined() ? given : y;
  context.WatchActivation(name(), kind_, kept);
  context.Save({.owner = this, .tensors = {kept}});
  return y;
}

Tensor Activation::Backward(Tensor dy, StepContext& context) const {
  const StepContext::Record record = context.Restore(this);
  return context.executor().ActivationBackward(kind_, record.tensors[0], std::move(dy));
}

Shape Pool2d::OutputShape(const Shape& input) const {
  return WithFrame([&] { return "layer " + name(); }, [&] { return spec_.OutputShape(input); });
}

Tensor Pool2d::Forward(Tensor x, StepContext& context) const {
  backend::PoolResult result = context.executor().Pool2dForward(spec_, x);
  context.Save({.owner = this, .tensors = {std::move(result.positions)}, .shapes = {x.shape()}});
  return std::move(result.y);
}

Tensor Pool2d::Backward(Tensor dy, StepContext& context) const {
  const StepContext::Record record = context.Restore(this);
  return context.executor().Pool2dBackward(spec_, record.shapes[0], dy, record.tensors[0]);
}

Shape GlobalAveragePool::OutputShape(const Shape& input) const {
  CheckImages(*this, "global_average_pool", input);
  return {input[0], input.channels()};
}

Tensor GlobalAveragePool::Forward(Tensor x, StepContext& context) const {
  context.Save({.owner = this, .shapes = {x.shape()}});
  return context.executor().GlobalAveragePoolForward(x);
}

Tensor GlobalAveragePool::Backward(Tensor dy, StepContext& context) const {
  const StepContext::Record record = context.Restore(this);
  return context.executor().GlobalAveragePoolBackward(record.shapes[0], dy);
}

Shape Flatten::OutputShape(const Shape& input) const {
  CheckImages(*this, "flatten", input);
  return {input[0], input[1] * input[2] * input[3]};
}

Tensor Flatten::Forward(Tensor x, StepContext& context) const {
  context.Save({.owner = this, .shapes = {x.shape()}});
  return context.executor().FlattenToChannelsFirst(x);
}

Tensor Flatten::Backward(Tensor dy, StepContext& context) const {
  const StepContext::Record record = context.Restore(this);
  if (!dy.defined()) return dy;  // a first linear layer without a gradient of the images
  return context.executor().UnflattenFromChannelsFirst(record.shapes[0], dy);
}

Tensor Dropout::Forward(Tensor x, StepContext& context) const {
  if (!context.training() || probability_ == 0) return x;
  std::vector<RandomKey> keys = context.SampleKeys("dropout", this, name());
  SYNCBN_CHECK_EQ(static_cast<int64_t>(keys.size()), x.shape()[0])
      << "dropout needs the data set's index of every sample of the batch";
  Tensor y = context.executor().Dropout(std::move(x), keys, probability_);
  context.Save({.owner = this, .keys = std::move(keys)});
  return y;
}

Tensor Dropout::Backward(Tensor dy, StepContext& context) const {
  if (probability_ == 0) return dy;
  const StepContext::Record record = context.Restore(this);
  return context.executor().Dropout(std::move(dy), record.keys, probability_);
}

namespace {

// Of a step: the same on every replica.
backend::NoiseSpec InStep(backend::NoiseSpec noise, const std::string& layer, uint64_t seed,
                          int64_t step) {
  noise.channels =
      RandomKey(seed).Fold("noise of channels").Fold(static_cast<uint64_t>(step)).Fold(layer);
  return noise;
}

}  // namespace

Tensor Noise::Forward(Tensor x, StepContext& context) const {
  if (!context.training()) return x;
  std::vector<RandomKey> keys = context.SampleKeys("noise", this, name());
  SYNCBN_CHECK_EQ(static_cast<int64_t>(keys.size()), x.shape()[0])
      << "noise needs the data set's index of every sample of the batch";
  const StepInputs& inputs = context.inputs();
  Tensor y = context.executor().Noise(InStep(noise_, name(), inputs.seed, inputs.step),
                                      std::move(x), keys);
  context.Save({.owner = this, .keys = std::move(keys)});
  return y;
}

Tensor Noise::Backward(Tensor dy, StepContext& context) const {
  const StepContext::Record record = context.Restore(this);
  const StepInputs& inputs = context.inputs();
  return context.executor().NoiseBackward(InStep(noise_, name(), inputs.seed, inputs.step),
                                          std::move(dy), record.keys);
}

NoiseDraws DrawNoise(backend::Executor& executor, const NoiseSite& site, uint64_t seed,
                     int64_t epoch, int64_t step, std::span<const uint64_t> sample_ids) {
  const backend::NoiseSpec noise = InStep(site.noise, site.layer, seed, step);
  const std::vector<RandomKey> keys = SampleKeys(seed, "noise", epoch, sample_ids, site.layer, 0);
  const auto drawn = [&](double of) {
    // As exact as what is computed with, whatever activations are stored in.
    Tensor x = executor.New(site.sample.WithLeading(static_cast<int64_t>(sample_ids.size())),
                            executor.types().parameters);
    executor.Fill(x, of);
    return x;
  };
  return {.factors = executor.NoiseBackward(noise, drawn(1), keys),
          .shifts = executor.Noise(noise, drawn(0), keys)};
}

Tensor DropoutFactors(backend::Executor& executor, const DropoutSite& site, uint64_t seed,
                      int64_t epoch, std::span<const uint64_t> sample_ids) {
  const Shape shape = site.sample.WithLeading(static_cast<int64_t>(sample_ids.size()));
  Tensor ones = executor.New(shape, executor.types().parameters);  // see DrawNoise
  executor.Fill(ones, 1);
  if (site.probability == 0) return ones;
  const std::vector<RandomKey> keys = SampleKeys(seed, "dropout", epoch, sample_ids, site.layer, 0);
  return executor.Dropout(std::move(ones), keys, site.probability);
}

}  // namespace syncbn::nn
