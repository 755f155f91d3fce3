#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "base/unknown_value.h"
#include "config/norm_kind.h"
#include "nn/builder.h"
#include "nn/simple_layers.h"
#include "nn/weighted_layers.h"

namespace syncbn::nn {
namespace {

// Declares weight (or v and g) and bias of a layer.
WeightParameters DeclareWeight(ModelBuilder& builder, const std::string& name, const Shape& shape,
                               const Initializer& initializer, const WeightOptions& options) {
  const std::string drawn_as = options.drawn_as.value_or(name) + ".weight";
  WeightParameters parameters;
  // PyTorch's order and names: weight_g, then weight_v. v comes first here, because the gain's
  // initial value is its norm; who loads the weights goes by name.
  parameters.weight =
      builder.Declare({.name = name + (options.weight_norm ? ".weight_v" : ".weight"),
                       .shape = shape,
                       .role = ParameterRole::kWeight,
                       .initializer = initializer,
                       .drawn_as = drawn_as});
  if (options.weight_norm) {
    const Shape gain = shape.rank() == 4 ? Shape{shape[0], 1, 1, 1} : Shape{shape[0], 1};
    parameters.gain = builder.Declare({.name = name + ".weight_g",
                                       .shape = gain,
                                       .role = ParameterRole::kWeightNormGain,
                                       .norm_of = parameters.weight});
  }
  if (options.bias) {
    parameters.bias = builder.Declare(name + ".bias", {shape[0]}, ParameterRole::kBias,
                                      {Initializer::Kind::kConstant, 0});
  }
  return parameters;
}

backend::ActivationKind ActivationOf(v1::Activation activation) {
  switch (activation) {
    case v1::ACTIVATION_UNSPECIFIED:
    case v1::ACTIVATION_RELU:
      return backend::ActivationKind::kRelu;
    case v1::ACTIVATION_SIGMOID:
      return backend::ActivationKind::kSigmoid;
    case v1::ACTIVATION_TANH:
      return backend::ActivationKind::kTanh;
    case v1::ACTIVATION_GELU:
      return backend::ActivationKind::kGelu;
    case v1::ACTIVATION_SILU:
      return backend::ActivationKind::kSilu;
    default:
      ThrowUnknownValue("model.activation", static_cast<int>(activation));
  }
}

}  // namespace

void Chain::Conv(const std::string& name, const ConvOptions& conv, const WeightOptions& weight) {
  if (shape_.rank() != 4) {
    throw Error(ErrorCode::kInvalidArgument,
                "conv2d: the input must be [N, H, W, C], got " + shape_.ToString())
        .AddFrame("layer " + name);
  }
  const backend::Conv2dSpec spec{.in_channels = shape_.channels(),
                                 .out_channels = conv.out,
                                 .kernel_h = conv.kernel,
                                 .kernel_w = conv.kernel,
                                 .stride_h = conv.stride,
                                 .stride_w = conv.stride,
                                 .pad_h = conv.padding,
                                 .pad_w = conv.padding,
                                 .groups = conv.groups};
  // Refuses groups that do not fit before a weight is declared for them.
  WithFrame([&] { return "layer " + name; }, [&] { return spec.OutputShape(shape_); });
  const int64_t window = conv.kernel * conv.kernel;
  const int64_t fan_in = spec.in_channels / spec.groups * window, fan_out = conv.out * window;
  const Initializer initializer = builder_->WeightInitializer(fan_in, fan_out, fan_out);
  const WeightParameters parameters =
      DeclareWeight(*builder_, name, spec.WeightShape(), initializer, weight);
  const bool centered = centered_ && conv.kernel == 1 && conv.stride == 1 && conv.padding == 0;
  Append(std::make_unique<Conv2d>(name, spec, parameters, sees_images_));
  weighted_ = name;
  centered_ = centered;
}

void Chain::Linear(const std::string& name, int64_t out, const WeightOptions& weight) {
  const int64_t in = shape_.channels();
  const Initializer initializer = builder_->WeightInitializer(in, out, in);
  const WeightParameters parameters =
      DeclareWeight(*builder_, name, {out, in}, initializer, weight);
  Append(std::make_unique<nn::Linear>(name, in, out, parameters, sees_images_));
  weighted_ = name;
}

void Chain::Normalize(const std::string& name, const v1::NormSpec& spec, bool zero_gamma) {
  if (!config::IsNormLayer(spec.kind())) return;
  std::unique_ptr<Norm> norm =
      builder_->MakeNorm(name, spec, shape_, zero_gamma ? 0 : spec.initial_scale());
  if (!weighted_.empty()) builder_->PutLastNormBehind(weighted_);
  Norm* const open = norm.get();
  Append(std::move(norm));
  if (builder_->fuse()) open_norm_ = open;
  const bool centered =
      shape_.rank() == 4 && builder_->NormalizesChannelsAlone(spec, shape_.channels());
  if (config::HasNoise(spec)) {
    const backend::NoiseSpec noise{.shift = spec.noise().shift(),
                                   .scale = spec.noise().scale(),
                                   .spread = spec.noise().spread()};
    builder_->AddNoise({.layer = name + ".noise", .noise = noise, .sample = shape_});
    Append(std::make_unique<Noise>(name + ".noise", noise));
  }
  centered_ = centered;
}

void Chain::Activate(const std::string& name, backend::ActivationKind kind) {
  if (open_norm_ != nullptr && kind == backend::ActivationKind::kRelu) {
    builder_->Claim(name);
    open_norm_->FuseRelu();
    open_norm_ = nullptr;
    centered_ = false;
    return;
  }
  Append(std::make_unique<Activation>(name, kind), kind);
}

void Chain::Pool(const std::string& name, const backend::Pool2dSpec& spec) {
  // Means of parts that make up the whole have the mean of the whole.
  const bool centered = centered_ && spec.kind == backend::PoolKind::kAverage && spec.pad == 0 &&
                        spec.stride == spec.kernel && shape_[1] % spec.kernel == 0 &&
                        shape_[2] % spec.kernel == 0;
  Append(std::make_unique<Pool2d>(name, spec));
  if (centered) StayCentered(name);
}

void Chain::GlobalAveragePool(const std::string& name) {
  const bool centered = centered_;
  Append(std::make_unique<nn::GlobalAveragePool>(name));
  if (centered) StayCentered(name);
}

void Chain::StayCentered(const std::string& name) {
  centered_ = true;
  if (shape_.rank() == 4 && shape_[1] * shape_[2] > 1) return;
  throw Error(ErrorCode::kInvalidArgument,
              "the mean over height and width of what a norm has made of each channel of each "
              "sample is that norm's shift, the same for every image: the model could learn "
              "nothing; put an activation between the two, or take a norm over several channels "
              "or samples")
      .AddFrame("layer " + name);
}

void Chain::Flatten(const std::string& name) {
  const bool sees_images = sees_images_;
  Append(std::make_unique<nn::Flatten>(name));
  sees_images_ = sees_images;
}

void Chain::Dropout(const std::string& name, double probability) {
  builder_->AddDropout({.layer = name, .probability = probability, .sample = shape_});
  const bool centered = centered_;
  Append(std::make_unique<nn::Dropout>(name, probability));
  centered_ = centered;
}

void Chain::Residual(const std::string& name, Chain body, Chain shortcut) {
  std::unique_ptr<Norm> last;
  if (body.open_norm_ != nullptr && body.layers_.back().get() == body.open_norm_) {
    body.layers_.back().release();
    body.layers_.pop_back();
    last.reset(body.open_norm_);
  }
  Norm* const open = last.get();
  const bool centered =
      body.centered_ && (shortcut.layers_.empty() ? centered_ : shortcut.centered_);
  Append(std::make_unique<nn::Residual>(name, body.Finish(name), std::move(last),
                                        shortcut.Finish(name)));
  open_norm_ = open;
  centered_ = centered;
}

void Chain::Concat(const std::string& name, std::vector<Chain> branches) {
  std::vector<std::unique_ptr<Sequential>> parts;
  bool centered = true;
  for (Chain& branch : branches) {
    centered &= branch.layers_.empty() ? centered_ : branch.centered_;
    parts.push_back(branch.Finish(name));
  }
  Append(std::make_unique<nn::Concat>(name, std::move(parts)));
  centered_ = centered;
}

WeightOptions Chain::NormalizedWeight() const {
  const v1::NormSpec& norm = builder_->spec().norm();
  return {.bias = !config::IsNormLayer(norm.kind()) || config::IsAfterActivation(norm.placement()),
          .weight_norm = norm.kind() == v1::NORM_KIND_WEIGHT};
}

void Chain::NormalizeAndActivate(const std::string& norm, const std::string& activation) {
  const v1::NormSpec& spec = builder_->spec().norm();
  const bool after = config::IsAfterActivation(spec.placement());
  const auto normalize = [&] {
    if (config::IsNormLayer(spec.kind())) DropAt(v1::DROPOUT_PLACE_BEFORE_NORM, norm);
    Normalize(norm, spec);
  };
  if (!after) normalize();
  Activate(activation);
  if (after) normalize();
}

void Chain::Activate(const std::string& name) {
  Activate(name, ActivationOf(builder_->spec().activation()));
  DropAt(v1::DROPOUT_PLACE_AFTER_ACTIVATION, name);
}

void Chain::DropAt(v1::DropoutPlace place, const std::string& name) {
  const v1::ModelSpec& spec = builder_->spec();
  if (spec.dropout() > 0 && spec.dropout_place() == place) {
    Dropout(name + ".dropout", spec.dropout());
  }
}

void Chain::DropLast(const std::string& name) {
  const v1::ModelSpec& spec = builder_->spec();
  switch (spec.dropout_place()) {
    case v1::DROPOUT_PLACE_UNSPECIFIED:
    case v1::DROPOUT_PLACE_LAST_LAYERS:
      if (spec.dropout() > 0) Dropout(name, spec.dropout());
      return;
    case v1::DROPOUT_PLACE_BEFORE_NORM:
    case v1::DROPOUT_PLACE_AFTER_ACTIVATION:
      return;
    default:
      ThrowUnknownValue("model.dropout_place", static_cast<int>(spec.dropout_place()));
  }
}

std::unique_ptr<Sequential> Chain::Finish(const std::string& name) {
  return std::make_unique<Sequential>(name, std::move(layers_));
}

void Chain::Append(std::unique_ptr<Layer> layer,
                   std::optional<backend::ActivationKind> activation) {
  builder_->Claim(layer->name());
  shape_ = layer->OutputShape(shape_);
  builder_->AddOutput({.layer = layer->name(), .sample = shape_, .activation = activation});
  if (activation && !layers_.empty()) builder_->MarkActivated(layers_.back()->name());
  open_norm_ = nullptr;
  weighted_.clear();
  centered_ = false;
  sees_images_ = false;
  layers_.push_back(std::move(layer));
}

}  // namespace syncbn::nn
