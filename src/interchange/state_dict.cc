#include "interchange/state_dict.h"

#include <algorithm>
#include <string>

#include "interchange/fold.h"

namespace syncbn::interchange {
namespace {

using train::NamedTensor;

bool IsTorchvisionsVgg(const v1::ModelSpec& spec) {
  const std::string& name = spec.architecture();
  return (name == "vgg11" || name == "vgg13" || name == "vgg16" || name == "vgg19") &&
         spec.norm().kind() == v1::NORM_KIND_BATCH;
}

}  // namespace

Weights::Weights(std::span<const NamedTensor> checkpoint) {
  for (const NamedTensor& entry : checkpoint) {
    if (!entry.name.starts_with("optimizer.")) tensors_.push_back(entry);
  }
}

Tensor Weights::Find(std::string_view name) const {
  const auto found = std::ranges::find(tensors_, name, &NamedTensor::name);
  return found == tensors_.end() ? Tensor() : found->tensor;
}

std::vector<NamedTensor> StateDict(const v1::ModelSpec& spec, const nn::Model& model,
                                   const Weights& weights, const StateDictOptions& options) {
  const Folds folds = options.fold_batch_norms ? FoldBatchNorms(model, weights) : Folds();
  std::vector<NamedTensor> tensors;
  for (const NamedTensor& entry : weights.tensors()) {
    const size_t dot = entry.name.rfind('.');
    const std::string layer = entry.name.substr(0, dot), what = entry.name.substr(dot + 1);
    if (folds.norms.contains(layer)) continue;
    const auto folded = folds.layers.find(layer);
    if (folded == folds.layers.end()) {
      tensors.push_back(entry);
    } else if (what == "weight") {
      tensors.push_back({entry.name, folded->second.weight});
      tensors.push_back({layer + ".bias", folded->second.bias});
    }
  }
  if (options.fold_batch_norms || !IsTorchvisionsVgg(spec)) return tensors;
  for (const nn::NormLayer& norm : model.norms()) {
    if (!norm.behind || weights.Find(*norm.behind + ".bias").defined()) continue;
    tensors.push_back({*norm.behind + ".bias", Tensor::Zeros({norm.channels}, DType::kFloat32)});
  }
  return tensors;
}

}  // namespace syncbn::interchange
