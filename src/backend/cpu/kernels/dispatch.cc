#include "backend/cpu/kernels/kernel_table.h"

namespace syncbn::backend::cpu {

size_t ScratchBytes(int64_t channels) {
  // Of the kernels, normalize_input and normalize_sums need most: at most five arrays of float and
  // two of double over a wide row (grid.h), each with padding.
  constexpr int64_t kWidest = 1024;
  const int64_t width = channels > kWidest ? channels : kWidest;
  return static_cast<size_t>(width * (5 * 4 + 2 * 8) + 16 * 192);
}

const KernelTable& Kernels(Isa isa) {
  return isa == Isa::kAvx512 ? avx512::kTable : avx2::kTable;
}

}  // namespace syncbn::backend::cpu
