// Memory blocks of one size that are used again: a block comes back when its last owner lets go,
// also after the pool is gone (then it is freed). Thread-safe.
#pragma once

#include <cstddef>
#include <memory>

namespace syncbn::data {

class BufferPool {
 public:
  explicit BufferPool(size_t block_bytes);

  size_t block_bytes() const { return block_bytes_; }
  // A block that was given back, or a new one. Its content is whatever it was.
  std::shared_ptr<void> Take();
  // Blocks now waiting to be used again.
  size_t idle() const;

 private:
  struct Idle;

  size_t block_bytes_;
  std::shared_ptr<Idle> idle_;
};

}  // namespace syncbn::data
