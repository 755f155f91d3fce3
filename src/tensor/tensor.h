// A dense tensor: a shape and an element type over shared memory.
//
// Copying a Tensor copies the reference, not the elements (as in PyTorch); Reshape and Rows give
// views of the same memory. The memory goes back to where it came from (the heap, or the pool of a
// workspace) when the last view is gone. Views may be read from several threads; who writes must be
// alone. Memory is aligned to 64 bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

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

  // Over memory that somebody else frees: `memory` holds it alive.
  Tensor(Shape shape, DType dtype, std::shared_ptr<void> memory, size_t byte_offset = 0);

  bool defined() const { return memory_ != nullptr; }
  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }
  int64_t elements() const { return elements_; }
  size_t bytes() const { return static_cast<size_t>(elements_) * SizeOf(dtype_); }

  // Throws INTERNAL when T is not the element type.
  template <typename T>
  std::span<T> Span() {
    CheckType(DTypeOf<T>::kValue);
    return {reinterpret_cast<T*>(address()), static_cast<size_t>(elements_)};
  }
  template <typename T>
  std::span<const T> Span() const {
    CheckType(DTypeOf<T>::kValue);
    return {reinterpret_cast<const T*>(address()), static_cast<size_t>(elements_)};
  }
  template <typename T>
  T* Data() {
    return Span<T>().data();
  }
  template <typename T>
  const T* Data() const {
    return Span<T>().data();
  }
  std::span<std::byte> Bytes() { return {address(), bytes()}; }
  std::span<const std::byte> Bytes() const { return {address(), bytes()}; }

  // The same elements under another shape of as many elements.
  Tensor Reshape(Shape shape) const;
  // Entries [begin, end) of the first axis.
  Tensor Rows(int64_t begin, int64_t end) const;
  // Elements [begin, begin + shape.elements()) in memory order, under `shape`.
  Tensor Slice(int64_t begin, Shape shape) const;
  // A copy with memory of its own on the heap.
  Tensor Clone() const;
  // This tensor where it has the type already, else a converted copy. F32 and F64 only.
  Tensor As(DType dtype) const;
  // How many tensors share this memory.
  long use_count() const { return memory_.use_count(); }
  // Expires when the memory goes back to where it came from: for caches of what was made from it.
  std::weak_ptr<const void> weak_memory() const { return memory_; }

 private:
  void CheckType(DType wanted) const;
  std::byte* address() const { return static_cast<std::byte*>(memory_.get()) + byte_offset_; }

  Shape shape_;
  DType dtype_ = DType::kFloat32;
  int64_t elements_ = 0;
  std::shared_ptr<void> memory_;
  size_t byte_offset_ = 0;
};

// Memory of at least `bytes`, aligned to 64 bytes; large blocks ask for large pages.
std::shared_ptr<void> AllocateAligned(size_t bytes);

}  // namespace syncbn
