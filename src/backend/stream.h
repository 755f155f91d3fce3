// Work that a device does in the order in which it is given, and a pool of its memory.
//
// An operation is given, not done, when its function returns: what follows on the same stream is behind it,
// who works on another stream waits for an event, and the host looks at results through Tensor::OnHost or
// behind Event::WaitOnHost. On the host itself a stream is the calling thread, and everything is done at once.
#pragma once

#include <span>

#include "backend/event.h"
#include "tensor/tensor.h"

namespace syncbn::backend {

class Stream {
 public:
  virtual ~Stream() = default;

  virtual const Device& device() const = 0;

  // Uninitialized memory of the device, from the pool. It goes back there with its last reference, from any
  // thread; whoever takes it next waits for what streams still do with it.
  virtual Tensor New(Shape shape, DType dtype) = 0;
  // Memory of the host to which, and from which, Copy need not stop the host.
  virtual Tensor NewOnHost(Shape shape, DType dtype) = 0;

  // The point behind all that was given so far.
  virtual Event Record() = 0;
  // What is given from here on is done after the event.
  virtual void WaitFor(const Event& event) = 0;
  // Sleeps until all is done.
  virtual void Synchronize() = 0;

  // Sets all bytes to 0, in one operation for all of them.
  virtual void Zero(std::span<Tensor> tensors) = 0;
  void Zero(Tensor& x) { Zero(std::span(&x, 1)); }
  // Sets all elements, F32 or F64.
  virtual void Fill(Tensor& x, double value) = 0;
  // Equal types and numbers of elements. Either may be the host's: a source there may change once Copy has
  // returned, a target there is complete behind an event that is recorded later.
  virtual void Copy(const Tensor& from, Tensor& to) = 0;
  // A tensor from NewOnHost on the device; itself where it lives there. The device may read it
  // until an event is complete that is recorded later, and it is held until then: whoever has it
  // must not write to it before, and may give it up at once.
  virtual Tensor Upload(const Tensor& x) { return ToDevice(x, x.dtype()); }

  // -- Made of these --------------------------------------------------------------------------------
  Tensor NewZeros(Shape shape, DType dtype) {
    Tensor x = New(shape, dtype);
    Zero(x);
    return x;
  }
  // A copy with memory of its own.
  Tensor Clone(const Tensor& x) {
    Tensor copy = New(x.shape(), x.dtype());
    Copy(x, copy);
    return copy;
  }
  // A tensor of the host, in this type (F32 and F64 are converted) on the device: itself where it is that.
  Tensor ToDevice(const Tensor& x, DType dtype) {
    const Tensor converted = x.As(dtype);
    return &device() == &converted.device() ? converted : Clone(converted);
  }
};

}  // namespace syncbn::backend
