// The kernels of one instruction set, which table.cc puts into its KernelTable; contracts are
// there.
#pragma once

#include "backend/cpu/kernels/kernel_table.h"
#include "backend/cpu/kernels/simd.h"

namespace syncbn::backend::cpu::SYNCBN_ISA {

void Moments(const Segments& layout, const float* x, double* mean, double* m2, int64_t stride,
             void* scratch);
void ColumnSums(const Segments& layout, const float* x, double* sums, void* scratch);
void Normalize(const NormalizeArgs& args, const float* residual, float* y, void* scratch);
void NormalizeSums(const NormalizeArgs& args, const float* y, const float* dy, double* sum_dy,
                   double* sum_dy_xhat, void* scratch);
void NormalizeInput(const NormalizeArgs& args, const NormalizeInputArgs& gradients, void* scratch);

void Relu(const float* x, float* y, int64_t count);
void Sigmoid(const float* x, float* y, int64_t count);
void Tanh(const float* x, float* y, int64_t count);
void ReluBackward(const float* y, const float* dy, float* dx, int64_t count);
void SigmoidBackward(const float* y, const float* dy, float* dx, int64_t count);
void TanhBackward(const float* y, const float* dy, float* dx, int64_t count);
void Gelu(const float* x, float* y, int64_t count);
void Silu(const float* x, float* y, int64_t count);
void GeluBackward(const float* x, const float* dy, float* dx, int64_t count);
void SiluBackward(const float* x, const float* dy, float* dx, int64_t count);
void AddArrays(const float* a, const float* b, float* sum, int64_t count);
void Scale(const float* x, float factor, float* out, int64_t count);
void Combine(double a, const float* x, double b, const float* y, float* out, bool accumulate,
             int64_t count);
void Dropout(uint64_t key, uint64_t threshold, float scale, const float* x, float* y,
             int64_t count);

void TanhOfSum(const float* a, const float* b, float* state, int64_t count);
void LstmCell(const LstmShape& shape, const float* a, const float* b, const float* before,
              float* gates, float* cell);
void LstmState(const LstmShape& shape, const float* gates, const float* u, float* tanh_u,
               float* state);
void LstmStateBackward(const LstmShape& shape, const float* gates, const float* tanh_u,
                       const float* dstate, float* du);
void LstmCellBackward(const LstmShape& shape, const LstmCellGradients& gradients);
void Noise(const NoiseArgs& args, const float* x, float* y, int64_t count);
void Product(const ProductArgs& args);

void MaxPool(const MaxPoolArgs& args, const float* x, float* y, uint8_t* positions);
void MaxPoolBackward(const MaxPoolArgs& args, const float* dy, const uint8_t* positions, float* dx);

inline constexpr int64_t kWinogradPanel = 2 * kLanes;
void WinogradInput(const WinogradTiles& tiles, int64_t begin, int64_t count, int64_t channels,
                   const float* x, const WinogradMatrices& v);
void WinogradGradient(const WinogradTiles& tiles, int64_t begin, int64_t count, int64_t channels,
                      const float* dy, const WinogradMatrices& d);
void WinogradOutput(const WinogradTiles& tiles, int64_t begin, int64_t count, int64_t channels,
                    const WinogradMatrices& m, const float* bias, float* y);
void WinogradWeights(const WinogradTile& tile, int64_t out_channels, int64_t in_channels,
                     bool backward, const float* weight, float* packed);
void WinogradWeightsGradient(const WinogradTile& tile, int64_t out_channels, int64_t in_channels,
                             const WinogradMatrices& sums, float* dweight, bool accumulate);
void WinogradMultiply(const WinogradProduct& product);
void WinogradMultiplyOuter(const WinogradOuterProduct& product);

double Dot(const float* x, const float* y, int64_t count);
void Sgd(const SgdArgs& args, const float* gradient, float* velocity, float* weight, int64_t count);
void AdamW(const AdamWArgs& args, const float* gradient, float* mean, float* square, float* weight,
           int64_t count);

}  // namespace syncbn::backend::cpu::SYNCBN_ISA
