// Element types of tensors.
#pragma once

#include <cstdint>
#include <cstddef>
#include <ostream>
#include <string_view>

#include "tensor/bfloat16.h"

namespace syncbn {

enum class DType { kFloat32, kFloat64, kInt32, kInt64, kUint8, kBFloat16 };

size_t SizeOf(DType dtype);
// As safetensors spells them: F32, F64, I32, I64, U8, BF16.
std::string_view DTypeName(DType dtype);
std::ostream& operator<<(std::ostream& out, DType dtype);

template <typename T>
struct DTypeOf;
template <> struct DTypeOf<float> { static constexpr DType kValue = DType::kFloat32; };
template <> struct DTypeOf<double> { static constexpr DType kValue = DType::kFloat64; };
template <> struct DTypeOf<int32_t> { static constexpr DType kValue = DType::kInt32; };
template <> struct DTypeOf<int64_t> { static constexpr DType kValue = DType::kInt64; };
template <> struct DTypeOf<uint8_t> { static constexpr DType kValue = DType::kUint8; };
template <>
struct DTypeOf<BFloat16> {
  static constexpr DType kValue = DType::kBFloat16;
};

}  // namespace syncbn
