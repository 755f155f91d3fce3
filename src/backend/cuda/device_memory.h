// Memory of a device, from CUDA's pool, in the order of streams.
//
// A block is asked for on a stream, its home, and may be used there at once. Other streams that
// touch it are noted; when the last tensor that holds it is gone, its home waits for them, and then
// it is free for what its home is given next (and for others, as CUDA's pool sees fit). So nobody
// has to say which streams a tensor still waits for, and no host waits.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "backend/cuda/stream_handle.h"

namespace syncbn::backend::cuda {

// Of one device. Thread-safe. Lives as long as the process.
class DeviceMemory {
 public:
  explicit DeviceMemory(int device);

  // Aligned to 256 bytes. Throws RESOURCE_EXHAUSTED, with what is wanted, held and free.
  std::shared_ptr<void> Allocate(const std::shared_ptr<StreamHandle>& home, size_t bytes);
  // What `user` is given next touches the memory at `address`, which is alive.
  void NoteUse(const void* address, const std::shared_ptr<StreamHandle>& user);
  // Bytes that CUDA's pool holds, in use or not.
  size_t Held() const;

 private:
  struct Block {
    size_t bytes = 0;
    std::shared_ptr<StreamHandle> home;
    std::vector<std::shared_ptr<StreamHandle>> users;  // other than home
  };

  void Free(void* memory) noexcept;

  const int device_;
  cudaMemPool_t pool_ = nullptr;
  std::mutex mutex_;
  std::map<const std::byte*, Block> blocks_;
};

}  // namespace syncbn::backend::cuda
