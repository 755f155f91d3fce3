#include "tensor/shape.h"

#include "base/check.h"

namespace syncbn {

Shape::Shape(std::initializer_list<int64_t> extents)
    : Shape(std::span<const int64_t>(extents.begin(), extents.size())) {}

Shape::Shape(std::span<const int64_t> extents) : rank_(static_cast<int>(extents.size())) {
  SYNCBN_CHECK_LE(rank_, kMaxRank);
  for (int i = 0; i < rank_; ++i) {
    SYNCBN_CHECK_GE(extents[i], 0) << "extent of axis " << i;
    extents_[i] = extents[i];
  }
}

int64_t Shape::operator[](int axis) const {
  const int index = axis < 0 ? rank_ + axis : axis;
  SYNCBN_CHECK(index >= 0 && index < rank_) << "axis " << axis << " of " << *this;
  return extents_[index];
}

int64_t Shape::elements() const {
  int64_t product = 1;
  for (int i = 0; i < rank_; ++i) product *= extents_[i];
  return product;
}

int64_t Shape::rows() const {
  int64_t product = 1;
  for (int i = 0; i + 1 < rank_; ++i) product *= extents_[i];
  return product;
}

Shape Shape::WithLeading(int64_t extent) const {
  SYNCBN_CHECK_GE(rank_, 1);
  Shape result = *this;
  result.extents_[0] = extent;
  return result;
}

std::string Shape::ToString() const {
  std::string text = "[";
  for (int i = 0; i < rank_; ++i) text += (i > 0 ? ", " : "") + std::to_string(extents_[i]);
  return text + "]";
}

std::ostream& operator<<(std::ostream& out, const Shape& shape) { return out << shape.ToString(); }

}  // namespace syncbn
