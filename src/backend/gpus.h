// Which GPUs this program could train on, for those who choose a back end or describe it.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace syncbn::backend {

struct Gpu {
  int ordinal = 0;  // CUDA's number
  std::string name;
  int major = 0, minor = 0;  // compute capability
  uint64_t memory = 0;       // bytes
  std::string uuid;          // "GPU-..." as nvidia-smi prints it
  std::string pci;           // "00000000:1B:00.0"
  std::string unfit;         // why nothing can be computed on it here; empty: it can
};

struct GpuReport {
  // Name and version, of CUDA's runtime, the driver and NVIDIA's libraries.
  std::vector<std::pair<std::string, std::string>> versions;
  std::vector<Gpu> gpus;
  // Why there is none, or none that can be used; empty: there is.
  std::string problem;
};

// Whether this program has the CUDA back end.
bool HasCuda();
// Starts CUDA, which takes some tenths of a second.
GpuReport DescribeGpus();

}  // namespace syncbn::backend
