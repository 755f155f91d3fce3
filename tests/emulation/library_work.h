// What the emulated libraries of NVIDIA have in common.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tensor/bfloat16.h"
#include "tests/emulation/runtime_state.h"
#include "tests/emulation/tf32.h"

namespace syncbn::emulation {

// Gives the stream what a library computes. It is not done where the device has failed by then.
inline void GiveWork(cudaStream_t stream, std::function<void()> work) {
  CountOperation();
  if (stream->device() != CurrentDevice()) {
    return SetFault("a library is called with a handle of device " +
                    std::to_string(stream->device()) + ", and device " +
                    std::to_string(CurrentDevice()) + " is the current one");
  }
  stream->Give([work = std::move(work)] {
    if (Sticky() == cudaSuccess) work();
  });
}

// Factors as they are multiplied.
struct Rounding {
  bool tf32 = false;

  float Of(float value) const { return tf32 ? RoundToTf32(value) : value; }
  float Of(BFloat16 value) const { return static_cast<float>(value); }
};

// Sums of products, which become results when all is added.
template <typename Sum, typename T>
class Sums {
 public:
  Sums(T* results, int64_t elements) : results_(results), sums_(static_cast<size_t>(elements), 0) {}
  ~Sums() {
    for (size_t i = 0; i < sums_.size(); ++i) results_[i] = T(static_cast<float>(sums_[i]));
  }
  void Add(int64_t i, float a, float b) {
    sums_[static_cast<size_t>(i)] += static_cast<Sum>(a) * static_cast<Sum>(b);
  }

 private:
  T* const results_;
  std::vector<Sum> sums_;
};

}  // namespace syncbn::emulation
