#include "backend/cpu/cpu_backend.h"

#include <string>

#include "backend/cpu/cpu_executor.h"
#include "backend/host_merge_stream.h"

namespace syncbn::backend {

std::unique_ptr<Backend> MakeCpuBackend(Allocate allocate) {
  return std::make_unique<cpu::CpuBackend>(cpu::BestIsa(), allocate);
}

namespace cpu {

CpuBackend::CpuBackend(Isa isa, Allocate allocate, ConvolutionForms convolutions)
    : isa_(isa),
      allocate_(allocate),
      convolutions_(convolutions),
      engine_(dnnl::engine::kind::cpu, 0),
      packed_(std::make_shared<PackedWeights>()) {
  if (!IsaAvailable(isa)) {
    throw Error(ErrorCode::kUnimplemented,
                "this processor does not have " + std::string(IsaName(isa)));
  }
}

std::string CpuBackend::Description() const {
  return DnnlDescription() + ", row kernels " + std::string(IsaName(isa_));
}

std::unique_ptr<Executor> CpuBackend::MakeExecutor() const {
  return std::make_unique<CpuExecutor>(Kernels(isa_), engine_, packed_, allocate_, convolutions_);
}

std::unique_ptr<MergeStream> CpuBackend::MakeMergeStream() const {
  return MakeHostMergeStream(allocate_);
}

std::unique_ptr<Backend> CpuBackend::WithConvolutions(ConvolutionForms forms) const {
  return std::make_unique<CpuBackend>(isa_, allocate_, forms);
}

}  // namespace cpu
}  // namespace syncbn::backend
