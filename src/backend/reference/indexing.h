// Where an element lies in memory, and how a parameter's gradient leaves an operation.
#pragma once

#include <span>

#include "backend/specs.h"
#include "base/check.h"

namespace syncbn::backend::reference {

// Element (a, b, c, d) of a tensor of rank 4 in memory order: (n, h, w, c) of an activation,
// (o, i, h, w) of a weight.
class Index4 {
 public:
  explicit Index4(const Shape& shape) : b_(shape[1]), c_(shape[2]), d_(shape[3]) {
    SYNCBN_CHECK_EQ(shape.rank(), 4) << "axes of " << shape;
  }
  int64_t operator()(int64_t a, int64_t b, int64_t c, int64_t d) const {
    return ((a * b_ + b) * c_ + c) * d_ + d;
  }

 private:
  int64_t b_, c_, d_;
};

// Writes `gradient` to out.tensor or adds it there; nothing when out.tensor is undefined.
inline void WriteGradient(GradientOut& out, std::span<const double> gradient) {
  if (!out.tensor.defined()) return;
  const std::span<double> target = out.tensor.Span<double>();
  SYNCBN_CHECK_EQ(target.size(), gradient.size()) << "elements of a parameter's gradient";
  for (size_t i = 0; i < gradient.size(); ++i) {
    target[i] = out.accumulate ? target[i] + gradient[i] : gradient[i];
  }
}

}  // namespace syncbn::backend::reference
