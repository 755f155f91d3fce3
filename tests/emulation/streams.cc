// Streams, events and kernels of the emulated runtime.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <utility>

#include "tests/emulation/launch.h"
#include "tests/emulation/runtime.h"
#include "tests/emulation/runtime_state.h"

namespace syncbn::emulation {
namespace {

std::mutex fault_mutex;
std::string first_fault;  // guarded by fault_mutex
std::atomic<bool> has_fault{false};
std::atomic<int64_t> host_synchronizations{0}, operations{0};
std::atomic<double> delay_share{Delays{}.share};
std::atomic<int> delay_microseconds{Delays{}.microseconds};
std::atomic<int> held_device{-1};
std::atomic<int> held_queries{-1};

std::mutex streams_mutex;
std::set<CUstream_st*> streams;  // also given up, until it is over; guarded by streams_mutex
std::condition_variable one_is_over;
int given_up = 0;  // of those; guarded by streams_mutex
// The program ends when they have.
struct AtEnd {
  ~AtEnd() { AwaitGivenUpStreams(); }
} at_end;
std::atomic<uint64_t> streams_made{0};

// SYNCBN_EMULATION_SEED=N: other delays and other orders of threads and blocks.
uint64_t FirstSeed() {
  const char* text = std::getenv("SYNCBN_EMULATION_SEED");
  return text == nullptr ? 1 : std::strtoull(text, nullptr, 10);
}

}  // namespace

void Occurrence::Complete() {
  const std::lock_guard lock(mutex_);
  complete_ = true;
  changed_.notify_all();
}
bool Occurrence::complete() const {
  const std::lock_guard lock(mutex_);
  return complete_;
}
void Occurrence::Wait() const {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return complete_; });
}

thread_local cudaError_t last_error = cudaSuccess;
cudaError_t Failed(cudaError_t error) {
  last_error = error;
  return error;
}
cudaError_t Sticky() {
  return has_fault ? cudaErrorLaunchFailure : cudaSuccess;
}
void SetFault(const std::string& what) {
  const std::lock_guard lock(fault_mutex);
  if (has_fault) return;
  first_fault = what;
  has_fault = true;
  std::fprintf(stderr, "emulated device: %s\n", what.c_str());
}
std::string FirstFault() {
  const std::lock_guard lock(fault_mutex);
  return first_fault;
}
void ForgetFault() {
  const std::lock_guard lock(fault_mutex);
  first_fault.clear();
  has_fault = false;
}
void SetDelays(Delays delays) {
  delay_share = delays.share;
  delay_microseconds = delays.microseconds;
}
void HoldDevice(int device) {
  held_device = device;
}
void HoldQueries(int device) {
  held_queries = device;
}
int64_t HostSynchronizations() {
  return host_synchronizations;
}
void CountHostSynchronization() {
  ++host_synchronizations;
}
int64_t OperationsGiven() {
  return operations;
}
void CountOperation() {
  ++operations;
}

void RestAtRandom(std::mt19937_64& random) {
  const double drawn = static_cast<double>(random() >> 11) / static_cast<double>(uint64_t{1} << 53);
  const int most = delay_microseconds;
  if (drawn >= delay_share || most <= 0) return;
  std::this_thread::sleep_for(std::chrono::microseconds(random() % static_cast<uint64_t>(most)));
}

void WaitForAllStreams() {
  std::vector<std::shared_ptr<Occurrence>> points;
  {
    const std::lock_guard lock(streams_mutex);
    for (CUstream_st* stream : streams) {
      if (stream->device() == CurrentDevice()) points.push_back(stream->Record());
    }
  }
  for (const auto& point : points) point->Wait();
}

void AwaitGivenUpStreams() {
  std::unique_lock lock(streams_mutex);
  one_is_over.wait(lock, [] { return given_up == 0; });
}

void LaunchGrid(cudaStream_t stream, const Grid& grid, std::function<void()> kernel) {
  CountOperation();
  if (stream->device() != CurrentDevice()) {
    return SetFault("kernel " + std::string(grid.name) + " is launched on a stream of device " +
                    std::to_string(stream->device()) + ", and device " +
                    std::to_string(CurrentDevice()) + " is the current one");
  }
  stream->Give([stream, grid, kernel = std::move(kernel)] {
    if (has_fault) return;
    try {
      const Traffic traffic = RunGrid(grid, kernel, stream->NextSeed());
      const int64_t moved = traffic.loaded + traffic.stored;
      const int64_t slack = grid.bytes / 10 + 64;
      if (moved > grid.bytes + slack || moved < grid.bytes - slack) {
        SetFault("kernel " + std::string(grid.name) + " moved " + std::to_string(moved) +
                 " bytes (" + std::to_string(traffic.loaded) + " loaded), and says " +
                 std::to_string(grid.bytes));
      }
    } catch (const KernelFault& fault) {
      SetFault(fault.what());
    }
  });
}

}  // namespace syncbn::emulation

using namespace syncbn::emulation;  // NOLINT: what follows has the names of another library

CUstream_st::CUstream_st(int device)
    : device_(device), random_(FirstSeed() * 1000003 + ++streams_made) {
  {
    const std::lock_guard lock(streams_mutex);
    streams.insert(this);
  }
  std::thread([this] { Run(); }).detach();
}

void CUstream_st::End() {
  const std::lock_guard all(streams_mutex);
  ++given_up;
  const std::lock_guard lock(mutex_);
  ending_ = true;
  changed_.notify_all();
}

void CUstream_st::Give(std::function<void()> work) {
  const std::lock_guard lock(mutex_);
  work_.push_back(std::move(work));
  changed_.notify_all();
}

std::shared_ptr<Occurrence> CUstream_st::Record() {
  auto point = std::make_shared<Occurrence>();
  Give([point] { point->Complete(); });
  return point;
}

uint64_t CUstream_st::NextSeed() {
  return random_();
}

bool CUstream_st::IsOver() {
  // Both: who waits for all streams gives each something.
  const std::lock_guard all(streams_mutex);
  const std::lock_guard lock(mutex_);
  if (!work_.empty()) return false;
  streams.erase(this);
  --given_up;
  one_is_over.notify_all();
  return true;
}

void CUstream_st::Run() {
  while (true) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return ending_ || !work_.empty(); });
    if (work_.empty()) {
      lock.unlock();
      if (!IsOver()) continue;
      delete this;
      return;
    }
    const std::function<void()> next = std::move(work_.front());
    work_.pop_front();
    lock.unlock();
    RestAtRandom(random_);
    while (held_device == device_) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    next();
  }
}

// -- CUDA's names
// -----------------------------------------------------------------------------------------------
const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorDevicesUnavailable:
      return "cudaErrorDevicesUnavailable";
    case cudaErrorIllegalAddress:
      return "cudaErrorIllegalAddress";
    case cudaErrorSystemNotReady:
      return "cudaErrorSystemNotReady";
    case cudaErrorInvalidResourceHandle:
      return "cudaErrorInvalidResourceHandle";
    case cudaErrorNotReady:
      return "cudaErrorNotReady";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
  }
  return "unknown";
}
const char* cudaGetErrorString(cudaError_t error) {
  if (error != cudaErrorLaunchFailure) return cudaGetErrorName(error);
  const std::lock_guard lock(fault_mutex);
  return first_fault.c_str();
}
cudaError_t cudaGetLastError() {
  const cudaError_t last = std::exchange(last_error, cudaSuccess);
  return Sticky() != cudaSuccess ? Sticky() : last;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new CUstream_st(CurrentDevice());
  return Sticky();
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  stream->End();
  return Sticky();
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  CountHostSynchronization();
  stream->Record()->Wait();
  return Sticky();
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  if (Sticky() != cudaSuccess) return Sticky();
  return stream->Record()->complete() ? cudaSuccess : Failed(cudaErrorNotReady);
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  std::shared_ptr<Occurrence> point;
  {
    const std::lock_guard lock(event->mutex);
    point = event->last;
  }
  if (point != nullptr) stream->Give([point] { point->Wait(); });
  return Sticky();
}
cudaError_t cudaDeviceSynchronize() {
  CountHostSynchronization();
  WaitForAllStreams();
  return Sticky();
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st{.device = CurrentDevice(), .mutex = {}, .last = nullptr};
  return Sticky();
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return Sticky();
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (event->device != stream->device()) return Failed(cudaErrorInvalidResourceHandle);
  std::shared_ptr<Occurrence> point = stream->Record();
  const std::lock_guard lock(event->mutex);
  event->last = std::move(point);
  return Sticky();
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  while (held_queries == CurrentDevice()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  const std::lock_guard lock(event->mutex);
  if (Sticky() != cudaSuccess) return Sticky();
  return event->last == nullptr || event->last->complete() ? cudaSuccess
                                                           : Failed(cudaErrorNotReady);
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  CountHostSynchronization();
  std::shared_ptr<Occurrence> point;
  {
    const std::lock_guard lock(event->mutex);
    point = event->last;
  }
  if (point != nullptr) point->Wait();
  return Sticky();
}
