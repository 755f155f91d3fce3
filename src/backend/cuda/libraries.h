// What libraries compute for a stream: convolutions and matrix products. cuDNN and cuBLAS on a GPU
// (cudnn_libraries.cc), plain loops on the emulated device.
//
// Activations are NHWC, filters OHWI (what cuDNN calls NHWC); all are float32, dense, on the
// stream's device, and of at least one sample. Results are written, not added to. The algorithm is
// a pure function of the shapes, the device's model and the libraries' versions, and its result of
// the inputs: deterministic algorithms only, by cuDNN's heuristics under a constant limit of
// workspace, never by timing.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/cuda/cuda_stream.h"
#include "backend/precision.h"
#include "backend/specs.h"

namespace syncbn::backend::cuda {

// c [rows, columns] = a b, row by row; a is [rows, depth], or [depth, rows] where transposed, b
// [depth, columns], or [columns, depth].
struct MatrixProduct {
  int64_t rows = 0, depth = 0, columns = 0;
  bool transpose_a = false, transpose_b = false;
  const float* a = nullptr;
  const float* b = nullptr;
  float* c = nullptr;
};

class Libraries {
 public:
  virtual ~Libraries() = default;

  virtual void ConvolutionForward(const Conv2dSpec& spec, const Shape& x_shape, const float* x,
                                  const float* filter, float* y) = 0;
  virtual void ConvolutionBackwardInput(const Conv2dSpec& spec, const Shape& x_shape,
                                        const float* dy, const float* filter, float* dx) = 0;
  virtual void ConvolutionBackwardFilter(const Conv2dSpec& spec, const Shape& x_shape,
                                         const float* x, const float* dy, float* dfilter) = 0;
  // All extents are positive.
  virtual void Multiply(const MatrixProduct& product) = 0;
};

// For one stream, which it must not outlive. With kFloat32 products are of the factors as they are,
// with kTf32 of their first 10 bits of mantissa.
std::unique_ptr<Libraries> MakeLibraries(StreamCore& stream, Precision precision);
// {"cuDNN", "9.19.0"}, {"cuBLAS", "13.1.0"}: what is loaded, in a fixed order.
std::vector<std::pair<std::string, std::string>> LibraryVersions();

}  // namespace syncbn::backend::cuda
