// Streams and events of CUDA as objects that end by themselves.
#pragma once

#include <cuda_runtime_api.h>

#include <atomic>
#include <cstddef>
#include <memory>
#include <string_view>

#include "backend/event.h"

namespace syncbn::backend::cuda {

// A stream that is ordered with no other but by events. Thread-safe, as CUDA's streams are. Lives
// as long as anything that must be ordered with it.
class StreamHandle {
 public:
  // `what` it is, for messages: "merge stream".
  StreamHandle(int device, const char* what);
  ~StreamHandle();
  StreamHandle(const StreamHandle&) = delete;
  StreamHandle& operator=(const StreamHandle&) = delete;

  int device() const { return device_; }
  std::string_view what() const { return what_; }
  cudaStream_t get() const { return stream_; }

  // Makes this thread's calls those of the stream's device.
  void MakeCurrent() const;
  Event Record() const;
  // An event that is not of CUDA is waited for by the host.
  void WaitFor(const Event& event) const;
  void Synchronize() const;

  // Bytes of memory that was asked for on this stream and is not given back, and the most there
  // ever were.
  void CountAllocated(size_t bytes);
  void CountFreed(size_t bytes) { in_use_ -= bytes; }
  size_t in_use() const { return in_use_; }
  size_t peak() const { return peak_; }

 private:
  const int device_;
  const std::string_view what_;
  cudaStream_t stream_ = nullptr;
  std::atomic<size_t> in_use_{0}, peak_{0};
};

}  // namespace syncbn::backend::cuda
