#include "data/buffer_pool.h"

#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "tensor/tensor.h"

namespace syncbn::data {

struct BufferPool::Idle {
  std::mutex mutex;
  std::vector<std::shared_ptr<void>> blocks;
};

BufferPool::BufferPool(size_t block_bytes)
    : block_bytes_(block_bytes), idle_(std::make_shared<Idle>()) {}

std::shared_ptr<void> BufferPool::Take() {
  std::shared_ptr<void> block;
  {
    std::lock_guard lock(idle_->mutex);
    if (!idle_->blocks.empty()) {
      block = std::move(idle_->blocks.back());
      idle_->blocks.pop_back();
    }
  }
  if (block == nullptr) block = AllocateAligned(block_bytes_);
  void* const address = block.get();
  auto give_back = [idle = idle_, block = std::move(block)](void*) mutable noexcept {
    try {
      std::lock_guard lock(idle->mutex);
      idle->blocks.push_back(std::move(block));
    } catch (const std::bad_alloc&) {
      // Then it is freed here instead of kept.
    }
  };
  return {address, std::move(give_back)};
}

size_t BufferPool::idle() const {
  std::lock_guard lock(idle_->mutex);
  return idle_->blocks.size();
}

}  // namespace syncbn::data
