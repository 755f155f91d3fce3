#include "backend/cuda/device_memory.h"

#include <algorithm>
#include <cstdint>
#include <exception>
#include <string>
#include <utility>

#include "backend/cuda/cuda_check.h"
#include "backend/out_of_device_memory.h"
#include "base/check.h"

namespace syncbn::backend::cuda {
namespace {

// What the pool makes of a size.
constexpr size_t kRounding = 256;

size_t Rounded(size_t bytes) {
  return std::max(kRounding, (bytes + kRounding - 1) / kRounding * kRounding);
}

std::string Mebibytes(size_t bytes) {
  return std::to_string((bytes + (1 << 19)) >> 20) + " MiB";
}

}  // namespace

class DeviceMemory::Block {
 public:
  Block(int device, size_t bytes, std::shared_ptr<StreamHandle> home)
      : device_(device), bytes_(bytes), home_(std::move(home)) {
    home_->CountAllocated(bytes_);
  }

  // Nothing is to be noted of the home, and nothing twice.
  void NoteUse(const std::shared_ptr<StreamHandle>& user) {
    if (user == home_) return;
    const std::lock_guard lock(mutex_);
    if (std::ranges::find(users_, user) == users_.end()) users_.push_back(user);
  }
  bool IsOnlyOf(const StreamHandle& stream) {
    const std::lock_guard lock(mutex_);
    return home_.get() == &stream && users_.empty();
  }

  // From any thread, when nobody holds it any more. After a failed kernel every call fails, and
  // there is nothing to be ordered any more.
  void Free(void* memory) noexcept {
    try {
      for (const auto& user : users_) home_->WaitFor(user->Record());
    } catch (const std::exception&) {
    }
    cudaSetDevice(device_);
    cudaFreeAsync(memory, home_->get());
    cudaGetLastError();
    home_->CountFreed(bytes_);
  }

 private:
  const int device_;
  const size_t bytes_;
  const std::shared_ptr<StreamHandle> home_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<StreamHandle>> users_;  // other than home; guarded by mutex_
};

// What a tensor's memory ends with; the standard library finds it by the type.
struct DeviceMemory::Release {
  std::unique_ptr<Block> block;
  void operator()(void* memory) noexcept { block->Free(memory); }
};

DeviceMemory::DeviceMemory(int device) : device_(device) {
  Check(cudaSetDevice(device), device, "cudaSetDevice");
  Check(cudaDeviceGetDefaultMemPool(&pool_, device), device, "cudaDeviceGetDefaultMemPool");
  // Kept: a step asks for what the last one gave back.
  uint64_t all = UINT64_MAX;
  Check(cudaMemPoolSetAttribute(pool_, cudaMemPoolAttrReleaseThreshold, &all), device,
        "cudaMemPoolSetAttribute");
}

void DeviceMemory::Register(const std::shared_ptr<StreamHandle>& stream) {
  const std::lock_guard lock(mutex_);
  std::erase_if(streams_, [](const auto& one) { return one.expired(); });
  streams_.push_back(stream);
}

cudaError_t DeviceMemory::TryAllocate(const StreamHandle& home, size_t bytes, void** memory) {
  // No more than was asked for, so that who looks for accesses beyond blocks sees where they end.
  const cudaError_t error = cudaMallocAsync(memory, std::max<size_t>(bytes, 1), home.get());
  // So that it is not taken for the next call's.
  if (error == cudaErrorMemoryAllocation) cudaGetLastError();
  return error;
}

std::shared_ptr<void> DeviceMemory::Allocate(const std::shared_ptr<StreamHandle>& home,
                                             size_t bytes) {
  home->MakeCurrent();
  void* memory = nullptr;
  cudaError_t error = TryAllocate(*home, bytes, &memory);
  if (error == cudaErrorMemoryAllocation) {
    // What was given back may wait for its streams, or lie in pieces that the pool keeps.
    Check(cudaDeviceSynchronize(), device_, "cudaDeviceSynchronize");
    Check(cudaMemPoolTrimTo(pool_, 0), device_, "cudaMemPoolTrimTo");
    error = TryAllocate(*home, bytes, &memory);
  }
  if (error == cudaErrorMemoryAllocation) ThrowOutOfMemory(*home, bytes);
  Check(error, device_, "cudaMallocAsync");
  auto block = std::make_unique<Block>(device_, Rounded(bytes), home);
  return std::shared_ptr<void>(memory, Release{std::move(block)});
}

void DeviceMemory::ThrowOutOfMemory(const StreamHandle& home, size_t bytes) {
  size_t free = 0, total = 0;
  Check(cudaMemGetInfo(&free, &total), device_, "cudaMemGetInfo");
  const size_t held = Held();
  throw OutOfDeviceMemory(DeviceName(device_) + ": out of memory: " + Mebibytes(Rounded(bytes)) +
                              " more wanted by a " + std::string(home.what()) + " that holds " +
                              Mebibytes(home.in_use()) + "; of the device's " + Mebibytes(total) +
                              ", " + Mebibytes(free) + " are free and " + Mebibytes(held) +
                              " are this process's: " + Holders(),
                          free + held);
}

std::string DeviceMemory::Holders() {
  std::string text;
  const std::lock_guard lock(mutex_);
  for (const auto& one : streams_) {
    const std::shared_ptr<StreamHandle> stream = one.lock();
    if (stream == nullptr || stream->peak() == 0) continue;
    text += (text.empty() ? "" : ", ") + std::string(stream->what()) + " " +
            Mebibytes(stream->in_use()) + " (at most " + Mebibytes(stream->peak()) + ")";
  }
  return text.empty() ? "nothing in use" : text;
}

DeviceMemory::Block& DeviceMemory::BlockOf(const Tensor& x) {
  const auto* const release = std::get_deleter<Release>(x.weak_memory().lock());
  SYNCBN_CHECK(release != nullptr) << "a tensor " << x.shape() << " of " << x.device().name()
                                   << " whose memory is not of its pool";
  return *release->block;
}

void DeviceMemory::NoteUse(const Tensor& x, const std::shared_ptr<StreamHandle>& user) {
  BlockOf(x).NoteUse(user);
}

bool DeviceMemory::IsOnlyOf(const Tensor& x, const StreamHandle& stream) {
  return BlockOf(x).IsOnlyOf(stream);
}

size_t DeviceMemory::Held() const {
  Check(cudaSetDevice(device_), device_, "cudaSetDevice");
  uint64_t bytes = 0;
  Check(cudaMemPoolGetAttribute(pool_, cudaMemPoolAttrReservedMemCurrent, &bytes), device_,
        "cudaMemPoolGetAttribute");
  return bytes;
}

}  // namespace syncbn::backend::cuda
