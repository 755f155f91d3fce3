#include "train/probes/covariate_shift.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "train/probes/flat_vectors.h"
#include "train/probes/layer_figures.h"

namespace syncbn::train {
namespace {

constexpr const char* kGradient = "gradient";
constexpr const char* kCosine = "cosine";
constexpr const char* kMean = "mean";
constexpr const char* kLogStd = "log_std";

// Weight normalization's gain is a part of the weight.
bool IsWeight(const nn::Parameter& parameter) {
  return parameter.role == nn::ParameterRole::kWeight ||
         parameter.role == nn::ParameterRole::kWeightNormGain;
}

}  // namespace

DistributionShift ShiftOf(const OutputStatistics& before, const OutputStatistics& after) {
  double means = 0, logs = 0, counted = 0;
  for (size_t c = 0; c < before.channels(); ++c) {
    const double std = std::sqrt(before.m2()[c] / before.count());
    const double later = std::sqrt(after.m2()[c] / after.count());
    if (std == 0 || later == 0) continue;
    const double mean = (after.mean()[c] - before.mean()[c]) / std;
    const double log_std = std::log(later / std);
    means += mean * mean;
    logs += log_std * log_std;
    counted += 1;
  }
  return {.mean = std::sqrt(means / counted), .log_std = std::sqrt(logs / counted)};
}

std::vector<CovariateShiftProbe::Weighted> CovariateShiftProbe::WeightedOf(const nn::Model& model) {
  std::vector<Weighted> weighted;
  const nn::ParameterLayout& layout = model.parameters();
  for (int i = 0; i < layout.size(); ++i) {
    if (!IsWeight(layout[i])) continue;
    const std::string layer = layout[i].name.substr(0, layout[i].name.rfind('.'));
    if (weighted.empty() || weighted.back().layer != layer) weighted.push_back({.layer = layer});
    weighted.back().weights.push_back(i);
  }
  return weighted;
}

std::vector<nn::LayerOutput> CovariateShiftProbe::ShiftedOf(const nn::Model& model) {
  std::set<std::string> names;
  for (const Weighted& weighted : WeightedOf(model)) names.insert(weighted.layer);
  for (const nn::NormLayer& norm : model.norms()) names.insert(norm.name);
  std::vector<nn::LayerOutput> shifted;
  std::ranges::copy_if(model.outputs(), std::back_inserter(shifted),
                       [&](const nn::LayerOutput& output) { return names.contains(output.layer); });
  return shifted;
}

CovariateShiftProbe::CovariateShiftProbe(int64_t every_steps, const nn::Model& unfused)
    : PeriodicProbe(every_steps), weighted_(WeightedOf(unfused)), meter_(ShiftedOf(unfused), {}) {
  CheckLayerFigures(name(), meter_.layers(), kGradient);
}

NamedFigures CovariateShiftProbe::Look(const ProbedStep& step) {
  NamedFigures figures;
  AddGradientShift(step, figures);
  AddDistributionShift(step, figures);
  return figures;
}

void CovariateShiftProbe::AddGradientShift(const ProbedStep& step, NamedFigures& figures) const {
  const nn::ParameterLayout& layout = step.model->parameters();
  const FlatVectors vectors(layout, *step.executor);
  const auto norm_of = [](const std::vector<double>& squares, const Weighted& layer) {
    double sum = 0;
    for (const int i : layer.weights) sum += squares[static_cast<size_t>(i)];
    return std::sqrt(sum);
  };
  const std::vector<double> own = vectors.SquaredNorms(step.gradients);
  nn::ParameterSet moved(step.executor->Clone(step.parameters.values()));
  int next = 0;  // the first parameter that has not moved
  for (const Weighted& layer : weighted_) {
    double distance = 0, cosine = 1;
    if (layer.weights.front() > 0) {
      std::vector<double> factors(static_cast<size_t>(layout.size()), 0);
      for (; next < layer.weights.front(); ++next) {
        factors[static_cast<size_t>(next)] = -step.learning_rate;
      }
      moved.Write([&](Tensor& values) { vectors.AddScaled(step.gradients, factors, values); });
      const Tensor there = step.gradients_at(moved).gradients;
      const std::vector<double> squares = vectors.SquaredNorms(there);
      distance = norm_of(vectors.SquaredNorms(vectors.Difference(there, step.gradients)), layer);
      // Between vectors of length 1, so that it is exact where they are close.
      Tensor apart = vectors.Scaled(there, 1 / norm_of(squares, layer));
      vectors.AddScaled(step.gradients, -1 / norm_of(own, layer), apart);
      cosine = CosineOfUnits(norm_of(vectors.SquaredNorms(apart), layer));
    }
    figures[LayerFigure(name(), layer.layer, kGradient)] = distance;
    figures[LayerFigure(name(), layer.layer, kCosine)] = cosine;
  }
}

void CovariateShiftProbe::AddDistributionShift(const ProbedStep& step,
                                               NamedFigures& figures) const {
  const std::vector<OutputStatistics> before = meter_.Measure(step, step.parameters);
  const std::vector<OutputStatistics> after =
      meter_.Measure(step, step.Along(step.gradients, -step.learning_rate));
  for (size_t i = 0; i < before.size(); ++i) {
    const DistributionShift shift = ShiftOf(before[i], after[i]);
    figures[LayerFigure(name(), meter_.layers()[i].layer, kMean)] = shift.mean;
    figures[LayerFigure(name(), meter_.layers()[i].layer, kLogStd)] = shift.log_std;
  }
}

}  // namespace syncbn::train
