#include "backend/specs.h"

#include <string>

#include "base/error.h"

namespace syncbn::backend {
namespace {

[[noreturn]] void Refuse(const std::string& message) {
  throw Error(ErrorCode::kInvalidArgument, message);
}

void CheckImages(const char* operation, const Shape& x) {
  if (x.rank() != 4) {
    Refuse(std::string(operation) + ": the input must be [N, H, W, C], got " + x.ToString());
  }
}

// Number of places a window has along one axis.
int64_t Places(const char* operation, const char* axis, int64_t extent, int64_t window,
               int64_t stride, int64_t pad) {
  if (window < 1 || stride < 1 || pad < 0) {
    Refuse(std::string(operation) +
           ": kernel and stride must be at least 1 and padding at least 0, got " +
           std::to_string(window) + ", " + std::to_string(stride) + ", " + std::to_string(pad));
  }
  const int64_t padded = extent + 2 * pad;
  if (padded < window) {
    Refuse(std::string(operation) + ": a kernel of " + std::to_string(window) +
           " does not fit the input's " + axis + " of " + std::to_string(extent) + " + 2 x " +
           std::to_string(pad) + " padding; use a smaller kernel, more padding or larger images");
  }
  return (padded - window) / stride + 1;
}

}  // namespace

Shape Conv2dSpec::OutputShape(const Shape& x) const {
  CheckImages("conv2d", x);
  if (in_channels < 1 || out_channels < 1) {
    Refuse("conv2d: channels must be at least 1, got " + std::to_string(in_channels) + " in and " +
           std::to_string(out_channels) + " out");
  }
  if (groups < 1 || in_channels % groups != 0 || out_channels % groups != 0) {
    Refuse("conv2d: groups = " + std::to_string(groups) + " must divide both " +
           std::to_string(in_channels) + " input and " + std::to_string(out_channels) +
           " output channels");
  }
  if (x.channels() != in_channels) {
    Refuse("conv2d: the layer takes " + std::to_string(in_channels) + " channels, the input " +
           x.ToString() + " has " + std::to_string(x.channels()));
  }
  return {x[0], Places("conv2d", "height", x[1], kernel_h, stride_h, pad_h),
          Places("conv2d", "width", x[2], kernel_w, stride_w, pad_w), out_channels};
}

Shape Conv2dSpec::WeightShape() const {
  if (groups < 1) Refuse("conv2d: groups must be at least 1, got " + std::to_string(groups));
  return {out_channels, in_channels / groups, kernel_h, kernel_w};
}

Shape Pool2dSpec::OutputShape(const Shape& x) const {
  CheckImages("pool2d", x);
  if (kernel >= 1 && 2 * pad > kernel) {
    Refuse("pool2d: padding of " + std::to_string(pad) + " is more than half of the kernel of " +
           std::to_string(kernel) + ": some windows would hold nothing but padding");
  }
  return {x[0], Places("pool2d", "height", x[1], kernel, stride, pad),
          Places("pool2d", "width", x[2], kernel, stride, pad), x[3]};
}

}  // namespace syncbn::backend
