// How a kernel over elements is laid out: 16 bytes a thread where addresses allow, single elements
// for what is left.
#pragma once

#include <cstdint>

#include "kernel_language.h"

namespace syncbn::backend::cuda::kernels {

inline constexpr int kEachThreads = 256;

inline int64_t CeilDiv(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// All addresses are multiples of 16 bytes.
template <typename... T>
bool Aligned16(const T*... addresses) {
  return ((reinterpret_cast<uintptr_t>(addresses) % 16 == 0) && ...);
}

// Calls body.template At<N>(i) for elements i .. i + N - 1: N = kWidth for whole vectors, 1 for the
// rest. Every element is in one call.
template <typename Body, int kWidth>
struct EachKernel {
  static constexpr bool kCooperative = false;
  static constexpr int kMostThreads = kEachThreads;
  Body body;
  int64_t elements;

  SYNCBN_DEVICE void operator()() const {
    const int64_t vectors = elements / kWidth;
    const int64_t i = GlobalThread();
    if (i < vectors) {
      body.template At<kWidth>(i * kWidth);
    } else if (kWidth > 1) {
      const int64_t rest = vectors * kWidth + (i - vectors);
      if (rest < elements) body.template At<1>(rest);
    }
  }
};

// kWidth is used where `aligned`, 1 otherwise. `bytes`: read and written by all of it.
template <int kWidth, typename Body>
void LaunchEachMoving(cudaStream_t stream, const char* name, int64_t elements, int64_t bytes,
                      bool aligned, const Body& body) {
  if (elements == 0) return;
  const int64_t threads = aligned ? elements / kWidth + elements % kWidth : elements;
  const LaunchShape shape{.name = name,
                          .blocks = CeilDiv(threads, kEachThreads),
                          .threads = kEachThreads,
                          .bytes = bytes};
  if (aligned) {
    Launch(stream, shape, EachKernel<Body, kWidth>{body, elements});
  } else {
    Launch(stream, shape, EachKernel<Body, 1>{body, elements});
  }
}

// `bytes`: read and written for each element.
template <int kWidth, typename Body>
void LaunchEach(cudaStream_t stream, const char* name, int64_t elements, int64_t bytes,
                bool aligned, const Body& body) {
  LaunchEachMoving<kWidth>(stream, name, elements, elements * bytes, aligned, body);
}

}  // namespace syncbn::backend::cuda::kernels
