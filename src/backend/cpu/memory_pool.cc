#include "backend/cpu/memory_pool.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace syncbn::backend::cpu {

size_t MemoryPool::BlockSize(size_t bytes) {
  constexpr size_t kSmallest = 64;
  const size_t step = bytes < 8 * kSmallest ? kSmallest : std::bit_floor(bytes) / 8;
  return std::max(kSmallest, (bytes + step - 1) / step * step);
}

std::shared_ptr<void> MemoryPool::Take(size_t bytes) {
  const size_t size = BlockSize(bytes);
  std::shared_ptr<void> block;
  {
    const std::lock_guard lock(mutex_);
    auto waiting = waiting_.find(size);
    if (waiting != waiting_.end() && !waiting->second.empty()) {
      block = std::move(waiting->second.back());
      waiting->second.pop_back();
    } else {
      // Blocks of sizes that no longer occur (the last batch of an epoch, an evaluation) would pile
      // up.
      constexpr size_t kSlack = size_t{32} << 20;
      const size_t limit = use_.peak + use_.peak / 4 + kSlack;
      if (use_.held + size > limit) Shrink(limit > size ? limit - size : 0);
      use_.held += size;
    }
    use_.in_use += size;
    use_.peak = std::max(use_.peak, use_.in_use);
  }
  if (block == nullptr) {
    try {
      block = allocate_(size);
    } catch (...) {
      const std::lock_guard lock(mutex_);
      use_.in_use -= size;
      use_.held -= size;
      throw;
    }
  }
  void* address = block.get();
  return {address, [pool = shared_from_this(), block = std::move(block), size](void*) mutable {
            pool->GiveBack(std::move(block), size);
          }};
}

void MemoryPool::GiveBack(std::shared_ptr<void> block, size_t size) noexcept {
  std::shared_ptr<void> dropped;  // freed after the lock is gone
  const std::lock_guard lock(mutex_);
  use_.in_use -= size;
  if (!closed_) {
    try {
      waiting_[size].push_back(std::move(block));
      return;
    } catch (const std::bad_alloc&) {
      // Not kept then.
    }
  }
  use_.held -= size;
  dropped = std::move(block);
}

void MemoryPool::Shrink(size_t limit) {
  while (use_.held > limit && !waiting_.empty()) {
    auto last = std::prev(waiting_.end());
    while (use_.held > limit && !last->second.empty()) {
      last->second.pop_back();
      use_.held -= last->first;
    }
    if (last->second.empty()) waiting_.erase(last);
  }
}

MemoryUse MemoryPool::Use() const {
  const std::lock_guard lock(mutex_);
  return use_;
}

void MemoryPool::Close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  Shrink(0);
}

}  // namespace syncbn::backend::cpu
