#include "backend/cuda/cuda_backend.h"

#include <string>

#include "backend/cuda/cuda_check.h"
#include "backend/cuda/cuda_device.h"
#include "backend/cuda/cuda_elements.h"
#include "backend/cuda/cuda_executor.h"
#include "backend/cuda/cuda_merge_stream.h"
#include "backend/cuda/libraries.h"

namespace syncbn::backend::cuda {
namespace {

class CudaBackend final : public Backend {
 public:
  CudaBackend(const CudaDevice& device, Precision precision)
      : device_(device), precision_(precision) {}

  std::string_view name() const override { return "cuda"; }
  const Device& device() const override { return device_; }
  ElementTypes types() const override { return ElementTypesOf(precision_); }
  std::string Description() const override {
    int version = 0;
    Check(cudaRuntimeGetVersion(&version), device_.ordinal(), "cudaRuntimeGetVersion");
    std::string text = "CUDA " + std::to_string(version / 1000) + "." +
                       std::to_string(version % 1000 / 10) + " on " + device_.Description();
    for (const auto& [name, of_library] : LibraryVersions()) text += ", " + name + " " + of_library;
    return text;
  }
  std::unique_ptr<Executor> MakeExecutor() const override {
    return std::make_unique<CudaExecutor>(device_, precision_);
  }
  std::unique_ptr<MergeStream> MakeMergeStream() const override {
    return std::make_unique<CudaMergeStream>(device_);
  }
  std::unique_ptr<Stream> MakeCopyStream() const override {
    return std::make_unique<CudaStream<Stream>>(device_);
  }
  std::unique_ptr<Backend> WithPrecision(Precision precision) const override {
    return std::make_unique<CudaBackend>(device_, precision);
  }

 private:
  const CudaDevice& device_;
  const Precision precision_;
};

}  // namespace

std::unique_ptr<Backend> MakeBackend(int device) {
  return std::make_unique<CudaBackend>(DeviceAt(device), Precision::kFloat32);
}

}  // namespace syncbn::backend::cuda
