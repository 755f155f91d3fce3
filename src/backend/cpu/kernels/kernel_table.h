// The row kernels: everything that is rows x channels in float32, as plain functions on plain
// memory.
//
// Each kernel exists once for each instruction set, behind the pointers of one KernelTable;
// Kernels() picks. Kernels are pure: what they write depends only on the values of their arguments,
// never on addresses, alignment or the calling thread. Outputs may be the same memory as an input
// of the same shape (elementwise kernels), but may not overlap otherwise. `scratch` is memory of
// the calling thread of at least ScratchBytes(channels), aligned to 64 bytes; its contents do not
// matter.
//
// This header is included by sources compiled for more than the machine may have: plain data only.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/cpu/kernels/winograd.h"

namespace syncbn::backend::cpu {

// `segments` matrices of rows x channels, one behind the other.
struct Segments {
  int64_t segments;
  int64_t rows;
  int64_t channels;
  // Every row is a sample of features, not a pixel: sums over up to 64 rows are made in double.
  bool features = false;
};

// See backend::Normalization; pointers may be null where Executor allows undefined tensors.
struct NormalizeArgs {
  Segments layout;
  const double* mean;     // [segments, channels]
  const double* inv_std;  // [segments, channels]
  const float* gamma;     // [channels]
  const float* beta;      // [channels]
  bool relu;
  const float* x;
};

struct NormalizeInputArgs {
  const float* y;
  const float* dy;
  const double* a;  // [segments, channels]; null together with b
  const double* b;
  float* dx;
  float* dresidual;
};

// Of one sample; element j is of channel j % channels.
struct NoiseArgs {
  uint64_t keys[3];    // of the words of m, and of both of s
  const float* mu;     // [channels]
  const float* sigma;  // [channels]
  int64_t channels;
  float spread;
  bool shifted;
};

struct MaxPoolArgs {
  int64_t images, height, width, channels;
  int64_t out_height, out_width;
  int64_t kernel, stride, pad;
};

// Gates are [samples, 4 hidden], i, f, g and o side by side; all else is [samples, hidden].
struct LstmShape {
  int64_t samples, hidden;
};

struct LstmCellGradients {
  const float* gates;
  const float* before;
  const float* tanh_u;
  const float* dstate;
  const float* dcell;
  float* dsum;  // of the gates
  float* dbefore;
};

// g = gradient_scale * gradient + decay * w;  v = momentum * v + g;
// w = keep * w - learning_rate * (nesterov ? g + momentum * v : v)
struct SgdArgs {
  float learning_rate, momentum, decay, keep, gradient_scale;
  bool nesterov;
};

// g = gradient_scale * gradient;  m = beta1 * m + rest1 * g;  s = beta2 * s + rest2 * g^2;
// w = keep * w - step_size * m / (root_scale * sqrt(s) + epsilon)
struct AdamWArgs {
  float beta1, rest1, beta2, rest2, step_size, root_scale, epsilon, keep, gradient_scale;
};

// Matrices of double: c [rows, columns] += a b, b [depth, columns], element (i, k) of a at
// i a_row + k a_depth.
struct ProductArgs {
  const double* a;
  int64_t a_row, a_depth;
  const double* b;
  double* c;
  int64_t rows, depth, columns;
};

struct KernelTable {
  Isa isa;

  // Mean and M2 of each segment and channel; those of the next segment lie `stride` elements further.
  // Precondition: layout.rows > 0.
  void (*moments)(const Segments& layout, const float* x, double* mean, double* m2, int64_t stride,
                  void* scratch);
  // sums [segments, channels]
  void (*column_sums)(const Segments& layout, const float* x, double* sums, void* scratch);
  // residual may be null
  void (*normalize)(const NormalizeArgs& args, const float* residual, float* y, void* scratch);
  // y may be null: then the sign is computed again (no residual)
  void (*normalize_sums)(const NormalizeArgs& args, const float* y, const float* dy, double* sum_dy,
                         double* sum_dy_xhat, void* scratch);
  void (*normalize_input)(const NormalizeArgs& args, const NormalizeInputArgs& gradients,
                          void* scratch);

  void (*relu)(const float* x, float* y, int64_t count);
  void (*sigmoid)(const float* x, float* y, int64_t count);
  void (*tanh)(const float* x, float* y, int64_t count);
  void (*relu_backward)(const float* y, const float* dy, float* dx, int64_t count);
  void (*sigmoid_backward)(const float* y, const float* dy, float* dx, int64_t count);
  void (*tanh_backward)(const float* y, const float* dy, float* dx, int64_t count);
  // From the input x.
  void (*gelu)(const float* x, float* y, int64_t count);
  void (*silu)(const float* x, float* y, int64_t count);
  void (*gelu_backward)(const float* x, const float* dy, float* dx, int64_t count);
  void (*silu_backward)(const float* x, const float* dy, float* dx, int64_t count);
  void (*add)(const float* a, const float* b, float* sum, int64_t count);
  // out = factor * x
  void (*scale)(const float* x, float factor, float* out, int64_t count);
  // out = a * x + b * y, or out += a * x + b * y; the combination is made in double
  void (*combine)(double a, const float* x, double b, const float* y, float* out, bool accumulate,
                  int64_t count);
  // y = x * scale where the Philox word of the element is at least threshold, else x * 0.
  void (*dropout)(uint64_t key, uint64_t threshold, float scale, const float* x, float* y,
                  int64_t count);

  // See backend::Executor, of the recurrent layers. state = tanh(a + b)
  void (*tanh_of_sum)(const float* a, const float* b, float* state, int64_t count);
  void (*lstm_cell)(const LstmShape& shape, const float* a, const float* b, const float* before,
                    float* gates, float* cell);
  void (*lstm_state)(const LstmShape& shape, const float* gates, const float* u, float* tanh_u,
                     float* state);
  void (*lstm_state_backward)(const LstmShape& shape, const float* gates, const float* tanh_u,
                              const float* dstate, float* du);
  void (*lstm_cell_backward)(const LstmShape& shape, const LstmCellGradients& gradients);
  // y = s x + m, or s x without `shifted`, of one sample: see backend::NoiseSpec.
  void (*noise)(const NoiseArgs& args, const float* x, float* y, int64_t count);
  // c += a b
  void (*product)(const ProductArgs& args);

  // Positions are the number of the tap inside the window; first of equals, NaN wins.
  void (*max_pool)(const MaxPoolArgs& args, const float* x, float* y, uint8_t* positions);
  void (*max_pool_backward)(const MaxPoolArgs& args, const float* dy, const uint8_t* positions,
                            float* dx);

  // Convolutions in Winograd's domain (winograd.h). Of `count` tiles from `begin` on: those of the
  // inputs x to v, B' d B; those of the gradient of the outputs to d, A y A'; and from m to the
  // outputs y, A' m A + bias, where bias may be null.
  void (*winograd_input)(const WinogradTiles& tiles, int64_t begin, int64_t count, int64_t channels,
                         const float* x, const WinogradMatrices& v);
  void (*winograd_gradient)(const WinogradTiles& tiles, int64_t begin, int64_t count,
                            int64_t channels, const float* dy, const WinogradMatrices& d);
  void (*winograd_output)(const WinogradTiles& tiles, int64_t begin, int64_t count,
                          int64_t channels, const WinogradMatrices& m, const float* bias, float* y);
  // G g G' of weights [out, in, 3, 3], computed in double, as winograd_multiply wants them: of each
  // position panels of columns one behind the other, each depth x WinogradPanel(isa), filled up
  // with 0. The depth is that of the inputs; `backward`, of a convolution of dy that gives dx, the
  // outputs.
  void (*winograd_weights)(const WinogradTile& tile, int64_t out_channels, int64_t in_channels,
                           bool backward, const float* weight, float* packed);
  // dweight [out, in, 3, 3] = or += G' s G of sums [in, out], computed in double.
  void (*winograd_weights_gradient)(const WinogradTile& tile, int64_t out_channels,
                                    int64_t in_channels, const WinogradMatrices& sums,
                                    float* dweight, bool accumulate);
  void (*winograd_multiply)(const WinogradProduct& product);
  void (*winograd_multiply_outer)(const WinogradOuterProduct& product);

  // In double, in blocks of the array's own order.
  double (*dot)(const float* x, const float* y, int64_t count);
  // velocity may be null
  void (*sgd)(const SgdArgs& args, const float* gradient, float* velocity, float* weight,
              int64_t count);
  void (*adamw)(const AdamWArgs& args, const float* gradient, float* mean, float* square,
                float* weight, int64_t count);
};

size_t ScratchBytes(int64_t channels);
const KernelTable& Kernels(Isa isa);

// One window has at most this many taps (positions are bytes).
inline constexpr int64_t kMaxPoolTaps = 255;

namespace avx2 {
extern const KernelTable kTable;
}
namespace avx512 {
extern const KernelTable kTable;
}

}  // namespace syncbn::backend::cpu
