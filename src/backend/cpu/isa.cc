#include "backend/cpu/isa.h"

#include "base/error.h"

namespace syncbn::backend::cpu {

std::string_view IsaName(Isa isa) {
  return isa == Isa::kAvx512 ? "avx512" : "avx2";
}

bool IsaAvailable(Isa isa) {
  if (isa == Isa::kAvx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

Isa BestIsa() {
  if (IsaAvailable(Isa::kAvx512)) return Isa::kAvx512;
  if (IsaAvailable(Isa::kAvx2)) return Isa::kAvx2;
  throw Error(ErrorCode::kUnimplemented,
              "the CPU back end needs a processor with AVX2 and FMA (Intel since 2013, AMD since "
              "2017), and this one has neither");
}

}  // namespace syncbn::backend::cpu
