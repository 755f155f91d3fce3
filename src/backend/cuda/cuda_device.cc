#include "backend/cuda/cuda_device.h"

#include <map>
#include <memory>
#include <mutex>

#include "backend/cuda/cuda_check.h"
#include "base/error.h"

namespace syncbn::backend::cuda {

namespace {

cudaDeviceProp Properties(int ordinal) {
  cudaDeviceProp properties{};
  Check(cudaGetDeviceProperties(&properties, ordinal), ordinal, "cudaGetDeviceProperties");
  return properties;
}

}  // namespace

CudaDevice::CudaDevice(int ordinal)
    : ordinal_(ordinal), name_(DeviceName(ordinal)), memory_(ordinal) {}

void CudaDevice::CopyToHost(const void* from, void* to, size_t bytes) const {
  Check(cudaSetDevice(ordinal_), ordinal_, "cudaSetDevice");
  Check(cudaDeviceSynchronize(), ordinal_, "cudaDeviceSynchronize");
  Check(cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost), ordinal_, "cudaMemcpy to the host");
}

std::string CudaDevice::Description() const {
  const cudaDeviceProp properties = Properties(ordinal_);
  return std::string(properties.name) + ", compute capability " + std::to_string(properties.major) +
         "." + std::to_string(properties.minor) + ", " +
         std::to_string(properties.multiProcessorCount) + " multiprocessors";
}

std::string CudaDevice::Uuid() const {
  return UuidText(Properties(ordinal_).uuid);
}
std::string CudaDevice::Pci() const {
  return PciText(Properties(ordinal_));
}

const CudaDevice& DeviceAt(int ordinal) {
  int count = 0;
  Check(cudaGetDeviceCount(&count), ordinal, "cudaGetDeviceCount");
  if (ordinal < 0 || ordinal >= count) {
    throw Error(ErrorCode::kInvalidArgument, "there is no " + DeviceName(ordinal) +
                                                 ": this machine has " + std::to_string(count) +
                                                 (count == 1 ? " GPU" : " GPUs"));
  }
  static std::mutex mutex;
  static auto& devices =
      *new std::map<int, std::unique_ptr<CudaDevice>>;  // tensors may outlive main
  const std::lock_guard lock(mutex);
  std::unique_ptr<CudaDevice>& device = devices[ordinal];
  if (device == nullptr) device = std::make_unique<CudaDevice>(ordinal);
  return *device;
}

}  // namespace syncbn::backend::cuda
