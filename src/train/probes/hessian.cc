#include "train/probes/hessian.h"

#include <cmath>
#include <limits>
#include <utility>

#include "base/rng.h"
#include "base/unknown_value.h"
#include "train/probes/flat_vectors.h"

namespace syncbn::train {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
// An eigenvalue that an iteration changes by less than this share has settled.
constexpr double kSettled = 1e-3;

// Of steps along v, as a share of |w|.
double RelativeLength(DType type) {
  switch (type) {
    case DType::kFloat32:
      return std::cbrt(std::numeric_limits<float>::epsilon()) / 4;
    case DType::kBFloat16:
      return std::cbrt(0x1p-7) / 4;
    case DType::kFloat64:
      return std::cbrt(std::numeric_limits<double>::epsilon()) / 4;
    default:
      ThrowUnknownValue("type of activations", static_cast<int>(type));
  }
}

// Normal numbers in the parameters, zeros in the padding; on the host.
Tensor RandomDirection(const nn::ParameterLayout& layout, RandomKey key) {
  RandomStream numbers(key);
  Tensor direction = Tensor::Zeros({layout.flat_elements()}, DType::kFloat64);
  for (int i = 0; i < layout.size(); ++i) {
    Tensor part = layout.View(direction, i);
    for (double& x : part.Span<double>()) x = numbers.Normal();
  }
  return direction;
}

}  // namespace

NamedFigures HessianProbe::Look(const ProbedStep& step) {
  const FlatVectors vectors(step.model->parameters(), *step.executor);
  const DType type = step.gradients.dtype();
  const double length =
      RelativeLength(step.executor->types().activations) * vectors.Norm(step.parameters.values());
  // Of a unit vector; `norm` receives its length.
  const auto product = [&](const Tensor& v, double& norm) {
    const Tensor ahead = step.executor->Clone(step.gradients_at(step.Along(v, length)).gradients);
    const Tensor behind = step.gradients_at(step.Along(v, -length)).gradients;
    Tensor difference = vectors.Difference(ahead, behind);
    norm = vectors.Norm(difference) / (2 * length);
    return difference;
  };

  Tensor v = step.executor->ToDevice(
      RandomDirection(step.model->parameters(),
                      RandomKey(seed_).Fold("hessian").Fold(static_cast<uint64_t>(step.step))),
      type);
  v = vectors.Scaled(v, 1 / vectors.Norm(v));
  double eigenvalue = kNone, change = kNone;
  for (int i = 0; i < spec_.iterations(); ++i) {
    double norm = 0;
    const Tensor difference = product(v, norm);
    if (!(norm > 0) || !std::isfinite(norm)) {
      // The loss is flat along v, or nothing can be told.
      eigenvalue = norm;
      change = kNone;
      break;
    }
    Tensor next = vectors.Scaled(difference, 1 / (2 * length * norm));
    // v H v = |H v| times the cosine between the two, which may be -1.
    const double apart = vectors.Norm(vectors.Difference(next, v));
    const double value = norm * CosineOfUnits(apart);
    change = std::abs(value - eigenvalue) / std::abs(value);
    eigenvalue = value;
    v = std::move(next);
    if (change < kSettled) break;
  }
  return {{"hessian.top_eigenvalue", eigenvalue}, {"hessian.change", change}};
}

}  // namespace syncbn::train
