#include "backend/cuda/pinned_memory.h"

#include <bit>
#include <map>
#include <mutex>
#include <vector>

#include "backend/cuda/cuda_check.h"

namespace syncbn::backend::cuda {
namespace {

constexpr size_t kSmallest = 4096;

class PinnedPool {
 public:
  std::shared_ptr<void> Take(int device, size_t bytes) {
    const size_t size = std::bit_ceil(bytes < kSmallest ? kSmallest : bytes);
    void* memory = nullptr;
    {
      const std::lock_guard lock(mutex_);
      std::vector<void*>& free = free_[size];
      if (!free.empty()) {
        memory = free.back();
        free.pop_back();
      }
    }
    if (memory == nullptr) {
      Check(cudaSetDevice(device), device, "cudaSetDevice");
      Check(cudaHostAlloc(&memory, size, cudaHostAllocDefault), device, "cudaHostAlloc");
    }
    return {memory, [this, size](void* block) {
              const std::lock_guard lock(mutex_);
              free_[size].push_back(block);
            }};
  }

 private:
  std::mutex mutex_;
  std::map<size_t, std::vector<void*>> free_;
};

}  // namespace

std::shared_ptr<void> AllocatePinned(int device, size_t bytes) {
  static PinnedPool& pool = *new PinnedPool;  // the last tensor may go after the end of main
  return pool.Take(device, bytes);
}

}  // namespace syncbn::backend::cuda
