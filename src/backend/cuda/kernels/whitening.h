// Kernels of iterative normalization (WhiteningSpec). Blocks, matrices and iterates lie group by
// group, as the executor's tensors have them; the products are in double. T: float or BFloat16.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "backend/specs.h"

namespace syncbn::backend::cuda::kernels {

// -- Over the rows of x (whitening_rows.cu) -------------------------------------------------------

// Rows are added up in pieces of a length that depends on their number alone.
int64_t RowPieces(int64_t rows);

// moments: of each group [count, mean[d], upper triangle of the co-moments]. scratch: RowPieces + 1
// times as much.
template <typename T>
void CoMoments(cudaStream_t stream, const WhiteningSpec& spec, const T* x, int64_t rows,
               double* scratch, double* moments);
// sums: of each group [sum of g, [d]; sum of g (x - mean)^T, [d, d]], g = dxhat. scratch: RowPieces
// times as much.
template <typename T>
void WhitenSums(cudaStream_t stream, const WhiteningSpec& spec, const T* x, const double* mean,
                const T* dxhat, int64_t rows, double* scratch, double* sums);

// One term of a sum: (x - shift) matrix, x [rows, channels]; shift [channels]; of each group a
// matrix [d, d].
template <typename T>
struct RowsTerm {
  const T* x = nullptr;
  const double* shift = nullptr;
  const double* matrices = nullptr;
};
// y = the sum of one or two terms. y is none of their x.
template <typename T>
void WhitenRows(cudaStream_t stream, const WhiteningSpec& spec, const RowsTerm<T>* terms, int count,
                int64_t rows, T* y);

// -- On matrices of groups (whitening_newton.cu, whitening_backward.cu) ---------------------------

// Elements of Whitening::newton: of each group [count, trace, Y_0, Z_0, Y_1 .. Z_iterations].
int64_t NewtonElements(const WhiteningSpec& spec);

// `mean`, `matrix` and `newton` are those of a Whitening; scratch: spec.matrix_elements().
struct NewtonArguments {
  double* mean = nullptr;
  double* matrix = nullptr;
  double* newton = nullptr;
  double* scratch = nullptr;
};
void WhitenByMoments(cudaStream_t stream, const WhiteningSpec& spec, const double* moments,
                     const NewtonArguments& to);
void WhitenByRunning(cudaStream_t stream, const WhiteningSpec& spec, const double* running,
                     const NewtonArguments& to);

// Doubles that WhitenBackward needs.
int64_t WhitenBackwardScratch(const WhiteningSpec& spec);
// From the sums of the batch: mean_gradient [channels], the means of dxhat, and slopes, of each
// group the matrix 2 / n D with D the gradient of its covariance.
void WhitenBackward(cudaStream_t stream, const WhiteningSpec& spec, const double* newton,
                    const double* sums, double* mean_gradient, double* slopes, double* scratch);

}  // namespace syncbn::backend::cuda::kernels
