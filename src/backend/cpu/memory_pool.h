// Memory that is used again: blocks that tensors gave back wait here for the next tensor of about
// their size, so that a training step in its second round asks the system for nothing.
//
// Thread-safe: a tensor may be released on any thread. Blocks hold the pool alive, so tensors may
// outlive the executor they came from.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "backend/backend.h"

namespace syncbn::backend::cpu {

class MemoryPool : public std::enable_shared_from_this<MemoryPool> {
 public:
  static std::shared_ptr<MemoryPool> Make(Allocate allocate = AllocateAligned) {
    return std::shared_ptr<MemoryPool>(new MemoryPool(allocate));
  }

  // Uninitialized, aligned to 64 bytes; goes back to the pool when the last reference is gone.
  std::shared_ptr<void> Take(size_t bytes);
  MemoryUse Use() const;
  // Frees what waits; blocks that come back later are freed at once.
  void Close();

  // Requests of up to this size share a block: `bytes` rounded up by at most an eighth.
  static size_t BlockSize(size_t bytes);

 private:
  explicit MemoryPool(Allocate allocate) : allocate_(allocate) {}
  void GiveBack(std::shared_ptr<void> block, size_t size) noexcept;
  // Frees waiting blocks, largest first, until at most `limit` bytes are held.
  void Shrink(size_t limit);

  const Allocate allocate_;
  mutable std::mutex mutex_;
  std::map<size_t, std::vector<std::shared_ptr<void>>> waiting_;
  MemoryUse use_;
  bool closed_ = false;
};

}  // namespace syncbn::backend::cpu
