// The loss along the gradient (Santurkar et al. 2018, "How Does Batch Normalization Help
// Optimization?", section 3.1): how far loss and gradient change over steps of several lengths.
//
// With g = grad L(w) of the step's batch and lengths s, raw:
//   L(w - s g)    |grad L(w - s g) - g|    beta = max over s of |grad L(w - s g) - g| / |s g|
// Behind a norm the loss is the same for a multiple of the weights, while g is divided by it and
// beta by its square: a net with norms is smoother by this measure for the size of its weights
// alone. So once more, relative to the weights: with u_i = w_i / |w_i| of each tensor w_i at w, the
// gradient by u is |w_i| g_i, every tensor goes the length s against its own g_i,
//   w_i(s) = w_i - s |w_i| g_i / |g_i|
// and beta = max over s of |grad_u L(w(s)) - grad_u L(w)| / (s sqrt(tensors that move)). A tensor
// that is 0, or has gradient 0, does not move. Both betas bound the curvature along the way from
// below; neither is the Hessian's largest eigenvalue.
//
// Cost: 2 x points forward and backward passes a look. Gradients are differences of the back end's
// rounded ones: of float32, a change below some 1e-6 of the gradient itself is noise.
#pragma once

#include <cstdint>
#include <limits>
#include <string_view>

#include "syncbn/v1/probes.pb.h"
#include "train/probes/periodic_probe.h"

namespace syncbn::train {

// The smallest and the largest of some numbers; not finite where there are none. One that is not
// finite makes the largest NaN: nothing bounds it.
struct Range {
  double lowest = std::numeric_limits<double>::infinity();
  double highest = -std::numeric_limits<double>::infinity();
  void Add(double value);
};

// Figures as v1::LandscapeSpec names them, of every so many steps and of the last.
class LandscapeProbe : public PeriodicProbe {
 public:
  explicit LandscapeProbe(const v1::LandscapeSpec& spec)
      : PeriodicProbe(spec.every_steps()), spec_(spec) {}

  std::string_view name() const override { return "landscape"; }
  NamedFigures Look(const ProbedStep& step) override;

 private:
  const v1::LandscapeSpec spec_;
};

}  // namespace syncbn::train
