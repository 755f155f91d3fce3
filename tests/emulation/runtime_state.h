// What the parts of the emulated runtime share.
#pragma once

#include <cuda_runtime_api.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>

namespace syncbn::emulation {

// One recording of an event.
class Occurrence {
 public:
  void Complete();
  bool complete() const;
  void Wait() const;

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  bool complete_ = false;
};

// The error that every call gives from now on: that of the first mistake.
cudaError_t Sticky();
// What cudaGetLastError is to say on this thread, and what a call returns.
cudaError_t Failed(cudaError_t error);
void SetFault(const std::string& what);

void CountHostSynchronization();
void CountOperation();

// The order of a stream's next delay or grid.
uint64_t NextSeed();
void RestAtRandom(std::mt19937_64& random);

// That of this thread.
int CurrentDevice();

bool IsPinned(const void* memory);
// Whether all of it is in one block of device memory that is not free.
bool IsInBlock(const void* memory, size_t bytes);
// Waits for all streams of this thread's device, also those that were given up.
void WaitForAllStreams();
// Until those that were given up have done what they were given.
void AwaitGivenUpStreams();

}  // namespace syncbn::emulation

struct CUevent_st {
  int device = 0;
  std::mutex mutex;
  std::shared_ptr<syncbn::emulation::Occurrence>
      last;  // null: never recorded, which counts as complete
};

// A thread that does what it was given, in its order. Made by new; it deletes itself when it was
// given up and all is done.
struct CUstream_st {
 public:
  explicit CUstream_st(int device);
  // Gives it up: it does all that it was given, and then there is none.
  void End();
  void Give(std::function<void()> work);
  std::shared_ptr<syncbn::emulation::Occurrence> Record();
  uint64_t NextSeed();
  int device() const { return device_; }

 private:
  ~CUstream_st() = default;
  void Run();
  // Whether it has done all that it was given, and can be given no more.
  bool IsOver();

  const int device_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> work_;
  bool ending_ = false;
  std::mt19937_64 random_;
};
