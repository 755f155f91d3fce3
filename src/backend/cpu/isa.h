// The instruction set of this machine, as far as the row kernels care.
#pragma once

#include <string_view>

#include "backend/cpu/kernels/kernel_table.h"

namespace syncbn::backend::cpu {

// "avx2", "avx512"
std::string_view IsaName(Isa isa);
bool IsaAvailable(Isa isa);
// The best one. Throws UNIMPLEMENTED where there is none.
Isa BestIsa();

}  // namespace syncbn::backend::cpu
