// A stream of the host: the calling thread. Everything is done when it is given; an event is complete.
#pragma once

#include <algorithm>
#include <cstring>

#include "backend/stream.h"
#include "base/check.h"

namespace syncbn::backend::host {

// Base is Stream or what is derived from it.
template <typename Base>
class HostStream : public Base {
 public:
  const Device& device() const override { return Device::Host(); }
  Tensor NewOnHost(Shape shape, DType dtype) override { return Tensor(shape, dtype); }

  Event Record() override { return {}; }
  void WaitFor(const Event& event) override { event.WaitOnHost(); }
  void Synchronize() override {}

  using Base::Zero;
  void Zero(std::span<Tensor> tensors) override {
    for (Tensor& x : tensors) {
      if (x.elements() > 0) std::memset(x.Bytes().data(), 0, x.bytes());
    }
  }
  void Fill(Tensor& x, double value) override {
    if (x.dtype() == DType::kFloat64) {
      std::ranges::fill(x.Span<double>(), value);
    } else {
      std::ranges::fill(x.Span<float>(), static_cast<float>(value));
    }
  }
  void Copy(const Tensor& from, Tensor& to) override {
    SYNCBN_CHECK_EQ(from.dtype(), to.dtype()) << "copy of " << from.shape();
    SYNCBN_CHECK_EQ(from.elements(), to.elements()) << "copy of " << from.shape();
    if (from.elements() > 0) std::memcpy(to.Bytes().data(), from.Bytes().data(), from.bytes());
  }
};

}  // namespace syncbn::backend::host
