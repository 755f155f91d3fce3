#include "tensor/tensor.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

#include "base/check.h"
#include "base/unknown_value.h"

namespace syncbn {

size_t SizeOf(DType dtype) {
  switch (dtype) {
    case DType::kFloat32: return 4;
    case DType::kFloat64: return 8;
    case DType::kInt32: return 4;
    case DType::kInt64: return 8;
    case DType::kUint8: return 1;
    case DType::kBFloat16:
      return 2;
  }
  ThrowUnknownValue("element type", static_cast<int>(dtype));
}

std::string_view DTypeName(DType dtype) {
  switch (dtype) {
    case DType::kFloat32: return "F32";
    case DType::kFloat64: return "F64";
    case DType::kInt32: return "I32";
    case DType::kInt64: return "I64";
    case DType::kUint8: return "U8";
    case DType::kBFloat16:
      return "BF16";
  }
  return "?";
}

namespace {

// What with(element) gives for an element of this type.
template <typename With>
Tensor ForFloating(DType dtype, const With& with) {
  switch (dtype) {
    case DType::kFloat32:
      return with(float());
    case DType::kFloat64:
      return with(double());
    case DType::kBFloat16:
      return with(BFloat16());
    case DType::kInt32:
    case DType::kInt64:
    case DType::kUint8:
      break;
  }
  SYNCBN_CHECK(false) << "conversion of elements " << dtype;
  std::abort();
}

template <typename To, typename From>
To Converted(From value) {
  if constexpr (std::is_same_v<From, BFloat16> || std::is_same_v<To, BFloat16>) {
    return static_cast<To>(static_cast<float>(value));
  } else {
    return static_cast<To>(value);
  }
}

}  // namespace

std::ostream& operator<<(std::ostream& out, DType dtype) { return out << DTypeName(dtype); }

std::shared_ptr<void> AllocateAligned(size_t bytes) {
  constexpr size_t kAlignment = 64, kLargePage = size_t{2} << 20;
  const bool large = bytes >= kLargePage;
  const size_t alignment = large ? kLargePage : kAlignment;
  const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, rounded == 0 ? alignment : rounded);
  if (memory == nullptr) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
  if (large) ::madvise(memory, rounded, MADV_HUGEPAGE);  // a hint: failure costs speed only
#endif
  return {memory, std::free};
}

Tensor::Tensor(Shape shape, DType dtype)
    : Tensor(shape, dtype, AllocateAligned(static_cast<size_t>(shape.elements()) * SizeOf(dtype))) {}

Tensor::Tensor(Shape shape, DType dtype, std::shared_ptr<void> memory, size_t byte_offset,
               const Device& device)
    : shape_(shape),
      dtype_(dtype),
      elements_(shape.elements()),
      memory_(std::move(memory)),
      byte_offset_(byte_offset),
      device_(&device == &Device::Host() ? nullptr : &device) {}

Tensor Tensor::Zeros(Shape shape, DType dtype) {
  Tensor result(shape, dtype);
  std::memset(result.DeviceAddress(), 0, result.bytes());
  return result;
}

Tensor Tensor::OnHost() const {
  if (on_host()) return *this;
  Tensor copy(shape_, dtype_);
  if (elements_ > 0) device_->CopyToHost(DeviceAddress(), copy.DeviceAddress(), bytes());
  return copy;
}

Tensor Tensor::Reshape(Shape shape) const {
  SYNCBN_CHECK_EQ(shape.elements(), elements_) << "reshape of " << shape_ << " to " << shape;
  return Tensor(shape, dtype_, memory_, byte_offset_, device());
}

Tensor Tensor::Rows(int64_t begin, int64_t end) const {
  SYNCBN_CHECK(0 <= begin && begin <= end && end <= shape_[0])
      << "rows [" << begin << ", " << end << ") of " << shape_;
  const int64_t stride = shape_[0] == 0 ? 0 : elements_ / shape_[0];
  return Slice(begin * stride, shape_.WithLeading(end - begin));
}

Tensor Tensor::Slice(int64_t begin, Shape shape) const {
  SYNCBN_CHECK(begin >= 0 && begin + shape.elements() <= elements_)
      << "slice at " << begin << " of " << shape << " from " << shape_;
  return Tensor(shape, dtype_, memory_, byte_offset_ + static_cast<size_t>(begin) * SizeOf(dtype_),
                device());
}

Tensor Tensor::Viewed(Shape shape, DType dtype) const {
  SYNCBN_CHECK_EQ(static_cast<size_t>(shape.elements()) * SizeOf(dtype), bytes())
      << shape << " of " << dtype << " seen in " << shape_ << " of " << dtype_;
  return Tensor(shape, dtype, memory_, byte_offset_, device());
}

Tensor Tensor::Clone() const {
  CheckOnHost();
  Tensor copy(shape_, dtype_);
  if (elements_ > 0) std::memcpy(copy.DeviceAddress(), DeviceAddress(), bytes());
  return copy;
}

Tensor Tensor::As(DType dtype) const {
  if (dtype == dtype_) return *this;
  return ForFloating(dtype_, [&](auto from) {
    return ForFloating(dtype, [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      Tensor result(shape_, dtype);
      std::ranges::transform(Span<From>(), result.Data<To>(), Converted<To, From>);
      return result;
    });
  });
}

Tensor Tensor::Mapped(const Device& device, ptrdiff_t shift) && {
  std::byte* const there = static_cast<std::byte*>(memory_.get()) + shift;
  return Tensor(shape_, dtype_, std::shared_ptr<void>(std::move(memory_), there), byte_offset_,
                device);
}

void Tensor::ThrowWrongType(DType wanted) const {
  SYNCBN_CHECK_EQ(dtype_, wanted) << "element type of a tensor " << shape_;
  std::abort();
}

void Tensor::ThrowNotOnHost() const {
  SYNCBN_CHECK(on_host()) << "the host looks into a tensor " << shape_ << " of device "
                          << device().name() << "; take it OnHost()";
  std::abort();
}

}  // namespace syncbn
