// cuDNN, emulated: include/cudnn.h.
#include <cudnn.h>

#include <algorithm>
#include <optional>
#include <span>
#include <type_traits>

#include "tests/emulation/library_work.h"

struct cudnnContext {
  int device = 0;
  cudaStream_t stream = nullptr;
};
struct cudnnTensorStruct {
  cudnnTensorFormat_t format;
  cudnnDataType_t type;
  int n = 0, c, h, w;
};
struct cudnnFilterStruct {
  cudnnTensorFormat_t format;
  cudnnDataType_t type;
  int k = 0, c, h, w;
};
struct cudnnConvolutionStruct {
  int pad_h, pad_w, stride_h = 0, stride_w, dilation_h, dilation_w;
  cudnnConvolutionMode_t mode;
  cudnnDataType_t sums;
  int groups = 1;
  cudnnMathType_t math = CUDNN_DEFAULT_MATH;
};

namespace syncbn::emulation {
namespace {

// What descriptors say of a convolution x * w = y, whichever of the three is computed.
struct Problem {
  cudnnTensorStruct x, y;
  cudnnFilterStruct w;
  cudnnConvolutionStruct convolution;

  cudnnStatus_t Check() const {
    const cudnnConvolutionStruct& of = convolution;
    if (x.n <= 0 || y.n <= 0 || w.k <= 0 || of.stride_h <= 0) return CUDNN_STATUS_BAD_PARAM;
    if (x.format != CUDNN_TENSOR_NHWC || y.format != x.format || w.format != x.format) {
      return CUDNN_STATUS_NOT_SUPPORTED_LAYOUT;
    }
    if (y.type != x.type || w.type != x.type || of.sums != CUDNN_DATA_FLOAT ||
        of.mode != CUDNN_CROSS_CORRELATION || of.dilation_h != 1 || of.dilation_w != 1) {
      return CUDNN_STATUS_NOT_SUPPORTED;
    }
    const auto places = [](int size, int pad, int window, int stride) {
      return size + 2 * pad < window ? 0 : (size + 2 * pad - window) / stride + 1;
    };
    const bool fits = x.c == w.c * of.groups && w.k % of.groups == 0 && y.n == x.n && y.c == w.k &&
                      y.h == places(x.h, of.pad_h, w.h, of.stride_h) &&
                      y.w == places(x.w, of.pad_w, w.w, of.stride_w) && y.h > 0 && y.w > 0;
    return fits ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH;
  }
  int64_t x_elements() const { return int64_t{x.n} * x.h * x.w * x.c; }
  int64_t y_elements() const { return int64_t{y.n} * y.h * y.w * y.c; }
  int64_t w_elements() const { return int64_t{w.k} * w.h * w.w * w.c; }

  // Calls visit(x, w, y) with the indices of every product x w that is a part of y.
  template <typename Visit>
  void ForEachProduct(const Visit& visit) const {
    const int outputs = w.k / convolution.groups;
    for (int64_t n = 0; n < y.n; ++n) {
      for (int64_t oh = 0; oh < y.h; ++oh) {
        for (int64_t ow = 0; ow < y.w; ++ow) {
          const int64_t to = ((n * y.h + oh) * y.w + ow) * y.c;
          for (int64_t kh = 0; kh < w.h; ++kh) {
            const int64_t h = oh * convolution.stride_h - convolution.pad_h + kh;
            if (h < 0 || h >= x.h) continue;
            for (int64_t kw = 0; kw < w.w; ++kw) {
              const int64_t column = ow * convolution.stride_w - convolution.pad_w + kw;
              if (column < 0 || column >= x.w) continue;
              const int64_t from = ((n * x.h + h) * x.w + column) * x.c;
              for (int64_t o = 0; o < w.k; ++o) {
                const int64_t filter = ((o * w.h + kh) * w.w + kw) * w.c;
                const int64_t first = o / outputs * w.c;
                for (int64_t i = 0; i < w.c; ++i) visit(from + first + i, filter + i, to + o);
              }
            }
          }
        }
      }
    }
  }
};

// An algorithm as the emulated cuDNN has it.
template <typename Algorithm>
struct Known {
  Algorithm algorithm;
  bool deterministic;
  size_t bytes;  // of workspace; more with CUDNN_FMA_MATH
  // Convolutions that it turns out not to have: when its workspace is asked for, and when it runs.
  bool (*has_no_size)(const Problem&);
  bool (*does_not_run)(const Problem&);
};
constexpr bool No(const Problem&) {
  return false;
}
constexpr bool Yes(const Problem&) {
  return true;
}
bool IsGrouped(const Problem& of) {
  return of.convolution.groups > 1;
}
bool HasOddChannels(const Problem& of) {
  return of.x.c % 2 != 0;
}

constexpr size_t kHuge = size_t{2} << 30;
constexpr Known<cudnnConvolutionFwdAlgo_t> kForward[] = {
    {CUDNN_CONVOLUTION_FWD_ALGO_FFT_TILING, true, 4096, Yes, Yes},
    {CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD_NONFUSED, true, kHuge, No, No},
    {CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, true, 1000, IsGrouped, HasOddChannels},
    {CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM, true, 0, No, No}};
constexpr Known<cudnnConvolutionBwdDataAlgo_t> kBackwardData[] = {
    {CUDNN_CONVOLUTION_BWD_DATA_ALGO_0, false, 0, No, No},
    {CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD_NONFUSED, true, 512, No, HasOddChannels},
    {CUDNN_CONVOLUTION_BWD_DATA_ALGO_FFT_TILING, true, kHuge, No, No},
    {CUDNN_CONVOLUTION_BWD_DATA_ALGO_1, true, 100, No, No}};
constexpr Known<cudnnConvolutionBwdFilterAlgo_t> kBackwardFilter[] = {
    {CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3, false, 100, No, No},
    {CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0, false, 0, No, No},
    {CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD_NONFUSED, true, 512, IsGrouped, HasOddChannels},
    {CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1, true, 100, No, No}};

size_t BytesOf(size_t listed, cudnnMathType_t math) {
  return listed == 0 || math != CUDNN_FMA_MATH ? listed : listed + 333;
}

template <typename Algorithm>
cudnnStatus_t List(const Problem& problem, std::span<const Known<Algorithm>> known, int most,
                   int* count, cudnnEmulatedPerformance<Algorithm>* found) {
  *count = 0;
  if (const cudnnStatus_t status = problem.Check(); status != CUDNN_STATUS_SUCCESS) return status;
  // Of grouped convolutions the list does not know the last one, which is there all the same.
  if (IsGrouped(problem)) known = known.first(known.size() - 1);
  for (const Known<Algorithm>& one : known) {
    for (const cudnnMathType_t math : {CUDNN_TENSOR_OP_MATH, CUDNN_DEFAULT_MATH}) {
      if (*count == most) return CUDNN_STATUS_SUCCESS;
      found[(*count)++] = {
          .algo = one.algorithm,
          .status = CUDNN_STATUS_SUCCESS,
          .time = -1,
          .memory = one.bytes,
          .determinism = one.deterministic ? CUDNN_DETERMINISTIC : CUDNN_NON_DETERMINISTIC,
          .mathType = math,
          .reserved = {}};
    }
  }
  return CUDNN_STATUS_SUCCESS;
}

template <typename Algorithm>
cudnnStatus_t Size(const Problem& problem, std::span<const Known<Algorithm>> known,
                   Algorithm algorithm, size_t* bytes) {
  if (const cudnnStatus_t status = problem.Check(); status != CUDNN_STATUS_SUCCESS) return status;
  const auto one = std::ranges::find(known, algorithm, &Known<Algorithm>::algorithm);
  if (one == known.end() || one->has_no_size(problem)) return CUDNN_STATUS_NOT_SUPPORTED;
  *bytes = BytesOf(one->bytes, problem.convolution.math);
  return CUDNN_STATUS_SUCCESS;
}

// results[k] = the sum of a[i] b[j] over the products that give(problem, add) calls add(i, j, k)
// for.
template <typename Algorithm, typename Give>
cudnnStatus_t Convolve(cudnnHandle_t handle, const Problem& problem,
                       std::span<const Known<Algorithm>> known, Algorithm algorithm,
                       const void* alpha, const void* beta, void* workspace, size_t workspace_bytes,
                       const void* a, const void* b, void* results, int64_t elements,
                       const Give& give) {
  size_t bytes = 0;
  if (const cudnnStatus_t status = Size(problem, known, algorithm, &bytes);
      status != CUDNN_STATUS_SUCCESS) {
    return status;
  }
  const auto one = std::ranges::find(known, algorithm, &Known<Algorithm>::algorithm);
  if (one->does_not_run(problem)) return CUDNN_STATUS_NOT_SUPPORTED_SHAPE;
  if (workspace_bytes < bytes) return CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT;
  if (bytes > 0 && !IsInBlock(workspace, bytes)) return CUDNN_STATUS_BAD_PARAM;
  // Other factors are not emulated.
  if (*static_cast<const float*>(alpha) != 1 || *static_cast<const float*>(beta) != 0) {
    return CUDNN_STATUS_NOT_SUPPORTED;
  }
  if (!one->deterministic) SetFault("cuDNN is given an algorithm that is not deterministic");
  // What cuDNN's kernels read in wide accesses.
  for (const void* address : {a, b, static_cast<const void*>(results)}) {
    if (reinterpret_cast<uintptr_t>(address) % 16 != 0) {
      SetFault("cuDNN is given memory at an address that is no multiple of 16 bytes");
    }
  }
  const auto run = [&](auto element, Rounding rounding) {
    using T = decltype(element);
    GiveWork(handle->stream, [=] {
      // Which it may write to, whatever it needs.
      if (bytes > 0) std::fill_n(static_cast<std::byte*>(workspace), bytes, std::byte{0x7F});
      const T *const left = static_cast<const T*>(a), *const right = static_cast<const T*>(b);
      Sums<float, T> sums(static_cast<T*>(results), elements);
      give(problem, [&](int64_t i, int64_t j, int64_t k) {
        sums.Add(k, rounding.Of(left[i]), rounding.Of(right[j]));
      });
    });
  };
  if (problem.x.type == CUDNN_DATA_BFLOAT16) {
    run(BFloat16(), {});
  } else {
    run(float(), {.tf32 = problem.convolution.math != CUDNN_FMA_MATH});
  }
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace
}  // namespace syncbn::emulation

using namespace syncbn::emulation;  // NOLINT: what follows has the names of another library

size_t cudnnGetVersion() {
  return 90000;
}
void cudnnGetLastErrorString(char* message, size_t bytes) {
  if (bytes > 0) *message = '\0';
}
const char* cudnnGetErrorString(cudnnStatus_t status) {
  switch (status) {
    case CUDNN_STATUS_SUCCESS:
      return "CUDNN_STATUS_SUCCESS";
    case CUDNN_STATUS_BAD_PARAM:
      return "CUDNN_STATUS_BAD_PARAM";
    case CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT:
      return "CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT";
    case CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH:
      return "CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH";
    case CUDNN_STATUS_NOT_SUPPORTED:
      return "CUDNN_STATUS_NOT_SUPPORTED";
    case CUDNN_STATUS_NOT_SUPPORTED_SHAPE:
      return "CUDNN_STATUS_NOT_SUPPORTED_SHAPE";
    case CUDNN_STATUS_NOT_SUPPORTED_LAYOUT:
      return "CUDNN_STATUS_NOT_SUPPORTED_LAYOUT";
    case CUDNN_STATUS_NOT_SUPPORTED_INCOMPATIBLE_CUDA_DRIVER:
      return "CUDNN_STATUS_NOT_SUPPORTED_INCOMPATIBLE_CUDA_DRIVER";
    case CUDNN_STATUS_NOT_SUPPORTED_INCOMPATIBLE_CUDART:
      return "CUDNN_STATUS_NOT_SUPPORTED_INCOMPATIBLE_CUDART";
    case CUDNN_STATUS_NOT_SUPPORTED_RUNTIME_PREREQUISITE_MISSING:
      return "CUDNN_STATUS_NOT_SUPPORTED_RUNTIME_PREREQUISITE_MISSING";
    case CUDNN_STATUS_NOT_SUPPORTED_SUBLIBRARY_UNAVAILABLE:
      return "CUDNN_STATUS_NOT_SUPPORTED_SUBLIBRARY_UNAVAILABLE";
    case CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED:
      return "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED";
    case CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED:
      return "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED";
  }
  return "unknown";
}
cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  *handle = new cudnnContext{.device = CurrentDevice()};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  delete handle;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  if (stream->device() != handle->device) return CUDNN_STATUS_BAD_PARAM;
  handle->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t* descriptor) {
  *descriptor = new cudnnTensorStruct{};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t descriptor) {
  delete descriptor;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t descriptor,
                                         cudnnTensorFormat_t format, cudnnDataType_t type, int n,
                                         int c, int h, int w) {
  if (std::min({n, c, h, w}) <= 0) return CUDNN_STATUS_BAD_PARAM;
  *descriptor = {.format = format, .type = type, .n = n, .c = c, .h = h, .w = w};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t* descriptor) {
  *descriptor = new cudnnFilterStruct{};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t descriptor) {
  delete descriptor;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t descriptor, cudnnDataType_t type,
                                         cudnnTensorFormat_t format, int k, int c, int h, int w) {
  if (std::min({k, c, h, w}) <= 0) return CUDNN_STATUS_BAD_PARAM;
  *descriptor = {.format = format, .type = type, .k = k, .c = c, .h = h, .w = w};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t* descriptor) {
  *descriptor = new cudnnConvolutionStruct{};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroyConvolutionDescriptor(cudnnConvolutionDescriptor_t descriptor) {
  delete descriptor;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t descriptor, int pad_h,
                                              int pad_w, int stride_h, int stride_w, int dilation_h,
                                              int dilation_w, cudnnConvolutionMode_t mode,
                                              cudnnDataType_t sums) {
  if (std::min(pad_h, pad_w) < 0 || std::min({stride_h, stride_w, dilation_h, dilation_w}) <= 0) {
    return CUDNN_STATUS_BAD_PARAM;
  }
  *descriptor = {.pad_h = pad_h,
                 .pad_w = pad_w,
                 .stride_h = stride_h,
                 .stride_w = stride_w,
                 .dilation_h = dilation_h,
                 .dilation_w = dilation_w,
                 .mode = mode,
                 .sums = sums};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetConvolutionGroupCount(cudnnConvolutionDescriptor_t descriptor, int groups) {
  descriptor->groups = groups;
  return groups > 0 ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_BAD_PARAM;
}
cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t descriptor,
                                          cudnnMathType_t math) {
  descriptor->math = math;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetConvolutionForwardAlgorithm_v7(cudnnHandle_t, cudnnTensorDescriptor_t x,
                                                     cudnnFilterDescriptor_t w,
                                                     cudnnConvolutionDescriptor_t convolution,
                                                     cudnnTensorDescriptor_t y, int most,
                                                     int* count,
                                                     cudnnConvolutionFwdAlgoPerf_t* found) {
  return List<cudnnConvolutionFwdAlgo_t>({*x, *y, *w, *convolution}, kForward, most, count, found);
}
cudnnStatus_t cudnnGetConvolutionForwardWorkspaceSize(cudnnHandle_t, cudnnTensorDescriptor_t x,
                                                      cudnnFilterDescriptor_t w,
                                                      cudnnConvolutionDescriptor_t convolution,
                                                      cudnnTensorDescriptor_t y,
                                                      cudnnConvolutionFwdAlgo_t algorithm,
                                                      size_t* bytes) {
  return Size<cudnnConvolutionFwdAlgo_t>({*x, *y, *w, *convolution}, kForward, algorithm, bytes);
}
cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t handle, const void* alpha,
                                      cudnnTensorDescriptor_t x_descriptor, const void* x,
                                      cudnnFilterDescriptor_t w_descriptor, const void* w,
                                      cudnnConvolutionDescriptor_t convolution,
                                      cudnnConvolutionFwdAlgo_t algorithm, void* workspace,
                                      size_t workspace_bytes, const void* beta,
                                      cudnnTensorDescriptor_t y_descriptor, void* y) {
  const Problem problem{*x_descriptor, *y_descriptor, *w_descriptor, *convolution};
  return Convolve<cudnnConvolutionFwdAlgo_t>(
      handle, problem, kForward, algorithm, alpha, beta, workspace, workspace_bytes, x, w, y,
      problem.y_elements(), [](const Problem& of, const auto& add) { of.ForEachProduct(add); });
}

cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithm_v7(
    cudnnHandle_t, cudnnFilterDescriptor_t w, cudnnTensorDescriptor_t dy,
    cudnnConvolutionDescriptor_t convolution, cudnnTensorDescriptor_t dx, int most, int* count,
    cudnnConvolutionBwdDataAlgoPerf_t* found) {
  return List<cudnnConvolutionBwdDataAlgo_t>({*dx, *dy, *w, *convolution}, kBackwardData, most,
                                             count, found);
}
cudnnStatus_t cudnnGetConvolutionBackwardDataWorkspaceSize(cudnnHandle_t, cudnnFilterDescriptor_t w,
                                                           cudnnTensorDescriptor_t dy,
                                                           cudnnConvolutionDescriptor_t convolution,
                                                           cudnnTensorDescriptor_t dx,
                                                           cudnnConvolutionBwdDataAlgo_t algorithm,
                                                           size_t* bytes) {
  return Size<cudnnConvolutionBwdDataAlgo_t>({*dx, *dy, *w, *convolution}, kBackwardData, algorithm,
                                             bytes);
}
cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t handle, const void* alpha,
                                           cudnnFilterDescriptor_t w_descriptor, const void* w,
                                           cudnnTensorDescriptor_t dy_descriptor, const void* dy,
                                           cudnnConvolutionDescriptor_t convolution,
                                           cudnnConvolutionBwdDataAlgo_t algorithm, void* workspace,
                                           size_t workspace_bytes, const void* beta,
                                           cudnnTensorDescriptor_t dx_descriptor, void* dx) {
  const Problem problem{*dx_descriptor, *dy_descriptor, *w_descriptor, *convolution};
  return Convolve<cudnnConvolutionBwdDataAlgo_t>(
      handle, problem, kBackwardData, algorithm, alpha, beta, workspace, workspace_bytes, dy, w, dx,
      problem.x_elements(), [](const Problem& of, const auto& add) {
        of.ForEachProduct([&](int64_t i, int64_t j, int64_t k) { add(k, j, i); });
      });
}

cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithm_v7(
    cudnnHandle_t, cudnnTensorDescriptor_t x, cudnnTensorDescriptor_t dy,
    cudnnConvolutionDescriptor_t convolution, cudnnFilterDescriptor_t dw, int most, int* count,
    cudnnConvolutionBwdFilterAlgoPerf_t* found) {
  return List<cudnnConvolutionBwdFilterAlgo_t>({*x, *dy, *dw, *convolution}, kBackwardFilter, most,
                                               count, found);
}
cudnnStatus_t cudnnGetConvolutionBackwardFilterWorkspaceSize(
    cudnnHandle_t, cudnnTensorDescriptor_t x, cudnnTensorDescriptor_t dy,
    cudnnConvolutionDescriptor_t convolution, cudnnFilterDescriptor_t dw,
    cudnnConvolutionBwdFilterAlgo_t algorithm, size_t* bytes) {
  return Size<cudnnConvolutionBwdFilterAlgo_t>({*x, *dy, *dw, *convolution}, kBackwardFilter,
                                               algorithm, bytes);
}
cudnnStatus_t cudnnConvolutionBackwardFilter(
    cudnnHandle_t handle, const void* alpha, cudnnTensorDescriptor_t x_descriptor, const void* x,
    cudnnTensorDescriptor_t dy_descriptor, const void* dy, cudnnConvolutionDescriptor_t convolution,
    cudnnConvolutionBwdFilterAlgo_t algorithm, void* workspace, size_t workspace_bytes,
    const void* beta, cudnnFilterDescriptor_t dw_descriptor, void* dw) {
  const Problem problem{*x_descriptor, *dy_descriptor, *dw_descriptor, *convolution};
  return Convolve<cudnnConvolutionBwdFilterAlgo_t>(
      handle, problem, kBackwardFilter, algorithm, alpha, beta, workspace, workspace_bytes, x, dy,
      dw, problem.w_elements(), [](const Problem& of, const auto& add) {
        of.ForEachProduct([&](int64_t i, int64_t j, int64_t k) { add(i, k, j); });
      });
}
