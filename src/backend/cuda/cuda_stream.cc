#include "backend/cuda/cuda_stream.h"

#include <cstring>
#include <exception>

#include "backend/cuda/kernels/elementwise.h"
#include "backend/cuda/pinned_memory.h"

namespace syncbn::backend::cuda {

StreamCore::StreamCore(const CudaDevice& device, const char* what)
    : device_(device), handle_(std::make_shared<StreamHandle>(device.ordinal(), what)) {
  device_.memory().Register(handle_);
}

StreamCore::~StreamCore() {
  try {
    if (!kept_.empty()) handle_->Synchronize();
  } catch (const std::exception&) {
    // A kernel has failed, which its caller was told.
  }
}

Tensor StreamCore::New(Shape shape, DType dtype) {
  const size_t bytes = static_cast<size_t>(shape.elements()) * SizeOf(dtype);
  return Tensor(shape, dtype, device_.memory().Allocate(handle_, bytes), 0, device_);
}

Tensor StreamCore::NewOnHost(Shape shape, DType dtype) {
  const size_t bytes = static_cast<size_t>(shape.elements()) * SizeOf(dtype);
  return Tensor(shape, dtype, AllocatePinned(handle_->device(), bytes));
}

void* StreamCore::AnyAddress(const Tensor& x) {
  SYNCBN_CHECK(&x.device() == &device_)
      << "a tensor " << x.shape() << " of device " << x.device().name() << " in an operation of "
      << device_.name();
  device_.memory().NoteUse(x, handle_);
  return x.DeviceAddress();
}

void StreamCore::Zero(std::span<Tensor> tensors) {
  handle_->MakeCurrent();
  for (Tensor& x : tensors) {
    if (x.elements() == 0) continue;
    Check(cudaMemsetAsync(AnyAddress(x), 0, x.bytes(), handle_->get()), handle_->device(),
          "cudaMemsetAsync");
  }
}

void StreamCore::Fill(Tensor& x, double value) {
  if (x.dtype() == DType::kFloat64) {
    double* const to = Address<double>(x);
    Run("fill", [&](cudaStream_t stream) { kernels::Fill(stream, to, x.elements(), value); });
  } else if (x.dtype() == DType::kBFloat16) {
    BFloat16* const to = Address<BFloat16>(x);
    Run("fill", [&](cudaStream_t stream) {
      kernels::Fill(stream, to, x.elements(), BFloat16(static_cast<float>(value)));
    });
  } else {
    float* const to = Address<float>(x);
    Run("fill", [&](cudaStream_t stream) {
      kernels::Fill(stream, to, x.elements(), static_cast<float>(value));
    });
  }
}

void StreamCore::KeepOnHost(Tensor x) {
  Event done = handle_->Record();
  const std::lock_guard lock(mutex_);
  kept_.emplace_back(std::move(done), std::move(x));
  while (kept_.size() > 1 && kept_.front().first.Complete()) kept_.pop_front();
}

void StreamCore::Send(const Tensor& from, const Tensor& to) {
  handle_->MakeCurrent();
  Check(cudaMemcpyAsync(AnyAddress(to), from.DeviceAddress(), from.bytes(), cudaMemcpyHostToDevice,
                        handle_->get()),
        handle_->device(), "copy to the device");
  KeepOnHost(from);
}

Tensor StreamCore::Upload(const Tensor& x) {
  if (!x.on_host()) {
    AnyAddress(x);  // it is of this device
    return x;
  }
  Tensor there = New(x.shape(), x.dtype());
  if (x.elements() > 0) Send(x, there);
  return there;
}

void StreamCore::Copy(const Tensor& from, Tensor& to) {
  SYNCBN_CHECK_EQ(from.dtype(), to.dtype()) << "copy of " << from.shape();
  SYNCBN_CHECK_EQ(from.elements(), to.elements()) << "copy of " << from.shape();
  if (from.elements() == 0) return;
  if (from.on_host() && to.on_host()) {
    std::memcpy(to.DeviceAddress(), from.DeviceAddress(), from.bytes());
    return;
  }
  handle_->MakeCurrent();
  const auto copy = [&](const void* source, void* target, cudaMemcpyKind kind, const char* what) {
    Check(cudaMemcpyAsync(target, source, from.bytes(), kind, handle_->get()), handle_->device(),
          what);
  };
  if (from.on_host()) {
    // Through pinned memory of its own, whatever it is: the source may change once this has
    // returned.
    Tensor staged = NewOnHost(from.shape(), from.dtype());
    std::memcpy(staged.DeviceAddress(), from.DeviceAddress(), from.bytes());
    Send(staged, to);
  } else if (to.on_host()) {
    copy(AnyAddress(from), to.DeviceAddress(), cudaMemcpyDeviceToHost, "copy to the host");
    KeepOnHost(to);
  } else {
    copy(AnyAddress(from), AnyAddress(to), cudaMemcpyDeviceToDevice, "copy");
  }
}

}  // namespace syncbn::backend::cuda
