// The stream of a GPU: what every executor and merge stream of it does with memory, copies and
// order.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <type_traits>
#include <utility>

#include "backend/cuda/cuda_check.h"
#include "backend/cuda/cuda_device.h"
#include "backend/cuda/stream_handle.h"
#include "backend/executor.h"
#include "backend/merge_stream.h"
#include "backend/stream.h"
#include "base/check.h"

namespace syncbn::backend::cuda {

// Thread-safe.
class StreamCore {
 public:
  StreamCore(const CudaDevice& device, const char* what);
  ~StreamCore();  // waits for copies that still need memory of the host

  const CudaDevice& device() const { return device_; }
  StreamHandle& handle() const { return *handle_; }

  Tensor New(Shape shape, DType dtype);
  Tensor NewOnHost(Shape shape, DType dtype);
  void Zero(std::span<Tensor> tensors);
  void Fill(Tensor& x, double value);
  void Copy(const Tensor& from, Tensor& to);
  Tensor Upload(const Tensor& x);

  // The address of a tensor's elements for an operation that this stream is given; null for an
  // undefined one. Throws INTERNAL where the tensor is of another device or type.
  template <typename T>
  T* Address(const Tensor& x) {
    if (!x.defined()) return nullptr;
    SYNCBN_CHECK_EQ(x.dtype(), DTypeOf<T>::kValue) << "element type of a tensor " << x.shape();
    return static_cast<T*>(AnyAddress(x));
  }
  void* AnyAddress(const Tensor& x);
  // Whether an operation of this stream may write over `x`, which its caller was given: nobody else
  // holds it, and no other stream may still read it.
  bool MayOverwrite(const Tensor& x) const {
    return x.use_count() == 1 && device_.memory().IsOnlyOf(x, *handle_);
  }

  // What launch(cudaStream_t) gives the stream; errors name `what`.
  template <typename Launch>
  void Run(const char* what, const Launch& launch) {
    handle_->MakeCurrent();
    launch(handle_->get());
    Check(cudaGetLastError(), handle_->device(), what);
  }
  // A tensor of the host that copies of this stream read until now.
  void KeepOnHost(Tensor x);

 private:
  // The pinned memory of `from` to the device.
  void Send(const Tensor& from, const Tensor& to);

  const CudaDevice& device_;
  const std::shared_ptr<StreamHandle> handle_;
  std::mutex mutex_;
  std::deque<std::pair<Event, Tensor>> kept_;  // guarded by mutex_
};

// Base is Executor, MergeStream, or Stream for copies alone.
template <typename Base>
class CudaStream : public Base {
 public:
  explicit CudaStream(const CudaDevice& device)
      : core_(device, std::is_same_v<Base, Executor>      ? "replica's workspace"
                      : std::is_same_v<Base, MergeStream> ? "merge stream"
                                                          : "copy stream") {}

  const Device& device() const final { return core_.device(); }
  Tensor New(Shape shape, DType dtype) final { return core_.New(shape, dtype); }
  Tensor NewOnHost(Shape shape, DType dtype) final { return core_.NewOnHost(shape, dtype); }
  Event Record() final { return core_.handle().Record(); }
  void WaitFor(const Event& event) final { core_.handle().WaitFor(event); }
  void Synchronize() final { core_.handle().Synchronize(); }
  using Base::Zero;
  void Zero(std::span<Tensor> tensors) final { core_.Zero(tensors); }
  void Fill(Tensor& x, double value) final { core_.Fill(x, value); }
  void Copy(const Tensor& from, Tensor& to) final { core_.Copy(from, to); }
  Tensor Upload(const Tensor& x) final { return core_.Upload(x); }

 protected:
  StreamCore& core() { return core_; }
  const StreamCore& core() const { return core_; }
  template <typename T>
  const T* In(const Tensor& x) {
    return core_.template Address<T>(x);
  }
  template <typename T>
  T* Out(const Tensor& x) {
    return core_.template Address<T>(x);
  }
  template <typename Launch>
  void Run(const char* what, const Launch& launch) {
    core_.Run(what, launch);
  }

 private:
  StreamCore core_;
};

}  // namespace syncbn::backend::cuda
