// The stream of a checked device: that of the host, on memory with two addresses, in an order that is checked.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "backend/checked/checked_memory.h"
#include "backend/checked/stream_order.h"
#include "backend/stream.h"

namespace syncbn::backend::checked {

// Base is Executor or MergeStream.
template <typename Base>
class CheckedStream : public Base {
 public:
  explicit CheckedStream(std::unique_ptr<Base> inner) : inner_(std::move(inner)) {}

  const Device& device() const override { return CheckedDevice(); }
  Tensor New(Shape shape, DType dtype) override { return Result(inner_->New(shape, dtype)); }
  Tensor NewOnHost(Shape shape, DType dtype) override { return inner_->NewOnHost(shape, dtype); }
  Event Record() override { return order_.Record(); }
  void WaitFor(const Event& event) override { order_.WaitFor(event); }
  void Synchronize() override { order_.WaitOnHost(); }

  using Base::Zero;
  void Zero(std::span<Tensor> tensors) override {
    std::vector<Tensor> inside = AllWritten(tensors);
    inner_->Zero(inside);
  }
  void Fill(Tensor& x, double value) override {
    Tensor inside = Written(x);
    inner_->Fill(inside, value);
  }
  void Copy(const Tensor& from, Tensor& to) override {
    if (from.on_host()) order_.ReadOnHost(from);
    const Tensor source = from.on_host() ? from : Read(from);
    if (to.on_host()) {
      Tensor bytes(to.shape(), to.dtype());
      inner_->Copy(source, bytes);
      order_.WriteOnHost(to, std::move(bytes));
    } else {
      Tensor target = Written(to);
      inner_->Copy(source, target);
    }
  }

 protected:
  Base& inner() { return *inner_; }
  const Base& inner() const { return *inner_; }

  // A tensor as the operation inside sees it, which reads it; writes to it; has made it.
  Tensor Read(Tensor x) {
    CheckIsOfDevice(x);
    order_.Read(x);
    return Inside(std::move(x));
  }
  Tensor Written(Tensor x) {
    CheckIsOfDevice(x);
    order_.Write(x);
    return Inside(std::move(x));
  }
  Tensor Result(Tensor x) { return Result(std::move(x), nullptr); }
  // Of an operation that may write its result over the operand that lay at `operand`.
  Tensor Result(Tensor x, const std::byte* operand) {
    Tensor outside = Outside(std::move(x));
    if (outside.defined() && outside.DeviceAddress() == operand) {
      order_.Write(outside);
    } else {
      order_.Own(outside);
    }
    return outside;
  }
  std::vector<Tensor> AllRead(std::span<const Tensor> tensors) {
    std::vector<Tensor> inside;
    for (const Tensor& x : tensors) inside.push_back(Read(x));
    return inside;
  }
  std::vector<Tensor> AllWritten(std::span<const Tensor> tensors) {
    std::vector<Tensor> inside;
    for (const Tensor& x : tensors) inside.push_back(Written(x));
    return inside;
  }

 private:
  const std::unique_ptr<Base> inner_;
  StreamOrder order_;
};

}  // namespace syncbn::backend::checked
