// The largest eigenvalue of the Hessian of the loss on the step's batch, by power iteration:
//   v <- H v / |H v|,  lambda = v H v,  H v ~ (grad L(w + h v) - grad L(w - h v)) / (2 h),  |v| = 1
// from a vector of normal numbers drawn from (seed, step). Where two eigenvalues of about the same
// magnitude have opposite signs it does not settle, and `change` says so.
//
// How exact: the central difference is off by h^2 / 6 times the third derivative of the gradient
// along v, and by the gradients' own rounding, about 1e-6 |g| of float32, over h. So h is |w| times
// the cube root of the type's precision, a quarter of it: 1e-3 |w| in float32, where both errors
// are usually below a percent of lambda, 1e-6 |w| in double, below 1e-6 of it. Where the curvature
// is so small that h lambda comes near 1e-6 |g|, the figure is noise. Behind ReLU the Hessian does
// not see the kinks that w + h v crosses, and this does: it is the curvature over steps of length
// h.
//
// Cost: 2 forward and backward passes an iteration.
#pragma once

#include <cstdint>
#include <string_view>

#include "syncbn/v1/probes.pb.h"
#include "train/probes/periodic_probe.h"

namespace syncbn::train {

// Figures as v1::HessianSpec names them, of every so many steps and of the last.
class HessianProbe : public PeriodicProbe {
 public:
  HessianProbe(const v1::HessianSpec& spec, uint64_t seed)
      : PeriodicProbe(spec.every_steps()), spec_(spec), seed_(seed) {}

  std::string_view name() const override { return "hessian"; }
  NamedFigures Look(const ProbedStep& step) override;

 private:
  const v1::HessianSpec spec_;
  const uint64_t seed_;
};

}  // namespace syncbn::train
