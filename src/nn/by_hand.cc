#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "config/norm_kind.h"
#include "nn/architectures.h"

namespace syncbn::nn {
namespace {

using config::LayerSpecs;

// `spec`: the conv or linear at `index`.
template <typename Spec>
WeightOptions WeightOf(const Spec& spec, const LayerSpecs& specs, int index) {
  return {.bias = spec.has_bias() ? spec.bias() : !config::NormLayerFollows(specs, index),
          .weight_norm = config::WeightNormFollows(specs, index)};
}

void CheckWeightNorm(const std::string& name, const LayerSpecs& specs, int index) {
  if (config::HasItsWeight(specs, index)) return;
  throw Error(ErrorCode::kInvalidArgument,
              "layer " + name +
                  ": weight normalization belongs to the weight of the layer before it; put it "
                  "directly behind a `conv` or `linear`");
}

backend::Pool2dSpec PoolOf(const v1::PoolSpec& spec, backend::PoolKind kind) {
  return {.kind = kind,
          .kernel = spec.kernel(),
          .stride = spec.has_stride() ? spec.stride() : spec.kernel(),
          .pad = spec.padding()};
}

void AddLayers(Chain& chain, const std::string& prefix, const LayerSpecs& specs,
               bool residual_body);

void AddResidual(Chain& chain, const std::string& name, const v1::ResidualSpec& spec) {
  Chain body(chain.builder(), chain.shape()), shortcut(chain.builder(), chain.shape());
  AddLayers(body, name + ".body.", spec.body(), true);
  AddLayers(shortcut, name + ".shortcut.", spec.shortcut(), false);
  chain.Residual(name, std::move(body), std::move(shortcut));
}

void AddConcat(Chain& chain, const std::string& name, const v1::ConcatSpec& spec) {
  std::vector<Chain> branches;
  for (int i = 0; i < spec.branches_size(); ++i) {
    Chain& branch = branches.emplace_back(chain.builder(), chain.shape());
    AddLayers(branch, name + ".branches." + std::to_string(i) + ".", spec.branches(i).body(),
              false);
  }
  chain.Concat(name, std::move(branches));
}

void AddLayer(Chain& chain, const std::string& name, const LayerSpecs& specs, int index,
              bool residual_body) {
  const v1::LayerSpec& spec = specs[index];
  using Kind = v1::LayerSpec::KindCase;
  switch (spec.kind_case()) {
    case Kind::kConv:
      return chain.Conv(name,
                        {.out = spec.conv().out(),
                         .kernel = spec.conv().kernel(),
                         .stride = spec.conv().stride(),
                         .padding = spec.conv().padding(),
                         .groups = spec.conv().groups()},
                        WeightOf(spec.conv(), specs, index));
    case Kind::kLinear:
      return chain.Linear(name, spec.linear().out(), WeightOf(spec.linear(), specs, index));
    case Kind::kNorm: {
      CheckWeightNorm(name, specs, index);
      const bool last = residual_body && index + 1 == specs.size();
      const bool zero = last && chain.builder().spec().init().zero_last_gamma();
      return chain.Normalize(name, spec.norm(), zero);
    }
    case Kind::kRelu:
      return chain.Activate(name, backend::ActivationKind::kRelu);
    case Kind::kSigmoid:
      return chain.Activate(name, backend::ActivationKind::kSigmoid);
    case Kind::kTanh:
      return chain.Activate(name, backend::ActivationKind::kTanh);
    case Kind::kGelu:
      return chain.Activate(name, backend::ActivationKind::kGelu);
    case Kind::kSilu:
      return chain.Activate(name, backend::ActivationKind::kSilu);
    case Kind::kMaxPool:
      return chain.Pool(name, PoolOf(spec.max_pool(), backend::PoolKind::kMax));
    case Kind::kAveragePool:
      return chain.Pool(name, PoolOf(spec.average_pool(), backend::PoolKind::kAverage));
    case Kind::kGlobalAveragePool:
      return chain.GlobalAveragePool(name);
    case Kind::kDropout:
      return chain.Dropout(name, spec.dropout().probability());
    case Kind::kFlatten:
      return chain.Flatten(name);
    case Kind::kResidual:
      return AddResidual(chain, name, spec.residual());
    case Kind::kRnn:
      return chain.Recurrent(name, /*lstm=*/false, spec.rnn());
    case Kind::kLstm:
      return chain.Recurrent(name, /*lstm=*/true, spec.lstm());
    case Kind::kConcat:
      return AddConcat(chain, name, spec.concat());
    case Kind::KIND_NOT_SET:
      break;
  }
  throw Error(ErrorCode::kInvalidArgument, "layer " + name + ": it does not say what it is");
}

void AddLayers(Chain& chain, const std::string& prefix, const LayerSpecs& specs,
               bool residual_body) {
  for (int i = 0; i < specs.size(); ++i) {
    const std::string own = specs[i].name().empty() ? std::to_string(i) : specs[i].name();
    AddLayer(chain, prefix + own, specs, i, residual_body);
  }
}

}  // namespace

void AddLayersByHand(Chain& chain) {
  AddLayers(chain, "", chain.builder().spec().layers(), false);
}

}  // namespace syncbn::nn
