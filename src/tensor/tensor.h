// A dense tensor: a shape and an element type over shared memory.
//
// Copying a Tensor copies the reference, not the elements (as in PyTorch); Reshape and Rows give
// views of the same memory. The memory goes back to where it came from (the heap, or the pool of a
// workspace) when the last view is gone. Views may be read from several threads; who writes must be
// alone. Memory is aligned to 64 bytes.
//
// A tensor knows the device it lives on. Elements and bytes are there for those of the host only: to ask
// for those of another device is INTERNAL. OnHost is the one way out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace syncbn {

class Tensor {
 public:
  // No memory; defined() is false.
  Tensor() = default;

  // Uninitialized elements on the heap. A shape with no elements is allowed.
  Tensor(Shape shape, DType dtype);
  static Tensor Zeros(Shape shape, DType dtype);

  // Over memory that somebody else frees: `memory` holds it alive, and is its address on the device.
  Tensor(Shape shape, DType dtype, std::shared_ptr<void> memory, size_t byte_offset = 0,
         const Device& device = Device::Host());

  bool defined() const { return memory_ != nullptr; }
  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }
  int64_t elements() const { return elements_; }
  size_t bytes() const { return static_cast<size_t>(elements_) * SizeOf(dtype_); }
  const Device& device() const { return device_ == nullptr ? Device::Host() : *device_; }
  bool on_host() const { return device_ == nullptr; }
  // This tensor where it lives on the host, else a copy, for which it waits until all that the device was
  // given before is done: for files, digests, observers, and figures that the host decides by.
  Tensor OnHost() const;

  // Throws INTERNAL when T is not the element type, or the tensor is not on the host.
  template <typename T>
  std::span<T> Span() {
    CheckType(DTypeOf<T>::kValue);
    return {reinterpret_cast<T*>(DeviceAddress()), static_cast<size_t>(elements_)};
  }
  template <typename T>
  std::span<const T> Span() const {
    CheckType(DTypeOf<T>::kValue);
    return {reinterpret_cast<const T*>(DeviceAddress()), static_cast<size_t>(elements_)};
  }
  template <typename T>
  T* Data() {
    return Span<T>().data();
  }
  template <typename T>
  const T* Data() const {
    return Span<T>().data();
  }
  std::span<std::byte> Bytes() {
    CheckOnHost();
    return {DeviceAddress(), bytes()};
  }
  std::span<const std::byte> Bytes() const {
    CheckOnHost();
    return {DeviceAddress(), bytes()};
  }

  // The same elements under another shape of as many elements.
  Tensor Reshape(Shape shape) const;
  // Entries [begin, end) of the first axis.
  Tensor Rows(int64_t begin, int64_t end) const;
  // Elements [begin, begin + shape.elements()) in memory order, under `shape`.
  Tensor Slice(int64_t begin, Shape shape) const;
  // The same bytes as elements of another type.
  Tensor Viewed(Shape shape, DType dtype) const;
  // A copy with memory of its own on the heap. Of the host's tensors only.
  Tensor Clone() const;
  // This tensor where it has the type already, else a converted copy, between F32, F64 and BF16
  // (which F64 becomes by way of F32), on the host.
  Tensor As(DType dtype) const;
  // How many tensors share this memory.
  long use_count() const { return memory_.use_count(); }
  // Expires when the memory goes back to where it came from: for caches of what was made from it.
  std::weak_ptr<const void> weak_memory() const { return memory_; }

  // -- For back ends --------------------------------------------------------------------------------
  // Where it lies, in the address space of its device: only for that device's operations.
  std::byte* DeviceAddress() const {
    return static_cast<std::byte*>(memory_.get()) + byte_offset_;
  }
  // The same memory as another device sees it: `shift` bytes further. Gives up this view.
  Tensor Mapped(const Device& device, ptrdiff_t shift) &&;

 private:
  void CheckType(DType wanted) const {
    CheckOnHost();
    if (dtype_ != wanted) ThrowWrongType(wanted);
  }
  void CheckOnHost() const {
    if (device_ != nullptr) ThrowNotOnHost();
  }
  [[noreturn]] void ThrowWrongType(DType wanted) const;
  [[noreturn]] void ThrowNotOnHost() const;

  Shape shape_;
  DType dtype_ = DType::kFloat32;
  int64_t elements_ = 0;
  std::shared_ptr<void> memory_;
  size_t byte_offset_ = 0;
  const Device* device_ = nullptr;  // null: the host
};

// Memory of at least `bytes`, aligned to 64 bytes; large blocks ask for large pages.
std::shared_ptr<void> AllocateAligned(size_t bytes);

}  // namespace syncbn
