// Defaults that depend on other fields.
#include <string>
#include <string_view>

#include "config/decoder.h"
#include "config/norm_kind.h"
#include "config/schema.h"
#include "config/validate.h"

namespace syncbn::config {
namespace {

void CompletePool(v1::PoolSpec& pool) {
  if (!pool.has_stride()) pool.set_stride(pool.kernel());
}

void CompleteLayers(LayerSpecs& layers) {
  for (int i = 0; i < layers.size(); ++i) {
    v1::LayerSpec& layer = layers[i];
    const bool bias = !NormLayerFollows(layers, i);
    if (layer.has_conv() && !layer.conv().has_bias()) layer.mutable_conv()->set_bias(bias);
    if (layer.has_linear() && !layer.linear().has_bias()) layer.mutable_linear()->set_bias(bias);
    if (layer.has_max_pool()) CompletePool(*layer.mutable_max_pool());
    if (layer.has_average_pool()) CompletePool(*layer.mutable_average_pool());
    ForInnerLayers(layer, CompleteLayers);
  }
}

// An override in `part` that takes the sense from something in the file takes it out: arms of an
// experiment (--set model.norm=none) need no other change. Without one it is an error of the file.
class Concession {
 public:
  explicit Concession(const Origins& origins, std::string_view part = "model")
      : origins_(origins), part_(part) {}
  bool Concerns(std::string_view path) const {
    return origins_.GivenBy(part_) == Origin::Kind::kSet &&
           origins_.GivenBy(path) == Origin::Kind::kFile && !origins_.Failed(path);
  }

 private:
  const Origins& origins_;
  const std::string_view part_;
};

void CompleteEvaluation(v1::RunSpec& spec, const Origins& origins) {
  v1::EvaluateSpec& evaluate = *spec.mutable_train()->mutable_evaluate();
  const std::string path = "train.evaluate.with";
  const bool is_default = !origins.Given(path) && !origins.Failed(path);
  if (!is_default && !Concession(origins).Concerns(path)) return;
  const auto given = evaluate.with();
  evaluate.clear_with();
  for (const int mode : given) {
    if (EvaluationFits(spec.model(), static_cast<v1::EvaluationMode>(mode))) {
      evaluate.add_with(static_cast<v1::EvaluationMode>(mode));
    }
  }
  if (evaluate.with().empty()) {
    evaluate.add_with(HasBatchNorm(spec.model()) ? v1::EVALUATION_MODE_BATCH
                                                 : v1::EVALUATION_MODE_RUNNING);
  }
  const FieldDescriptor& samples = *evaluate.GetDescriptor()->FindFieldByName("precise_samples");
  if (!HasEffect(evaluate, samples)) SetDefault(evaluate, samples);
}

// Of images of a folder: as models trained on ImageNet with torchvision's recipes take them.
void CompleteImageFolder(v1::DataSpec& data) {
  if (!data.has_resize_size()) {
    data.set_resize_size(static_cast<int32_t>((int64_t{data.image_size()} * 256 + 112) / 224));
  }
  if (!data.standardize() || !data.mean().empty() || !data.std().empty()) return;
  for (const double mean : {0.485, 0.456, 0.406}) data.add_mean(mean);
  for (const double std : {0.229, 0.224, 0.225}) data.add_std(std);
}

}  // namespace

void CompleteRunSpec(v1::RunSpec& spec, const Origins& origins) {
  CompleteLayers(*spec.mutable_model()->mutable_layers());
  if (spec.data().dataset() == v1::DATASET_IMAGE_FOLDER) CompleteImageFolder(*spec.mutable_data());
  v1::OptimizerSpec& optimizer = *spec.mutable_train()->mutable_optimizer();
  if (optimizer.weight_decay_mode() == v1::WEIGHT_DECAY_MODE_UNSPECIFIED) {
    optimizer.set_weight_decay_mode(optimizer.kind() == v1::OPTIMIZER_KIND_ADAMW
                                        ? v1::WEIGHT_DECAY_MODE_DECOUPLED
                                        : v1::WEIGHT_DECAY_MODE_COUPLED);
  }
  // Large-batch recipes leave norms and biases out of lars and of weight decay.
  if (!optimizer.has_decay_norms_and_biases()) {
    optimizer.set_decay_norms_and_biases(optimizer.kind() != v1::OPTIMIZER_KIND_LARS);
  }
  v1::InitSpec& init = *spec.mutable_model()->mutable_init();
  if (!ZeroLastGammaFits(spec.model()) &&
      Concession(origins).Concerns("model.init.zero_last_gamma")) {
    init.set_zero_last_gamma(false);
  }
  CompleteEvaluation(spec, origins);
  if (ReplicasWithSamples(spec.cluster()) < 2 &&
      Concession(origins, "cluster").Concerns("probes.noise_scale")) {
    spec.mutable_probes()->mutable_noise_scale()->set_every_steps(0);
  }
}

}  // namespace syncbn::config
