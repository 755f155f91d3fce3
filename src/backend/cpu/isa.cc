#include "backend/cpu/isa.h"

#include "base/error.h"
#include "base/unknown_value.h"

namespace syncbn::backend::cpu {

std::string_view IsaName(Isa isa) {
  switch (isa) {
    case Isa::kAvx2: return "avx2";
    case Isa::kAvx512: return "avx512";
  }
  ThrowUnknownValue("instruction set", static_cast<int>(isa));
}

bool IsaAvailable(Isa isa) {
  switch (isa) {
    case Isa::kAvx2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case Isa::kAvx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  }
  ThrowUnknownValue("instruction set", static_cast<int>(isa));
}

Isa BestIsa() {
  if (IsaAvailable(Isa::kAvx512)) return Isa::kAvx512;
  if (IsaAvailable(Isa::kAvx2)) return Isa::kAvx2;
  throw Error(ErrorCode::kUnimplemented,
              "the CPU back end needs a processor with AVX2 and FMA (Intel since 2013, AMD since "
              "2017), and this one has neither");
}

}  // namespace syncbn::backend::cpu
