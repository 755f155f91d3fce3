// Gathers the kernels of one instruction set.
#include "backend/cpu/kernels/kernel_table.h"
#include "backend/cpu/kernels/kernels.h"

namespace syncbn::backend::cpu::SYNCBN_ISA {

const KernelTable kTable = {
    .isa = kLanes == 16 ? Isa::kAvx512 : Isa::kAvx2,
    .moments = Moments,
    .column_sums = ColumnSums,
    .normalize = Normalize,
    .normalize_sums = NormalizeSums,
    .normalize_input = NormalizeInput,
    .relu = Relu,
    .sigmoid = Sigmoid,
    .tanh = Tanh,
    .relu_backward = ReluBackward,
    .sigmoid_backward = SigmoidBackward,
    .tanh_backward = TanhBackward,
    .gelu = Gelu,
    .silu = Silu,
    .gelu_backward = GeluBackward,
    .silu_backward = SiluBackward,
    .add = AddArrays,
    .scale = Scale,
    .combine = Combine,
    .dropout = Dropout,
    .tanh_of_sum = TanhOfSum,
    .lstm_cell = LstmCell,
    .lstm_state = LstmState,
    .lstm_state_backward = LstmStateBackward,
    .lstm_cell_backward = LstmCellBackward,
    .noise = Noise,
    .product = Product,
    .max_pool = MaxPool,
    .max_pool_backward = MaxPoolBackward,
    .winograd_input = WinogradInput,
    .winograd_gradient = WinogradGradient,
    .winograd_output = WinogradOutput,
    .winograd_weights = WinogradWeights,
    .winograd_weights_gradient = WinogradWeightsGradient,
    .winograd_multiply = WinogradMultiply,
    .winograd_multiply_outer = WinogradMultiplyOuter,
    .dot = Dot,
    .sgd = Sgd,
    .adamw = AdamW,
};

}  // namespace syncbn::backend::cpu::SYNCBN_ISA
