#include "backend/cuda/gpu_report.h"

#include "backend/cuda/cuda_check.h"
#include "backend/cuda/libraries.h"

namespace syncbn::backend::cuda {
namespace {

// 10 * major + minor of the oldest that kernels are compiled for.
constexpr int kOldest = SYNCBN_OLDEST_GPU;

std::string Dotted(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}
std::string Capability(int major, int minor) {
  return std::to_string(major) + "." + std::to_string(minor);
}

}  // namespace

std::string WhyNoGpu(cudaError_t error, int driver, int runtime) {
  if (error == cudaSuccess || error == cudaErrorNoDevice) {
    return "CUDA finds none (`nvidia-smi -L` lists what the driver has, CUDA_VISIBLE_DEVICES hides "
           "some)";
  }
  if (driver == 0) {
    return "the driver's library, libcuda.so.1, cannot be loaded: install NVIDIA's driver; in a "
           "container, start it with the host's (--gpus all)";
  }
  if (error == cudaErrorSystemNotReady) {
    return "the GPUs of this machine wait for NVIDIA's fabric manager: `systemctl start "
           "nvidia-fabricmanager` (CUDA says: " +
           std::string(cudaGetErrorName(error)) + ")";
  }
  if (driver / 1000 < runtime / 1000) {
    return "NVIDIA's driver is too old: it supports CUDA " + Dotted(driver) +
           ", and this program needs " + Dotted(runtime) + ": update the driver";
  }
  return std::string("CUDA says: ") + cudaGetErrorString(error) + " (" + cudaGetErrorName(error) +
         ")";
}

Gpu GpuOf(int ordinal, const cudaDeviceProp& properties) {
  Gpu gpu{.ordinal = ordinal,
          .name = properties.name,
          .major = properties.major,
          .minor = properties.minor,
          .memory = properties.totalGlobalMem,
          .uuid = UuidText(properties.uuid),
          .pci = PciText(properties),
          .unfit = {}};
  if (10 * gpu.major + gpu.minor < kOldest) {
    gpu.unfit = gpu.name + " has compute capability " + Capability(gpu.major, gpu.minor) +
                ", and this program is compiled for " + Capability(kOldest / 10, kOldest % 10) +
                " and later";
  } else if (properties.memoryPoolsSupported == 0) {
    gpu.unfit = gpu.name + " has no memory pools (cudaMallocAsync), as some virtual GPUs do not";
  }
  return gpu;
}

GpuReport ReportGpus() {
  GpuReport report;
  int driver = 0, runtime = 0, count = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  report.versions = {{"CUDA runtime", Dotted(runtime)},
                     {"CUDA of the driver", driver == 0 ? "none" : Dotted(driver)}};
  const auto libraries = LibraryVersions();
  report.versions.insert(report.versions.end(), libraries.begin(), libraries.end());
  const cudaError_t error = cudaGetDeviceCount(&count);
  cudaGetLastError();  // so that it is not taken for the next call's
  if (error != cudaSuccess || count == 0) {
    report.problem = WhyNoGpu(error, driver, runtime);
    return report;
  }
  bool usable = false;
  std::string unfit;
  for (int ordinal = 0; ordinal < count; ++ordinal) {
    cudaDeviceProp properties{};
    const cudaError_t failed = cudaGetDeviceProperties(&properties, ordinal);
    Gpu gpu = GpuOf(ordinal, properties);
    if (failed != cudaSuccess) {
      cudaGetLastError();
      gpu.unfit = DeviceName(ordinal) + ": " + cudaGetErrorString(failed);
    }
    int mode = cudaComputeModeDefault;
    if (cudaDeviceGetAttribute(&mode, cudaDevAttrComputeMode, ordinal) != cudaSuccess) {
      cudaGetLastError();
    }
    if (gpu.unfit.empty() && mode == cudaComputeModeProhibited) {
      gpu.unfit = DeviceName(ordinal) + ", " + gpu.name +
                  ": its compute mode is Prohibited (`nvidia-smi -c DEFAULT` changes it)";
    }
    usable = usable || gpu.unfit.empty();
    if (!gpu.unfit.empty()) unfit += (unfit.empty() ? "" : "; ") + gpu.unfit;
    report.gpus.push_back(std::move(gpu));
  }
  if (!usable) report.problem = unfit;
  return report;
}

}  // namespace syncbn::backend::cuda
