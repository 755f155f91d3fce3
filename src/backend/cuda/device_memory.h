// Memory of a device, from CUDA's pool, in the order of streams.
//
// A block is asked for on a stream, its home, and may be used there at once. Other streams that
// touch it are noted; when the last tensor that holds it is gone, its home waits for them, and then
// it is free for what its home is given next (and for others, as CUDA's pool sees fit). So nobody
// has to say which streams a tensor still waits for, and no host waits. What is known of a block
// lies beside the count of its references, so that finding it costs no lock and no search.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backend/cuda/stream_handle.h"
#include "tensor/tensor.h"

namespace syncbn::backend::cuda {

// Of one device. Thread-safe. Lives as long as the process.
class DeviceMemory {
 public:
  explicit DeviceMemory(int device);

  // Aligned to 256 bytes. Throws OutOfDeviceMemory, with what is wanted, held and free; before, it
  // waits until all streams have done what they were given, and asks once more.
  std::shared_ptr<void> Allocate(const std::shared_ptr<StreamHandle>& home, size_t bytes);
  // What `user` is given next touches the memory of `x`, a tensor of this device.
  void NoteUse(const Tensor& x, const std::shared_ptr<StreamHandle>& user);
  // Whether no other stream than `stream` may still touch the memory of `x`.
  bool IsOnlyOf(const Tensor& x, const StreamHandle& stream);
  // Bytes that CUDA's pool holds, in use or not.
  size_t Held() const;
  // A stream whose memory an error is to name.
  void Register(const std::shared_ptr<StreamHandle>& stream);

 private:
  class Block;
  struct Release;

  static Block& BlockOf(const Tensor& x);
  cudaError_t TryAllocate(const StreamHandle& home, size_t bytes, void** memory);
  [[noreturn]] void ThrowOutOfMemory(const StreamHandle& home, size_t bytes);
  // "replica's workspace 4 MiB (at most 12 MiB), merge stream 1 MiB (at most 1 MiB)"
  std::string Holders();

  const int device_;
  cudaMemPool_t pool_ = nullptr;
  std::mutex mutex_;
  std::vector<std::weak_ptr<StreamHandle>> streams_;  // guarded by mutex_
};

}  // namespace syncbn::backend::cuda
