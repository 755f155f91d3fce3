#include "tests/nn/support.h"

#include <google/protobuf/text_format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include "base/rng.h"
#include "config/norm_kind.h"
#include "tests/support/test_device.h"

namespace syncbn::nn {
namespace {

void FillNormDefaults(v1::NormSpec& norm) {
  if (norm.kind() == v1::NORM_KIND_UNSPECIFIED) norm.set_kind(v1::NORM_KIND_BATCH);
  if (norm.batch().scope() == v1::NORM_SCOPE_UNSPECIFIED && norm.batch().samples() == 0) {
    norm.mutable_batch()->set_scope(v1::NORM_SCOPE_GLOBAL);
  }
  if (norm.epsilon() == 0) norm.set_epsilon(1e-5);
  v1::RunningSpec& running = *norm.mutable_running();
  if (running.kind() == v1::RUNNING_KIND_UNSPECIFIED) running.set_kind(v1::RUNNING_KIND_MOMENTUM);
  if (!running.has_momentum()) running.set_momentum(0.1);
  if (norm.placement() == v1::NORM_PLACEMENT_UNSPECIFIED) {
    norm.set_placement(v1::NORM_PLACEMENT_BEFORE_ACTIVATION);
  }
  if (!norm.has_affine()) norm.set_affine(true);
  if (norm.groups() == 0) norm.set_groups(32);
  if (norm.initial_scale() == 0) norm.set_initial_scale(1);
  v1::RenormSpec& renorm = *norm.mutable_renorm();
  if (renorm.r_max() == 0) renorm.set_r_max(3);
  if (renorm.d_max() == 0) renorm.set_d_max(5);
  if (norm.iterations() == 0) norm.set_iterations(5);
  if (norm.group_channels() == 0) norm.set_group_channels(64);
  if (norm.noise().scale() == 0) norm.mutable_noise()->set_scale(1);
}

void FillRecurrentDefaults(v1::RecurrentSpec& recurrent) {
  if (recurrent.hidden() == 0) recurrent.set_hidden(64);
}

void FillLayerDefaults(v1::LayerSpec& layer, const v1::NormSpec& norm) {
  if (layer.has_norm()) {
    v1::NormSpec merged = norm;
    merged.MergeFrom(layer.norm());
    if (layer.norm().batch().samples() > 0) merged.mutable_batch()->clear_scope();
    *layer.mutable_norm() = merged;
  }
  if (layer.has_conv()) {
    v1::ConvSpec& conv = *layer.mutable_conv();
    if (conv.kernel() == 0) conv.set_kernel(3);
    if (conv.stride() == 0) conv.set_stride(1);
    if (conv.groups() == 0) conv.set_groups(1);
  }
  for (v1::PoolSpec* pool : {layer.has_max_pool() ? layer.mutable_max_pool() : nullptr,
                             layer.has_average_pool() ? layer.mutable_average_pool() : nullptr}) {
    if (pool != nullptr && pool->kernel() == 0) pool->set_kernel(2);
  }
  if (layer.has_rnn()) FillRecurrentDefaults(*layer.mutable_rnn());
  if (layer.has_lstm()) FillRecurrentDefaults(*layer.mutable_lstm());
  config::ForInnerLayers(layer, [&](auto& layers) {
    for (v1::LayerSpec& inner : layers) FillLayerDefaults(inner, norm);
  });
}

// B B^T / d + I / 2 of random B.
void FillCovariance(RandomStream& stream, int64_t d, double* covariance) {
  std::vector<double> b(static_cast<size_t>(d * d));
  for (double& value : b) value = stream.Normal();
  for (int64_t i = 0; i < d; ++i) {
    for (int64_t j = 0; j < d; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < d; ++k) {
        sum += b[static_cast<size_t>(i * d + k)] * b[static_cast<size_t>(j * d + k)];
      }
      covariance[i * d + j] = sum / static_cast<double>(d) + (i == j ? 0.5 : 0);
    }
  }
}

template <typename From, typename To>
void Convert(const Tensor& from, Tensor& to) {
  std::transform(from.Span<From>().begin(), from.Span<From>().end(), to.Span<To>().begin(),
                 [](From value) { return static_cast<To>(value); });
}

double AsFloat(double value) {
  return static_cast<double>(static_cast<float>(value));
}

}  // namespace

v1::ModelSpec ParseModel(const std::string& text) {
  v1::ModelSpec spec;
  if (!google::protobuf::TextFormat::ParseFromString(text, &spec)) {
    throw Error(ErrorCode::kInvalidArgument, "not a model: " + text);
  }
  FillNormDefaults(*spec.mutable_norm());
  if (spec.activation() == v1::ACTIVATION_UNSPECIFIED) spec.set_activation(v1::ACTIVATION_RELU);
  if (spec.width() == 0) spec.set_width(1);
  if (spec.hidden().empty() && spec.architecture() == "mlp") {
    spec.add_hidden(128);
    spec.add_hidden(128);
  }
  FillRecurrentDefaults(*spec.mutable_recurrent());
  v1::InitSpec& init = *spec.mutable_init();
  if (init.kind() == v1::INIT_KIND_UNSPECIFIED) init.set_kind(v1::INIT_KIND_HE);
  if (init.std() == 0) init.set_std(0.01);
  if (init.scale() == 0) init.set_scale(1);
  for (v1::LayerSpec& layer : *spec.mutable_layers()) FillLayerDefaults(layer, spec.norm());
  return spec;
}

v1::ClusterSpec MakeCluster(int replicas, const std::vector<int>& batches) {
  v1::ClusterSpec cluster;
  cluster.set_replicas(replicas);
  for (int batch : batches) cluster.add_batch_per_replica(batch);
  cluster.set_reduction(v1::REDUCTION_TREE);
  return cluster;
}

std::vector<std::string> ParameterNames(const Model& model) {
  std::vector<std::string> names;
  for (const Parameter& parameter : model.parameters().parameters())
    names.push_back(parameter.name);
  return names;
}

std::unique_ptr<Model> MakeModel(const std::string& text, const InputSpec& input,
                                 const v1::ClusterSpec& cluster, const BuildOptions& options) {
  return BuildModel(ParseModel(text), cluster, input, options);
}

Tensor RandomNormal(Shape shape, std::string_view name, double mean, double std) {
  Tensor x(shape, DType::kFloat64);
  RandomStream stream(RandomKey(7).Fold(name));
  for (double& value : x.Span<double>()) value = AsFloat(mean + std * stream.Normal());
  return x;
}

Tensor As(const Tensor& x, DType dtype) {
  Tensor result(x.shape(), dtype);
  const bool from_double = x.dtype() == DType::kFloat64, to_double = dtype == DType::kFloat64;
  if (from_double && to_double) Convert<double, double>(x, result);
  if (from_double && !to_double) Convert<double, float>(x, result);
  if (!from_double && to_double) Convert<float, double>(x, result);
  if (!from_double && !to_double) Convert<float, float>(x, result);
  return result;
}

Tensor Stacked(const std::vector<Tensor>& parts) {
  int64_t samples = 0;
  for (const Tensor& part : parts) samples += part.shape()[0];
  Tensor result(parts.at(0).shape().WithLeading(samples), parts[0].dtype());
  std::byte* out = result.Bytes().data();
  for (const Tensor& part : parts) {
    if (part.elements() == 0) continue;
    std::memcpy(out, part.Bytes().data(), part.bytes());
    out += part.bytes();
  }
  return result;
}

Tensor RandomParameters(const Model& model, uint64_t seed) {
  const ParameterLayout& layout = model.parameters();
  Tensor flat = As(InitialParameters(layout, seed, DType::kFloat32), DType::kFloat64);
  for (int i = 0; i < layout.size(); ++i) {
    if (layout[i].role == ParameterRole::kWeight) continue;
    RandomStream stream(RandomKey(seed).Fold("change").Fold(layout[i].name));
    Tensor values = layout.View(flat, i);
    for (double& value : values.Span<double>()) value = AsFloat(value + 0.3 * stream.Normal());
  }
  return flat;
}

Tensor RandomRunningStatistics(const Model& model) {
  Tensor state = InitialRunningStatistics(model.running_statistics());
  for (const NormStatistics& norm : model.running_statistics().norms()) {
    if (!norm.tracked) continue;
    RandomStream stream(RandomKey(3).Fold(norm.name));
    for (const backend::RunningBlock& block : norm.blocks) {
      double* values = state.Data<double>() + block.running;
      const int64_t size = block.size();
      for (int64_t c = 0; c < size; ++c) {
        values[c] = stream.Normal();
        if (!norm.correlated()) values[size + c] = 0.5 + stream.UniformDouble();
      }
      if (norm.correlated()) FillCovariance(stream, size, values + size);
    }
  }
  return state;
}

Part RandomPart(const InputSpec& input, int64_t samples, std::string_view name, double mean,
                uint64_t first_id) {
  const std::string text(name);
  Part part;
  part.images =
      RandomNormal({samples, input.height, input.width, input.channels}, text + " images", mean);
  part.dlogits = RandomNormal({samples, input.classes}, text + " dlogits");
  for (int64_t i = 0; i < samples; ++i) part.ids.push_back(first_id + static_cast<uint64_t>(i));
  return part;
}

Part StackedParts(const std::vector<Part>& parts) {
  std::vector<Tensor> images, dlogits;
  Part whole;
  for (const Part& part : parts) {
    images.push_back(part.images);
    dlogits.push_back(part.dlogits);
    whole.ids.insert(whole.ids.end(), part.ids.begin(), part.ids.end());
  }
  whole.images = Stacked(images);
  whole.dlogits = Stacked(dlogits);
  return whole;
}

PassResult RunPass(const Model& model, backend::Executor& executor, const PassSettings& settings,
                   const Part& part) {
  // Nobody promises zeros: what a pass does not write must show.
  Tensor garbage(Shape{model.parameters().flat_elements()}, executor.types().gradients);
  std::memset(garbage.Bytes().data(), 0xff, garbage.bytes());
  const Tensor gradients = executor.Clone(garbage);
  PassResult result;
  StepContext context(
      {.executor = &executor,
       .parameter_layout = &model.parameters(),
       .running_statistics_layout = &model.running_statistics(),
       .parameters = ParameterSet(executor.ToDevice(
           As(settings.parameters, executor.types().parameters), executor.types().parameters)),
       .running_statistics = executor.ToDevice(settings.running_statistics, DType::kFloat64),
       .gradients = settings.mode == Mode::kTrain ? gradients : Tensor(),
       .mode = settings.mode,
       .link = settings.link,
       .seed = settings.seed,
       .epoch = settings.epoch,
       .step = settings.step,
       .sample_ids = part.ids,
       .input_gradient = settings.input_gradient,
       .defer_weight_gradients = settings.defer && model.statistics_cross_replicas(),
       .on_gradient_ready = [&](int parameter) {
         const comm::Reducer* reducer = settings.link.reducer;
         result.ready.push_back(
             {parameter, reducer == nullptr ? 0 : reducer->counters().messages});
       }});
  result.logits = model.Forward(ForExecutor(executor, part.images), context).OnHost();
  if (settings.mode == Mode::kTrain && settings.backward) {
    result.dimages = model.Backward(ForExecutor(executor, part.dlogits), context).OnHost();
    context.FinishGradients();
    result.gradients = gradients.OnHost();
  }
  EXPECT_TRUE(context.tape_empty() || !settings.backward);
  result.moments = context.moments().OnHost();
  result.statistics_messages = context.statistics_messages;
  return result;
}

Tensor UpdatedOnHost(const RunningStatisticsLayout& layout, const RunningRule& rule,
                     const Tensor& state, const Tensor& moments) {
  const auto executor = backend::OnTestDevice(backend::MakeReferenceBackend)->MakeExecutor();
  return UpdatedRunningStatistics(*executor, layout, rule,
                                  executor->ToDevice(state, DType::kFloat64),
                                  executor->ToDevice(moments, DType::kFloat64))
      .OnHost();
}

PassResult RunPass(const Model& model, const PassSettings& settings, const Part& part) {
  const auto executor = backend::OnTestDevice(backend::MakeReferenceBackend)->MakeExecutor();
  return RunPass(model, *executor, settings, part);
}

std::vector<Tensor> CheckedInputs(const Model& model, const Tensor& parameters,
                                  const std::vector<Part>& parts) {
  std::vector<Tensor> inputs;
  for (int i = 0; i < model.parameters().size(); ++i) {
    inputs.push_back(model.parameters().View(parameters, i));
  }
  for (const Part& part : parts) inputs.push_back(part.images);
  return inputs;
}

::testing::AssertionResult GradientsHold(const Model& model, const PassSettings& settings,
                                         const Part& part, const GradientCheckOptions& options) {
  const auto executor = backend::OnTestDevice(backend::MakeReferenceBackend)->MakeExecutor();
  const PassResult result = RunPass(model, *executor, settings, part);
  std::vector<Tensor> gradients;
  for (int i = 0; i < model.parameters().size(); ++i) {
    gradients.push_back(model.parameters().View(result.gradients, i));
  }
  gradients.push_back(result.dimages);
  PassSettings forward = settings;
  forward.backward = false;
  // The terms of the loss may cancel while their rounding does not: a constant of their size makes
  // the check expect it.
  double size = 0;
  for (int64_t i = 0; i < part.dlogits.elements(); ++i) {
    size += std::abs(result.logits.Data<double>()[i] * part.dlogits.Data<double>()[i]);
  }
  // The inputs are views of what the pass reads.
  const auto loss = [&](std::span<const Tensor>) {
    return size + Dot(RunPass(model, *executor, forward, part).logits, part.dlogits);
  };
  return GradientsMatch(loss, CheckedInputs(model, settings.parameters, {part}), gradients,
                        options);
}

double MaxDifference(const Tensor& a, const Tensor& b) {
  const Tensor left = As(a, DType::kFloat64), right = As(b, DType::kFloat64);
  double largest = 0;
  for (size_t i = 0; i < left.Span<double>().size(); ++i) {
    const double difference = std::abs(left.Data<double>()[i] - right.Data<double>()[i]);
    if (std::isnan(difference)) return std::numeric_limits<double>::infinity();
    largest = std::max(largest, difference);
  }
  return largest;
}

double MaxAbsolute(const Tensor& x) {
  return MaxDifference(x, Tensor::Zeros(x.shape(), x.dtype()));
}

::testing::AssertionResult Near(const Tensor& actual, const Tensor& expected, double tolerance) {
  if (actual.shape() != expected.shape()) {
    return ::testing::AssertionFailure() << actual.shape() << " instead of " << expected.shape();
  }
  const double allowed = tolerance * std::max(1.0, MaxAbsolute(expected));
  const double difference = MaxDifference(actual, expected);
  if (difference <= allowed) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << expected.shape() << " apart by " << difference << ", allowed " << allowed;
}

::testing::AssertionResult SameBits(const Tensor& actual, const Tensor& expected) {
  if (actual.shape() != expected.shape() || actual.dtype() != expected.dtype()) {
    return ::testing::AssertionFailure()
           << actual.dtype() << " " << actual.shape() << " instead of " << expected.dtype() << " "
           << expected.shape();
  }
  if (actual.elements() == 0 ||
      std::memcmp(actual.Bytes().data(), expected.Bytes().data(), actual.bytes()) == 0) {
    return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure()
         << "bits differ, values by at most " << MaxDifference(actual, expected);
}

std::string ErrorOf(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

}  // namespace syncbn::nn
