#include "backend/cuda/device_memory.h"

#include <algorithm>
#include <cstdint>
#include <exception>
#include <string>
#include <utility>

#include "backend/cuda/cuda_check.h"
#include "base/check.h"
#include "base/error.h"

namespace syncbn::backend::cuda {
namespace {

// What the pool makes of a size.
constexpr size_t kRounding = 256;

std::string Mebibytes(size_t bytes) {
  return std::to_string((bytes + (1 << 19)) >> 20) + " MiB";
}

}  // namespace

DeviceMemory::DeviceMemory(int device) : device_(device) {
  Check(cudaSetDevice(device), device, "cudaSetDevice");
  Check(cudaDeviceGetDefaultMemPool(&pool_, device), device, "cudaDeviceGetDefaultMemPool");
  // Kept: a step asks for what the last one gave back.
  uint64_t all = UINT64_MAX;
  Check(cudaMemPoolSetAttribute(pool_, cudaMemPoolAttrReleaseThreshold, &all), device,
        "cudaMemPoolSetAttribute");
}

std::shared_ptr<void> DeviceMemory::Allocate(const std::shared_ptr<StreamHandle>& home,
                                             size_t bytes) {
  const size_t rounded = std::max(kRounding, (bytes + kRounding - 1) / kRounding * kRounding);
  home->MakeCurrent();
  void* memory = nullptr;
  // No more than was asked for, so that who looks for accesses beyond blocks sees where they end.
  const cudaError_t error = cudaMallocAsync(&memory, std::max<size_t>(bytes, 1), home->get());
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // so that it is not taken for the next call's
    size_t free = 0, total = 0;
    Check(cudaMemGetInfo(&free, &total), device_, "cudaMemGetInfo");
    throw Error(ErrorCode::kResourceExhausted,
                DeviceName(device_) + ": out of memory: " + Mebibytes(rounded) +
                    " more wanted by a replica that holds " + Mebibytes(home->in_use()) +
                    "; of the device's " + Mebibytes(total) + ", " + Mebibytes(free) +
                    " are free and " + Mebibytes(Held()) +
                    " are this process's. A smaller batch per replica, or fewer replicas on this "
                    "device, need less");
  }
  Check(error, device_, "cudaMallocAsync");
  home->CountAllocated(rounded);
  const std::lock_guard lock(mutex_);
  blocks_[static_cast<const std::byte*>(memory)] = {.bytes = rounded, .home = home, .users = {}};
  return {memory, [this](void* block) { Free(block); }};
}

void DeviceMemory::NoteUse(const void* address, const std::shared_ptr<StreamHandle>& user) {
  const std::lock_guard lock(mutex_);
  auto found = blocks_.upper_bound(static_cast<const std::byte*>(address));
  SYNCBN_CHECK(found != blocks_.begin()) << "memory that is not of " << DeviceName(device_);
  Block& block = (--found)->second;
  SYNCBN_CHECK(static_cast<const std::byte*>(address) < found->first + block.bytes)
      << "memory that is not of " << DeviceName(device_);
  if (block.home == user || std::ranges::find(block.users, user) != block.users.end()) return;
  block.users.push_back(user);
}

size_t DeviceMemory::Held() const {
  Check(cudaSetDevice(device_), device_, "cudaSetDevice");
  uint64_t bytes = 0;
  Check(cudaMemPoolGetAttribute(pool_, cudaMemPoolAttrReservedMemCurrent, &bytes), device_,
        "cudaMemPoolGetAttribute");
  return bytes;
}

// From any thread. After a failed kernel every call fails, and there is nothing to be ordered any
// more.
void DeviceMemory::Free(void* memory) noexcept {
  Block block;
  {
    const std::lock_guard lock(mutex_);
    auto node = blocks_.extract(static_cast<const std::byte*>(memory));
    block = std::move(node.mapped());
  }
  try {
    for (const auto& user : block.users) block.home->WaitFor(user->Record());
  } catch (const std::exception&) {
  }
  cudaSetDevice(device_);
  cudaFreeAsync(memory, block.home->get());
  cudaGetLastError();
  block.home->CountFreed(block.bytes);
}

}  // namespace syncbn::backend::cuda
