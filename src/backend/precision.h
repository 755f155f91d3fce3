// What a back end computes with.
#pragma once

#include <cstdint>
#include <string_view>

namespace syncbn::backend {

// Statistics, sums over rows and losses are double in all of them; parameters, their gradients and
// what optimizers keep float32.
//   kFloat32  all in float32 (the reference: in double)
//   kTf32     the factors of convolutions and matrix products are rounded to 10 bits of mantissa
//   and
//             their sums float32; all else as kFloat32
//   kBFloat16 activations, their gradients and the factors of products are BFloat16, the arithmetic
//             on them float32
enum class Precision : uint8_t { kFloat32, kTf32, kBFloat16 };

// As a run file has it: "float32", "tf32", "bf16".
std::string_view PrecisionName(Precision precision);

}  // namespace syncbn::backend
