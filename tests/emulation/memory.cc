// Memory, copies and the device of the emulated runtime.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <vector>

#include "tests/emulation/runtime.h"
#include "tests/emulation/runtime_state.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

namespace syncbn::emulation {
namespace {

// Written around every block and looked at when it is freed.
constexpr size_t kGuard = 256;
constexpr int kGuardByte = 0xA5, kFreedByte = 0xFF;
// Freed memory is kept from being given out again until so much was freed behind it: who reads it
// reads NaN.
constexpr size_t kQuarantine = size_t{64} << 20;
// SYNCBN_EMULATED_MIB=N: of programs.
std::atomic<size_t> device_bytes{[] {
  const char* const text = std::getenv("SYNCBN_EMULATED_MIB");
  return text == nullptr ? size_t{4} << 30 : std::strtoull(text, nullptr, 10) << 20;
}()};

class DeviceMemory {
 public:
  void* Allocate(size_t bytes) {
    const std::lock_guard lock(mutex_);
    if (in_use_ + bytes > device_bytes) return nullptr;
    auto* const whole =
        static_cast<std::byte*>(std::aligned_alloc(kGuard, Rounded(bytes) + 2 * kGuard));
    if (whole == nullptr) return nullptr;
    std::memset(whole, kGuardByte, Rounded(bytes) + 2 * kGuard);
    std::byte* const memory = whole + kGuard;
    std::memset(memory, kFreedByte, bytes);
#ifdef __SANITIZE_ADDRESS__
    // Until Arrive nobody may touch it.
    ASAN_POISON_MEMORY_REGION(whole, Rounded(bytes) + 2 * kGuard);
#endif
    blocks_[memory] = bytes;
    in_use_ += bytes;
    most_ = std::max(most_, in_use_);
    return memory;
  }
  // When the stream on which it was asked for has come to it. Who works on another stream, and has
  // not waited for that, finds what was there before.
  void Arrive(void* memory, size_t bytes) {
    const auto* const block = static_cast<const std::byte*>(memory);
#ifdef __SANITIZE_ADDRESS__
    ASAN_UNPOISON_MEMORY_REGION(block, bytes);
#endif
    if (IsFilled(block, bytes)) return;
    SetFault("a block of " + std::to_string(bytes) +
             " bytes was written before the stream came to it on which it was asked for: another "
             "stream has not waited for its event");
  }
  // When the stream has come to it.
  void Free(void* memory) {
    const std::lock_guard lock(mutex_);
    const auto found = blocks_.find(static_cast<std::byte*>(memory));
    if (found == blocks_.end()) {
      SetFault("cudaFreeAsync of memory that was not allocated, or is free");
      return;
    }
    const auto [block, bytes] = *found;
    blocks_.erase(found);
    in_use_ -= bytes;
    CheckGuards(block, bytes);
    std::memset(block, kFreedByte, bytes);
#ifdef __SANITIZE_ADDRESS__
    ASAN_POISON_MEMORY_REGION(block, bytes);
#endif
    quarantine_.emplace_back(block, bytes);
    quarantined_ += bytes;
    while (quarantined_ > kQuarantine) Release();
  }
  bool Holds(const void* memory, size_t bytes) const {
    const auto* const begin = static_cast<const std::byte*>(memory);
    const std::lock_guard lock(mutex_);
    const auto after = blocks_.upper_bound(const_cast<std::byte*>(begin));
    if (after == blocks_.begin()) return false;
    const auto& [block, size] = *std::prev(after);
    return begin + bytes <= block + size;
  }
  size_t in_use() const {
    const std::lock_guard lock(mutex_);
    return in_use_;
  }
  size_t most() const {
    const std::lock_guard lock(mutex_);
    return most_;
  }
  void ForgetMost() {
    const std::lock_guard lock(mutex_);
    most_ = in_use_;
  }
  int64_t blocks() const {
    const std::lock_guard lock(mutex_);
    return static_cast<int64_t>(blocks_.size());
  }
  ~DeviceMemory() {
    AwaitGivenUpStreams();
    while (!quarantine_.empty()) Release();
  }

 private:
  // With what poisoned memory holds.
  static bool IsFilled(const std::byte* block, size_t bytes) {
    return block[0] == std::byte{kFreedByte} && std::memcmp(block, block + 1, bytes - 1) == 0;
  }
  static size_t Rounded(size_t bytes) {
    return (bytes + kGuard - 1) / kGuard * kGuard;
  }

  void Release() {
    const auto [block, bytes] = quarantine_.front();
    quarantine_.pop_front();
    quarantined_ -= bytes;
    std::byte* const whole = block - kGuard;
#ifdef __SANITIZE_ADDRESS__
    ASAN_UNPOISON_MEMORY_REGION(whole, Rounded(bytes) + 2 * kGuard);
#endif
    if (!IsFilled(block, bytes)) {
      const std::byte* const written = std::find_if(
          block, block + bytes, [](std::byte one) { return one != std::byte{kFreedByte}; });
      SetFault("memory was written after it was freed: byte " + std::to_string(written - block) +
               " of " + std::to_string(bytes));
    }
    std::free(whole);
  }
  static void CheckGuards(const std::byte* block, size_t bytes) {
#ifndef __SANITIZE_ADDRESS__
    const auto broken = [&](const std::byte* guard, size_t size) {
      for (size_t i = 0; i < size; ++i) {
        if (guard[i] != std::byte{kGuardByte}) return true;
      }
      return false;
    };
    if (broken(block - kGuard, kGuard) || broken(block + bytes, Rounded(bytes) - bytes + kGuard)) {
      SetFault("a block of " + std::to_string(bytes) + " bytes was written beyond its ends");
    }
#endif
  }

  mutable std::mutex mutex_;
  std::map<std::byte*, size_t> blocks_;
  std::deque<std::pair<std::byte*, size_t>> quarantine_;
  size_t quarantined_ = 0, in_use_ = 0, most_ = 0;
};

DeviceMemory& Memory() {
  static DeviceMemory memory;
  return memory;
}

// SYNCBN_EMULATED_DEVICES=N: how many GPUs there are. Their memory is one.
int Devices() {
  static const int devices = [] {
    const char* const text = std::getenv("SYNCBN_EMULATED_DEVICES");
    return text == nullptr ? 4 : std::atoi(text);
  }();
  return devices;
}
thread_local int current_device = 0;
std::atomic<int> compute_mode{cudaComputeModeDefault};
std::atomic<bool> parts_of_one{false};

std::mutex pinned_mutex;
std::map<const std::byte*, size_t> pinned;  // guarded by pinned_mutex
std::atomic<int64_t> pinned_allocations{0}, pinned_bytes_allocated{0}, bytes_uploaded{0};

}  // namespace

int CurrentDevice() {
  return current_device;
}
bool IsPinned(const void* memory) {
  const auto* const address = static_cast<const std::byte*>(memory);
  const std::lock_guard lock(pinned_mutex);
  const auto after = pinned.upper_bound(address);
  if (after == pinned.begin()) return false;
  const auto& [begin, bytes] = *std::prev(after);
  return address < begin + bytes;
}
void SetDeviceBytes(size_t bytes) {
  device_bytes = bytes;
}
void SetPartsOfOneGpu(bool parts) {
  parts_of_one = parts;
}
void SetComputeMode(int mode) {
  compute_mode = mode;
}
bool IsInBlock(const void* memory, size_t bytes) {
  return Memory().Holds(memory, bytes);
}
int64_t BytesUploaded() {
  return bytes_uploaded;
}
int64_t BlocksInUse() {
  return Memory().blocks();
}
int64_t PinnedAllocations() {
  return pinned_allocations;
}
int64_t PinnedBytesAllocated() {
  return pinned_bytes_allocated;
}

}  // namespace syncbn::emulation

using namespace syncbn::emulation;  // NOLINT: what follows has the names of another library

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  return cudaRuntimeGetVersion(version);
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = Devices();
  return *count > 0 ? cudaSuccess : Failed(cudaErrorNoDevice);
}
cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= Devices()) return Failed(cudaErrorInvalidDevice);
  if (compute_mode != cudaComputeModeDefault) return Failed(cudaErrorDevicesUnavailable);
  current_device = device;
  return Sticky();
}
cudaError_t cudaGetDevice(int* device) {
  *device = current_device;
  return Sticky();
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  *properties = {.totalGlobalMem = device_bytes, .major = 9, .minor = 0, .multiProcessorCount = 4};
  // SYNCBN_EMULATED_MODEL=NAME: another GPU than other ranks have.
  const char* const model = std::getenv("SYNCBN_EMULATED_MODEL");
  std::snprintf(properties->name, sizeof properties->name, "%s",
                model == nullptr ? "Emulated" : model);
  properties->uuid.bytes[15] = static_cast<char>(device);
  properties->pciBusID = parts_of_one ? 1 : device + 1;
  properties->memoryPoolsSupported = 1;
  return Sticky();
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = 4;
      break;
    case cudaDevAttrComputeMode:
      *value = compute_mode;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = 9;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = 0;
      break;
    case cudaDevAttrMemoryPoolsSupported:
      *value = 1;
      break;
  }
  return Sticky();
}

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int) {
  *pool = nullptr;
  return Sticky();
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr attribute, void*) {
  if (attribute == cudaMemPoolAttrUsedMemHigh) Memory().ForgetMost();
  return Sticky();
}
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t, cudaMemPoolAttr attribute, void* value) {
  uint64_t bytes = 0;
  switch (attribute) {
    case cudaMemPoolAttrUsedMemHigh:
    case cudaMemPoolAttrReservedMemHigh:
      bytes = Memory().most();
      break;
    case cudaMemPoolAttrUsedMemCurrent:
    case cudaMemPoolAttrReservedMemCurrent:
      bytes = Memory().in_use();
      break;
    case cudaMemPoolAttrReleaseThreshold:
      break;
  }
  std::memcpy(value, &bytes, sizeof bytes);
  return Sticky();
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *total = device_bytes;
  *free = *total - Memory().in_use();
  return Sticky();
}
cudaError_t cudaMallocAsync(void** memory, size_t bytes, cudaStream_t stream) {
  if (Sticky() != cudaSuccess) return Sticky();
  void* const block = Memory().Allocate(bytes);
  *memory = block;
  if (block == nullptr) return Failed(cudaErrorMemoryAllocation);
  stream->Give([block, bytes] { Memory().Arrive(block, bytes); });
  return cudaSuccess;
}
cudaError_t cudaFreeAsync(void* memory, cudaStream_t stream) {
  stream->Give([memory] { Memory().Free(memory); });
  return Sticky();
}
cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned) {
  *memory = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  if (*memory == nullptr) return Failed(cudaErrorMemoryAllocation);
  ++pinned_allocations;
  pinned_bytes_allocated += static_cast<int64_t>(bytes);
  const std::lock_guard lock(pinned_mutex);
  pinned[static_cast<std::byte*>(*memory)] = bytes;
  return Sticky();
}
cudaError_t cudaFreeHost(void* memory) {
  // As documented for the device: what streams still do with it comes first.
  CountHostSynchronization();
  WaitForAllStreams();
  const std::lock_guard lock(pinned_mutex);
  pinned.erase(static_cast<std::byte*>(memory));
  std::free(memory);
  return Sticky();
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  CountHostSynchronization();
  std::memcpy(to, from, bytes);
  return Sticky();
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  if (Sticky() != cudaSuccess) return Sticky();
  CountOperation();
  if (kind == cudaMemcpyHostToDevice) bytes_uploaded += static_cast<int64_t>(bytes);
  if (kind == cudaMemcpyHostToDevice && !IsPinned(from)) {
    // Staged by the driver, which stops the host.
    CountHostSynchronization();
    const auto* const begin = static_cast<const std::byte*>(from);
    stream->Give([to, staged = std::vector<std::byte>(begin, begin + bytes)] {
      std::memcpy(to, staged.data(), staged.size());
    });
    return cudaSuccess;
  }
  stream->Give([=] { std::memmove(to, from, bytes); });
  if (kind == cudaMemcpyDeviceToHost && !IsPinned(to)) {
    CountHostSynchronization();
    stream->Record()->Wait();
  }
  return Sticky();
}
cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream) {
  CountOperation();
  stream->Give([=] { std::memset(memory, value, bytes); });
  return Sticky();
}
