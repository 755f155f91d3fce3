// cuDNN and cuBLAS.
//
// Of cuDNN the convolution interface of version 7, which versions 8 and 9 keep: PyTorch used it
// with channels-last float32 for years, and its heuristics list for every algorithm whether it is
// deterministic, which is what a choice by rule needs. (In the emulation:
// tests/emulation/cudnn.cc.)
#include <cublas_v2.h>
#include <cudnn.h>

#include <algorithm>
#include <array>
#include <map>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "backend/cuda/convolution_limits.h"
#include "backend/cuda/libraries.h"
#include "base/error.h"

namespace syncbn::backend::cuda {
namespace {

// What an algorithm may want at most that others can stand in for. Constant: a limit by what is
// free would let two replicas choose differently.
constexpr size_t kWorkspaceLimit = size_t{256} << 20;

cudnnDataType_t DnnType(DType type) {
  return type == DType::kBFloat16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
}
cudaDataType BlasType(DType type) {
  return type == DType::kBFloat16 ? CUDA_R_16BF : CUDA_R_32F;
}

void CheckDnn(cudnnStatus_t status, int device, const std::string& what) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  const bool memory = status == CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED ||
                      status == CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED;
  char last[512] = "";
  cudnnGetLastErrorString(last, sizeof last);
  throw Error(memory ? ErrorCode::kResourceExhausted : ErrorCode::kInternal,
              DeviceName(device) + ": cuDNN: " + what + ": " + cudnnGetErrorString(status) +
                  (*last == '\0' ? "" : " (" + std::string(last) + ")"));
}
// By this algorithm, whoever asks. What this installation lacks is an error: another one would
// compute with another algorithm, and other bits.
bool IsNotSupported(cudnnStatus_t status) {
  switch (status) {
    case CUDNN_STATUS_NOT_SUPPORTED_INCOMPATIBLE_CUDA_DRIVER:
    case CUDNN_STATUS_NOT_SUPPORTED_INCOMPATIBLE_CUDART:
    case CUDNN_STATUS_NOT_SUPPORTED_RUNTIME_PREREQUISITE_MISSING:
    case CUDNN_STATUS_NOT_SUPPORTED_SUBLIBRARY_UNAVAILABLE:
      return false;
    default:
      return CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_NOT_SUPPORTED;
  }
}
// `what()` is the text for a message.
template <typename What>
void CheckBlas(cublasStatus_t status, int device, const What& what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Error(
      status == CUBLAS_STATUS_ALLOC_FAILED ? ErrorCode::kResourceExhausted : ErrorCode::kInternal,
      DeviceName(device) + ": cuBLAS: " + what() + ": " + cublasGetStatusString(status));
}
void CheckBlas(cublasStatus_t status, int device, const char* what) {
  CheckBlas(status, device, [&] { return std::string(what); });
}

// How a direction's algorithms are found: list(most, count, found) gives those of cuDNN's
// heuristics, size(algorithm, bytes) an algorithm's workspace; `always` are there for every
// convolution and deterministic, as cuDNN's documentation has it, should the list have none.
template <typename Performance, typename List, typename Size>
struct Choice {
  std::span<const decltype(Performance::algo)> always;
  List list;
  Size size;
};
template <typename Performance, typename List, typename Size>
Choice<Performance, List, Size> MakeChoice(std::span<const decltype(Performance::algo)> always,
                                           const List& list, const Size& size) {
  return {always, list, size};
}

// Descriptors of one convolution of one shape.
class Plan {
 public:
  // exact: float32 as it is, not as TF32.
  Plan(const Conv2dSpec& spec, const Shape& x, DType type, bool exact, int device)
      : name_(ConvolutionName(spec, x) + " " + std::string(DTypeName(type))),
        exact_(exact),
        device_(device) {
    CheckFitsCudnn(spec, x);
    Check(cudnnCreateTensorDescriptor(&x_));
    Check(cudnnCreateTensorDescriptor(&y_));
    Check(cudnnCreateFilterDescriptor(&filter_));
    Check(cudnnCreateConvolutionDescriptor(&convolution_));
    // They fit: CheckFitsCudnn.
    const auto narrow = [](int64_t value) { return static_cast<int>(value); };
    const auto set = [&](cudnnTensorDescriptor_t descriptor, const Shape& shape) {
      Check(cudnnSetTensor4dDescriptor(descriptor, CUDNN_TENSOR_NHWC, DnnType(type),
                                       narrow(shape[0]), narrow(shape[3]), narrow(shape[1]),
                                       narrow(shape[2])));
    };
    set(x_, x);
    set(y_, spec.OutputShape(x));
    Check(cudnnSetFilter4dDescriptor(
        filter_, DnnType(type), CUDNN_TENSOR_NHWC, narrow(spec.out_channels),
        narrow(spec.in_channels / spec.groups), narrow(spec.kernel_h), narrow(spec.kernel_w)));
    Check(cudnnSetConvolution2dDescriptor(convolution_, narrow(spec.pad_h), narrow(spec.pad_w),
                                          narrow(spec.stride_h), narrow(spec.stride_w), 1, 1,
                                          CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT));  // sums
    Check(cudnnSetConvolutionGroupCount(convolution_, narrow(spec.groups)));
  }
  ~Plan() {
    cudnnDestroyConvolutionDescriptor(convolution_);
    cudnnDestroyFilterDescriptor(filter_);
    cudnnDestroyTensorDescriptor(y_);
    cudnnDestroyTensorDescriptor(x_);
  }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  // Runs run(algorithm) with the first algorithm that is deterministic, computes no coarser than
  // was asked for, and that cuDNN then really has for this shape: the list is advice. Those that
  // there always are come last and with whatever memory they want, which the shape alone says.
  template <typename Performance, typename List, typename Size, typename Run>
  void With(std::vector<Performance>& algorithms, const Choice<Performance, List, Size>& choice,
            const Run& run) {
    if (algorithms.empty()) algorithms = Admissible(choice);
    while (!algorithms.empty()) {
      Check(cudnnSetConvolutionMathType(convolution_, algorithms.front().mathType));
      const cudnnStatus_t status = run(algorithms.front());
      if (!IsNotSupported(status)) return Check(status);
      algorithms.erase(algorithms.begin());
    }
    throw Error(ErrorCode::kUnimplemented,
                DeviceName(device_) + ": cuDNN has no deterministic algorithm for " + name_);
  }
  void Check(cudnnStatus_t status) const { CheckDnn(status, device_, name_); }

  cudnnTensorDescriptor_t x_ = nullptr, y_ = nullptr;
  cudnnFilterDescriptor_t filter_ = nullptr;
  cudnnConvolutionDescriptor_t convolution_ = nullptr;
  // What is left to be tried, the best first; empty: not asked yet.
  std::vector<cudnnConvolutionFwdAlgoPerf_t> forward_;
  std::vector<cudnnConvolutionBwdDataAlgoPerf_t> backward_input_;
  std::vector<cudnnConvolutionBwdFilterAlgoPerf_t> backward_filter_;

 private:
  template <typename Performance, typename List, typename Size>
  std::vector<Performance> Admissible(const Choice<Performance, List, Size>& choice) const {
    // What the heuristics are asked for. cuDNN's default is TF32 for float32, where the GPU has it.
    Check(
        cudnnSetConvolutionMathType(convolution_, exact_ ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH));
    std::vector<Performance> found(16);
    int count = 0;
    const cudnnStatus_t listed = choice.list(static_cast<int>(found.size()), &count, found.data());
    if (!IsNotSupported(listed)) Check(listed);
    found.resize(static_cast<size_t>(count));
    const size_t listed_ones = found.size();
    for (const auto algorithm : choice.always) {
      Performance one{};
      one.algo = algorithm;
      one.determinism = CUDNN_DETERMINISTIC;
      one.mathType = CUDNN_DEFAULT_MATH;
      found.push_back(one);
    }
    std::vector<Performance> admissible;
    for (size_t i = 0; i < found.size(); ++i) {
      Performance& candidate = found[i];
      // With conversion float32 may become half.
      if (candidate.status != CUDNN_STATUS_SUCCESS ||
          candidate.determinism != CUDNN_DETERMINISTIC ||
          (!exact_ && candidate.mathType == CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION)) {
        continue;
      }
      // The list is of CUDNN_TENSOR_OP_MATH and CUDNN_DEFAULT_MATH, whatever the descriptor says
      // (cuDNN's documentation): what an algorithm computes with, and so what memory it needs, is
      // decided by the descriptor when it runs.
      if (exact_) candidate.mathType = CUDNN_FMA_MATH;
      const auto is_same = [&](const Performance& one) {
        return one.algo == candidate.algo && one.mathType == candidate.mathType;
      };
      if (std::ranges::any_of(admissible, is_same)) continue;
      Check(cudnnSetConvolutionMathType(convolution_, candidate.mathType));
      const cudnnStatus_t sized = choice.size(candidate.algo, &candidate.memory);
      if (IsNotSupported(sized)) continue;
      Check(sized);
      if (i >= listed_ones || candidate.memory <= kWorkspaceLimit) admissible.push_back(candidate);
    }
    return admissible;
  }

  const std::string name_;
  const bool exact_;
  const int device_;
};

class NvidiaLibraries final : public Libraries {
 public:
  NvidiaLibraries(StreamCore& stream, Precision precision)
      : stream_(stream), tf32_(precision == Precision::kTf32), device_(stream.handle().device()) {
    stream_.handle().MakeCurrent();
    CheckDnn(cudnnCreate(&dnn_), device_, "cudnnCreate");
    CheckDnn(cudnnSetStream(dnn_, stream_.handle().get()), device_, "cudnnSetStream");
    CheckBlas(cublasCreate(&blas_), device_, "cublasCreate");
    CheckBlas(cublasSetStream(blas_, stream_.handle().get()), device_, "cublasSetStream");
    // Sums are in float32 to their end also where they are divided over blocks.
    constexpr auto kFloatSums = static_cast<cublasMath_t>(
        CUBLAS_DEFAULT_MATH | CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION);
    CheckBlas(cublasSetMathMode(blas_, kFloatSums), device_, "cublasSetMathMode");
  }
  ~NvidiaLibraries() override {
    cudaSetDevice(device_);
    cudnnDestroy(dnn_);
    cublasDestroy(blas_);
  }

  void ConvolutionForward(const Conv2dSpec& spec, const Shape& x_shape, Factor x, Factor filter,
                          Result y) override {
    using Algorithm = cudnnConvolutionFwdAlgoPerf_t;
    Plan& plan = PlanOf(spec, x_shape, x.type);
    static constexpr cudnnConvolutionFwdAlgo_t kAlways[] = {
        CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM};
    const auto choice = MakeChoice<Algorithm>(
        kAlways,
        [&](int most, int* count, Algorithm* found) {
          return cudnnGetConvolutionForwardAlgorithm_v7(
              dnn_, plan.x_, plan.filter_, plan.convolution_, plan.y_, most, count, found);
        },
        [&](cudnnConvolutionFwdAlgo_t algorithm, size_t* bytes) {
          return cudnnGetConvolutionForwardWorkspaceSize(
              dnn_, plan.x_, plan.filter_, plan.convolution_, plan.y_, algorithm, bytes);
        });
    plan.With(plan.forward_, choice, [&](const Algorithm& algorithm) {
      const Tensor workspace = Workspace(algorithm.memory);
      return cudnnConvolutionForward(
          dnn_, &kOne, plan.x_, x.elements, plan.filter_, filter.elements, plan.convolution_,
          algorithm.algo, Address(workspace), algorithm.memory, &kZero, plan.y_, y.elements);
    });
  }
  void ConvolutionBackwardInput(const Conv2dSpec& spec, const Shape& x_shape, Factor dy,
                                Factor filter, Result dx) override {
    using Algorithm = cudnnConvolutionBwdDataAlgoPerf_t;
    Plan& plan = PlanOf(spec, x_shape, dy.type);
    static constexpr cudnnConvolutionBwdDataAlgo_t kAlways[] = {CUDNN_CONVOLUTION_BWD_DATA_ALGO_1};
    const auto choice = MakeChoice<Algorithm>(
        kAlways,
        [&](int most, int* count, Algorithm* found) {
          return cudnnGetConvolutionBackwardDataAlgorithm_v7(
              dnn_, plan.filter_, plan.y_, plan.convolution_, plan.x_, most, count, found);
        },
        [&](cudnnConvolutionBwdDataAlgo_t algorithm, size_t* bytes) {
          return cudnnGetConvolutionBackwardDataWorkspaceSize(
              dnn_, plan.filter_, plan.y_, plan.convolution_, plan.x_, algorithm, bytes);
        });
    plan.With(plan.backward_input_, choice, [&](const Algorithm& algorithm) {
      const Tensor workspace = Workspace(algorithm.memory);
      return cudnnConvolutionBackwardData(
          dnn_, &kOne, plan.filter_, filter.elements, plan.y_, dy.elements, plan.convolution_,
          algorithm.algo, Address(workspace), algorithm.memory, &kZero, plan.x_, dx.elements);
    });
  }
  void ConvolutionBackwardFilter(const Conv2dSpec& spec, const Shape& x_shape, Factor x, Factor dy,
                                 Result dfilter) override {
    using Algorithm = cudnnConvolutionBwdFilterAlgoPerf_t;
    Plan& plan = PlanOf(spec, x_shape, x.type);
    static constexpr cudnnConvolutionBwdFilterAlgo_t kAlways[] = {
        CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1};
    const auto choice = MakeChoice<Algorithm>(
        kAlways,
        [&](int most, int* count, Algorithm* found) {
          return cudnnGetConvolutionBackwardFilterAlgorithm_v7(
              dnn_, plan.x_, plan.y_, plan.convolution_, plan.filter_, most, count, found);
        },
        [&](cudnnConvolutionBwdFilterAlgo_t algorithm, size_t* bytes) {
          return cudnnGetConvolutionBackwardFilterWorkspaceSize(
              dnn_, plan.x_, plan.y_, plan.convolution_, plan.filter_, algorithm, bytes);
        });
    plan.With(plan.backward_filter_, choice, [&](const Algorithm& algorithm) {
      const Tensor workspace = Workspace(algorithm.memory);
      return cudnnConvolutionBackwardFilter(
          dnn_, &kOne, plan.x_, x.elements, plan.y_, dy.elements, plan.convolution_, algorithm.algo,
          Address(workspace), algorithm.memory, &kZero, plan.filter_, dfilter.elements);
    });
  }

  // cuBLAS has matrices column by column, in which a row-major matrix is its own transpose: c^T =
  // b^T a^T.
  void Multiply(const MatrixProduct& p) override {
    stream_.handle().MakeCurrent();
    MakeBlasWorkspace();
    const cublasOperation_t of_b = p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t of_a = p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasComputeType_t arithmetic = p.a.type == DType::kBFloat16 ? CUBLAS_COMPUTE_32F
                                           : tf32_
                                               ? CUBLAS_COMPUTE_32F_FAST_TF32
                                               : CUBLAS_COMPUTE_32F_PEDANTIC;  // float32 as it is
    CheckBlas(
        cublasGemmEx_64(blas_, of_b, of_a, p.columns, p.rows, p.depth, &kOne, p.b.elements,
                        BlasType(p.b.type), p.transpose_b ? p.depth : p.columns, p.a.elements,
                        BlasType(p.a.type), p.transpose_a ? p.rows : p.depth, &kZero, p.c.elements,
                        BlasType(p.c.type), p.columns, arithmetic, CUBLAS_GEMM_DEFAULT),
        device_, [&] {
          return "product of matrices " + std::to_string(p.rows) + " x " + std::to_string(p.depth) +
                 " x " + std::to_string(p.columns);
        });
  }

 private:
  static constexpr float kOne = 1, kZero = 0;

  Plan& PlanOf(const Conv2dSpec& spec, const Shape& x, DType type) {
    stream_.handle().MakeCurrent();
    const Key key{spec.in_channels,
                  spec.out_channels,
                  spec.kernel_h,
                  spec.kernel_w,
                  spec.stride_h,
                  spec.stride_w,
                  spec.pad_h,
                  spec.pad_w,
                  spec.groups,
                  x[0],
                  x[1],
                  x[2],
                  static_cast<int64_t>(type)};
    std::unique_ptr<Plan>& plan = plans_[key];
    if (plan == nullptr)
      plan = std::make_unique<Plan>(spec, x, type, type == DType::kFloat32 && !tf32_, device_);
    return *plan;
  }
  // Of its own: with cuBLAS's, which several streams may share, results of a product may differ
  // from call to call. For the first product.
  void MakeBlasWorkspace() {
    if (blas_workspace_.defined()) return;
    constexpr int64_t kBytes = int64_t{32} << 20;
    blas_workspace_ = stream_.New({kBytes}, DType::kUint8);
    CheckBlas(cublasSetWorkspace(blas_, stream_.AnyAddress(blas_workspace_), kBytes), device_,
              "cublasSetWorkspace");
  }
  Tensor Workspace(size_t bytes) {
    return bytes == 0 ? Tensor() : stream_.New({static_cast<int64_t>(bytes)}, DType::kUint8);
  }
  void* Address(const Tensor& workspace) {
    return workspace.defined() ? stream_.AnyAddress(workspace) : nullptr;
  }

  using Key = std::array<int64_t, 13>;

  StreamCore& stream_;
  const bool tf32_;
  const int device_;
  cudnnHandle_t dnn_ = nullptr;
  cublasHandle_t blas_ = nullptr;
  Tensor blas_workspace_;
  std::map<Key, std::unique_ptr<Plan>> plans_;
};

}  // namespace

std::unique_ptr<Libraries> MakeLibraries(StreamCore& stream, Precision precision) {
  return std::make_unique<NvidiaLibraries>(stream, precision);
}

std::vector<std::pair<std::string, std::string>> LibraryVersions() {
  const auto dotted = [](int major, int minor, int patch) {
    return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
  };
  const auto dnn = static_cast<int>(cudnnGetVersion());
  int major = 0, minor = 0, patch = 0;
  cublasGetProperty(MAJOR_VERSION, &major);
  cublasGetProperty(MINOR_VERSION, &minor);
  cublasGetProperty(PATCH_LEVEL, &patch);
  return {{"cuDNN", dotted(dnn / 10000, dnn % 10000 / 100, dnn % 100)},
          {"cuBLAS", dotted(major, minor, patch)}};
}

}  // namespace syncbn::backend::cuda
