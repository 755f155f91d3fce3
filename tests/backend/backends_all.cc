#include "backend/checked/checked_backend.h"
#include "backend/cpu/cpu_backend.h"
#include "tests/backend/conformance.h"

namespace syncbn::backend {

std::vector<BackendCase> BackendsUnderTest() {
  std::vector<BackendCase> cases = {{"reference", [] { return MakeReferenceBackend(); }},
                                    {"cpu", [] { return MakeCpuBackend(); }},
                                    // On a device that is not the host.
                                    {"checked", [] { return MakeCheckedBackend(MakeCpuBackend); }}};
  // The row kernels that a machine with more does not choose.
  if (cpu::BestIsa() != cpu::Isa::kAvx2) {
    cases.push_back({"cpu_avx2", []() -> std::unique_ptr<Backend> {
                       return std::make_unique<cpu::CpuBackend>(cpu::Isa::kAvx2);
                     }});
  }
  return cases;
}

}  // namespace syncbn::backend
