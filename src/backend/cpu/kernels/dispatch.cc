#include "backend/cpu/kernels/kernel_table.h"
#include "base/unknown_value.h"

namespace syncbn::backend::cpu {

size_t ScratchBytes(int64_t channels) {
  // Of the kernels, normalize_sums needs most: five arrays of float and two of double over a wide
  // row (grid.h), each with padding.
  constexpr int64_t kWidest = 1024;
  const int64_t width = channels > kWidest ? channels : kWidest;
  return static_cast<size_t>(width * (5 * 4 + 2 * 8) + 16 * 192);
}

const KernelTable& Kernels(Isa isa) {
  switch (isa) {
    case Isa::kAvx2: return avx2::kTable;
    case Isa::kAvx512: return avx512::kTable;
  }
  ThrowUnknownValue("instruction set", static_cast<int>(isa));
}

}  // namespace syncbn::backend::cpu
