// What libraries compute for a stream: convolutions and matrix products, by cuDNN and cuBLAS
// (cudnn_libraries.cc; on the emulated device they are doubles in plain loops).
//
// Activations are NHWC, filters OHWI (what cuDNN calls NHWC); all are float32 or BFloat16, dense,
// on the stream's device, and of at least one sample; those of convolutions begin at multiples of
// 16 bytes. Products of BFloat16 are summed in float32.
// Results are written, not added to. The algorithm is a pure function of the shapes, the device's
// model and the libraries' versions, and its result of the inputs: deterministic algorithms only,
// by cuDNN's heuristics under a constant limit of workspace, never by timing.
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

// The elements of a tensor on the device, and what they are.
struct Factor {
  const void* elements = nullptr;
  DType type = DType::kFloat32;
};
struct Result {
  void* elements = nullptr;
  DType type = DType::kFloat32;
};

// c [rows, columns] = a b, row by row; a is [rows, depth], or [depth, rows] where transposed, b
// [depth, columns], or [columns, depth]. Both factors are of one type; c is of that or float32.
struct MatrixProduct {
  int64_t rows = 0, depth = 0, columns = 0;
  bool transpose_a = false, transpose_b = false;
  Factor a, b;
  Result c;
};

class Libraries {
 public:
  virtual ~Libraries() = default;

  // Factors and result of a convolution are all of one type.
  virtual void ConvolutionForward(const Conv2dSpec& spec, const Shape& x_shape, Factor x,
                                  Factor filter, Result y) = 0;
  virtual void ConvolutionBackwardInput(const Conv2dSpec& spec, const Shape& x_shape, Factor dy,
                                        Factor filter, Result dx) = 0;
  virtual void ConvolutionBackwardFilter(const Conv2dSpec& spec, const Shape& x_shape, Factor x,
                                         Factor dy, Result dfilter) = 0;
  // All extents are positive.
  virtual void Multiply(const MatrixProduct& product) = 0;
};

// For one stream, which it must not outlive. With kTf32 factors that are float32 are multiplied
// with 10 bits of mantissa; otherwise as they are.
std::unique_ptr<Libraries> MakeLibraries(StreamCore& stream, Precision precision);
// {"cuDNN", "9.19.0"}, {"cuBLAS", "13.1.0"}: what is loaded, in a fixed order.
std::vector<std::pair<std::string, std::string>> LibraryVersions();

}  // namespace syncbn::backend::cuda
