// cuBLAS, emulated: include/cublas_v2.h.
#include <cublas_v2.h>

#include <type_traits>

#include "tests/emulation/library_work.h"

struct cublasContext {
  int device = 0;
  cudaStream_t stream = nullptr;
  void* workspace = nullptr;
};

namespace syncbn::emulation {
namespace {

// c [m, n] = op(a) [m, k] op(b) [k, n], column by column.
struct Product {
  bool transpose_a, transpose_b;
  int64_t m, n, k;
  const void* a;
  int64_t lda;
  const void* b;
  int64_t ldb;
  void* c;
  int64_t ldc;

  template <typename T, typename R, typename Sum>
  void Multiply(Rounding rounding) const {
    const T *const left = static_cast<const T*>(a), *const right = static_cast<const T*>(b);
    R* const to = static_cast<R*>(c);
    std::vector<Sum> column(static_cast<size_t>(m));
    for (int64_t j = 0; j < n; ++j) {
      std::ranges::fill(column, Sum{0});
      for (int64_t i = 0; i < k; ++i) {
        const Sum factor = rounding.Of(right[transpose_b ? i * ldb + j : j * ldb + i]);
        for (int64_t r = 0; r < m; ++r) {
          column[static_cast<size_t>(r)] +=
              static_cast<Sum>(rounding.Of(left[transpose_a ? r * lda + i : i * lda + r])) * factor;
        }
      }
      for (int64_t r = 0; r < m; ++r) {
        to[j * ldc + r] = R(static_cast<float>(column[static_cast<size_t>(r)]));
      }
    }
  }
};

}  // namespace
}  // namespace syncbn::emulation

using namespace syncbn::emulation;  // NOLINT: what follows has the names of another library
using syncbn::BFloat16;

const char* cublasGetStatusString(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_ALLOC_FAILED:
      return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
  }
  return "unknown";
}
cublasStatus_t cublasGetProperty(libraryPropertyType type, int* value) {
  *value = type == MAJOR_VERSION ? 13 : 0;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasCreate(cublasHandle_t* handle) {
  *handle = new cublasContext{.device = CurrentDevice()};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasDestroy(cublasHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream) {
  if (stream->device() != handle->device) return CUBLAS_STATUS_INVALID_VALUE;
  handle->stream = stream;
  handle->workspace = nullptr;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetWorkspace(cublasHandle_t handle, void* memory, size_t bytes) {
  if (reinterpret_cast<uintptr_t>(memory) % 256 != 0 || !IsInBlock(memory, bytes)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  handle->workspace = memory;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t mode) {
  return (mode & CUBLAS_TF32_TENSOR_OP_MATH) == 0 ? CUBLAS_STATUS_SUCCESS
                                                  : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasGemmEx_64(cublasHandle_t handle, cublasOperation_t of_a,
                               cublasOperation_t of_b, int64_t m, int64_t n, int64_t k,
                               const void* alpha, const void* a, cudaDataType a_type, int64_t lda,
                               const void* b, cudaDataType b_type, int64_t ldb, const void* beta,
                               void* c, cudaDataType c_type, int64_t ldc,
                               cublasComputeType_t arithmetic, cublasGemmAlgo_t) {
  const Product product{.transpose_a = of_a == CUBLAS_OP_T,
                        .transpose_b = of_b == CUBLAS_OP_T,
                        .m = m,
                        .n = n,
                        .k = k,
                        .a = a,
                        .lda = lda,
                        .b = b,
                        .ldb = ldb,
                        .c = c,
                        .ldc = ldc};
  if (m <= 0 || n <= 0 || k <= 0 || lda < (product.transpose_a ? k : m) ||
      ldb < (product.transpose_b ? n : k) || ldc < m) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  // Other factors are not emulated.
  if (*static_cast<const float*>(alpha) != 1 || *static_cast<const float*>(beta) != 0) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  const bool floats = a_type == CUDA_R_32F;
  if (a_type != b_type || (c_type != a_type && c_type != CUDA_R_32F) ||
      (!floats && arithmetic == CUBLAS_COMPUTE_32F_FAST_TF32)) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  if (handle->workspace == nullptr) SetFault("cuBLAS multiplies without a workspace of the handle");
  const auto give = [&](auto factor, auto result, auto sum, Rounding rounding) {
    GiveWork(handle->stream, [product, rounding] {
      product.Multiply<decltype(factor), decltype(result), decltype(sum)>(rounding);
    });
  };
  if (!floats && c_type == CUDA_R_16BF) {
    give(BFloat16(), BFloat16(), float(), {});
  } else if (!floats) {
    give(BFloat16(), float(), float(), {});
  } else if (arithmetic == CUBLAS_COMPUTE_32F_FAST_TF32) {
    give(float(), float(), float(), {.tf32 = true});
  } else {
    // In double, so that what tests compare with has the rounding of one.
    give(float(), float(), double(), {});
  }
  return CUBLAS_STATUS_SUCCESS;
}
