#include "backend/cuda/convolution_limits.h"

#include <cstdint>
#include <limits>

#include "base/error.h"

namespace syncbn::backend::cuda {
namespace {

constexpr int64_t kMost = std::numeric_limits<int32_t>::max();

}  // namespace

std::string ConvolutionName(const Conv2dSpec& spec, const Shape& x) {
  const auto pair = [](int64_t a, int64_t b) {
    return std::to_string(a) + " x " + std::to_string(b);
  };
  return "convolution " + std::to_string(spec.in_channels) + " -> " +
         std::to_string(spec.out_channels) + ", window " + pair(spec.kernel_h, spec.kernel_w) +
         ", stride " + pair(spec.stride_h, spec.stride_w) + ", padding " +
         pair(spec.pad_h, spec.pad_w) + ", groups " + std::to_string(spec.groups) + ", of " +
         x.ToString();
}

void CheckFitsCudnn(const Conv2dSpec& spec, const Shape& x) {
  const auto check = [&](const char* tensor, const Shape& shape) {
    if (shape.elements() <= kMost) return;
    throw Error(ErrorCode::kInvalidArgument,
                ConvolutionName(spec, x) + ": its " + tensor + " " + shape.ToString() + " has " +
                    std::to_string(shape.elements()) + " elements, and cuDNN counts to " +
                    std::to_string(kMost) + ": a smaller batch per replica has fewer");
  };
  check("input", x);
  check("output", spec.OutputShape(x));
  check("filter", spec.WeightShape());
  // An image of no pixels has no elements, whatever its other extents and the padding are.
  for (const int64_t size :
       {x[0], x[1], x[2], spec.stride_h, spec.stride_w, spec.pad_h, spec.pad_w}) {
    if (size <= kMost) continue;
    throw Error(ErrorCode::kInvalidArgument, ConvolutionName(spec, x) + ": cuDNN counts to " +
                                                 std::to_string(kMost) + ", not to " +
                                                 std::to_string(size));
  }
}

}  // namespace syncbn::backend::cuda
