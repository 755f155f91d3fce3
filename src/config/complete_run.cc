// Defaults that depend on other fields.
#include "config/validate.h"

namespace syncbn::config {
namespace {

using Layers = google::protobuf::RepeatedPtrField<v1::LayerSpec>;

// A norm that subtracts a mean directly behind a layer makes its bias useless.
bool NormFollows(const Layers& layers, int index) {
  if (index + 1 >= layers.size() || !layers[index + 1].has_norm()) return false;
  const v1::NormKind kind = layers[index + 1].norm().kind();
  return kind != v1::NORM_KIND_NONE && kind != v1::NORM_KIND_WEIGHT;
}

void CompletePool(v1::PoolSpec& pool) {
  if (!pool.has_stride()) pool.set_stride(pool.kernel());
}

void CompleteLayers(Layers& layers) {
  for (int i = 0; i < layers.size(); ++i) {
    v1::LayerSpec& layer = layers[i];
    const bool bias = !NormFollows(layers, i);
    if (layer.has_conv() && !layer.conv().has_bias()) layer.mutable_conv()->set_bias(bias);
    if (layer.has_linear() && !layer.linear().has_bias()) layer.mutable_linear()->set_bias(bias);
    if (layer.has_max_pool()) CompletePool(*layer.mutable_max_pool());
    if (layer.has_average_pool()) CompletePool(*layer.mutable_average_pool());
    if (layer.has_residual()) {
      CompleteLayers(*layer.mutable_residual()->mutable_body());
      CompleteLayers(*layer.mutable_residual()->mutable_shortcut());
    }
  }
}

}  // namespace

void CompleteRunSpec(v1::RunSpec& spec, const Origins& origins) {
  CompleteLayers(*spec.mutable_model()->mutable_layers());
  v1::OptimizerSpec& optimizer = *spec.mutable_train()->mutable_optimizer();
  if (optimizer.weight_decay_mode() == v1::WEIGHT_DECAY_MODE_UNSPECIFIED) {
    optimizer.set_weight_decay_mode(optimizer.kind() == v1::OPTIMIZER_KIND_ADAMW
                                        ? v1::WEIGHT_DECAY_MODE_DECOUPLED
                                        : v1::WEIGHT_DECAY_MODE_COUPLED);
  }
  const v1::NormSpec& norm = spec.model().norm();
  v1::EvaluateSpec& evaluate = *spec.mutable_train()->mutable_evaluate();
  if (spec.model().layers().empty() && norm.kind() == v1::NORM_KIND_BATCH &&
      norm.running().kind() == v1::RUNNING_KIND_NONE && !origins.Given("train.evaluate.with") &&
      !origins.Failed("train.evaluate.with")) {
    evaluate.clear_with();
    evaluate.add_with(v1::EVALUATION_MODE_BATCH);
  }
}

}  // namespace syncbn::config
