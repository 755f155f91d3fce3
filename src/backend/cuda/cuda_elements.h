// What the elements of activations are.
#pragma once

#include <utility>

#include "backend/precision.h"
#include "backend/specs.h"
#include "base/check.h"
#include "tensor/tensor.h"

namespace syncbn::backend::cuda {

constexpr ElementTypes ElementTypesOf(Precision precision) {
  return {.activations = precision == Precision::kBFloat16 ? DType::kBFloat16 : DType::kFloat32};
}

// Calls with(element) with one of the type of x's elements: float or BFloat16.
template <typename With>
decltype(auto) ForElements(const Tensor& x, const With& with) {
  if (x.dtype() == DType::kBFloat16) return with(BFloat16());
  SYNCBN_CHECK_EQ(x.dtype(), DType::kFloat32) << "elements of activations " << x.shape();
  return with(float());
}

}  // namespace syncbn::backend::cuda
