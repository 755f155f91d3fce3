// The CPU back end with what tests and benchmarks want to choose or see. Everybody else uses
// backend::MakeCpuBackend.
#pragma once

#include <memory>

#include "backend/backend.h"
#include "backend/cpu/isa.h"
#include "backend/cpu/packed_weights.h"

namespace syncbn::backend::cpu {

class CpuBackend final : public Backend {
 public:
  // Throws UNIMPLEMENTED when this machine does not have `isa` (of the row kernels; oneDNN chooses
  // its own).
  explicit CpuBackend(Isa isa, Allocate allocate = AllocateAligned,
                      ConvolutionForms convolutions = ConvolutionForms::kDirect);

  std::string_view name() const override { return "cpu"; }
  const Device& device() const override { return Device::Host(); }
  ElementTypes types() const override { return {}; }
  std::string Description() const override;
  std::unique_ptr<Executor> MakeExecutor() const override;
  std::unique_ptr<MergeStream> MakeMergeStream() const override;
  std::unique_ptr<Backend> WithConvolutions(ConvolutionForms forms) const override;

  const PackedWeights& packed_weights() const { return *packed_; }

 private:
  Isa isa_;
  Allocate allocate_;
  ConvolutionForms convolutions_;
  dnnl::engine engine_;
  std::shared_ptr<PackedWeights> packed_;
};

}  // namespace syncbn::backend::cpu
