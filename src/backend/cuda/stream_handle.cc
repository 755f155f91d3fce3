#include "backend/cuda/stream_handle.h"

#include <mutex>
#include <utility>
#include <vector>

#include "backend/cuda/cuda_check.h"

namespace syncbn::backend::cuda {
namespace {

// Events are made once and used again: a step records hundreds.
class EventPool {
 public:
  cudaEvent_t Take(int device) {
    {
      const std::lock_guard lock(mutex_);
      std::vector<cudaEvent_t>& free = Of(device);
      if (!free.empty()) {
        const cudaEvent_t event = free.back();
        free.pop_back();
        return event;
      }
    }
    cudaEvent_t event = nullptr;
    Check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming | cudaEventBlockingSync), device,
          "cudaEventCreate");
    return event;
  }
  void GiveBack(int device, cudaEvent_t event) {
    const std::lock_guard lock(mutex_);
    Of(device).push_back(event);
  }
  static EventPool& Instance() {
    static EventPool& pool = *new EventPool;  // the last event may go after the end of main
    return pool;
  }

 private:
  std::vector<cudaEvent_t>& Of(int device) {
    const size_t index = static_cast<size_t>(device);
    if (free_.size() <= index) free_.resize(index + 1);
    return free_[index];
  }
  std::mutex mutex_;
  std::vector<std::vector<cudaEvent_t>> free_;
};

class RecordedEvent final : public Event::State {
 public:
  RecordedEvent(int device, cudaStream_t stream)
      : device_(device), event_(EventPool::Instance().Take(device)) {
    Check(cudaEventRecord(event_, stream), device, "cudaEventRecord");
  }
  ~RecordedEvent() override { EventPool::Instance().GiveBack(device_, event_); }

  // The device is chosen before each call: a thread's first one would make a context on another.
  bool Complete() const override {
    cudaSetDevice(device_);
    const cudaError_t error = cudaEventQuery(event_);
    if (error == cudaErrorNotReady) {
      cudaGetLastError();  // so that it is not taken for the next kernel's
      return false;
    }
    Check(error, device_, "cudaEventQuery");
    return true;
  }
  void WaitOnHost() const override {
    cudaSetDevice(device_);
    Check(cudaEventSynchronize(event_), device_, "cudaEventSynchronize");
  }
  cudaEvent_t get() const { return event_; }

 private:
  const int device_;
  const cudaEvent_t event_;
};

}  // namespace

StreamHandle::StreamHandle(int device, const char* what) : device_(device), what_(what) {
  MakeCurrent();
  Check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), device_, "cudaStreamCreate");
}
// Without a check: there is nobody to tell, and after a failed kernel every call fails.
StreamHandle::~StreamHandle() {
  cudaSetDevice(device_);
  cudaStreamDestroy(stream_);
}

void StreamHandle::MakeCurrent() const {
  Check(cudaSetDevice(device_), device_, "cudaSetDevice");
}

Event StreamHandle::Record() const {
  MakeCurrent();
  return Event(std::make_shared<RecordedEvent>(device_, stream_));
}

void StreamHandle::WaitFor(const Event& event) const {
  if (event.state() == nullptr) return;
  const auto* recorded = dynamic_cast<const RecordedEvent*>(event.state());
  if (recorded == nullptr) return event.WaitOnHost();
  MakeCurrent();
  Check(cudaStreamWaitEvent(stream_, recorded->get(), 0), device_, "cudaStreamWaitEvent");
}

void StreamHandle::Synchronize() const {
  // By an event that sleeps: cudaStreamSynchronize keeps a core busy.
  Record().WaitOnHost();
}

void StreamHandle::CountAllocated(size_t bytes) {
  const size_t now = in_use_ += bytes;
  size_t peak = peak_;
  while (now > peak && !peak_.compare_exchange_weak(peak, now)) {
  }
}

}  // namespace syncbn::backend::cuda
