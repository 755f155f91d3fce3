// Extents of a tensor, outermost first. Activations are N H W C, or rows x channels.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <ostream>
#include <span>
#include <string>

namespace syncbn {

class Shape {
 public:
  static constexpr int kMaxRank = 6;

  Shape() = default;
  Shape(std::initializer_list<int64_t> extents);
  explicit Shape(std::span<const int64_t> extents);

  int rank() const { return rank_; }
  // Negative axes count from the end. Throws INTERNAL out of range.
  int64_t operator[](int axis) const;
  std::span<const int64_t> extents() const { return {extents_.data(), static_cast<size_t>(rank_)}; }

  // Product of all extents; 1 for rank 0.
  int64_t elements() const;
  // Product of all but the last extent: the rows of the matrix rows x channels.
  int64_t rows() const;
  // The last extent: the channels.
  int64_t channels() const { return (*this)[-1]; }
  // The same with the first extent replaced.
  Shape WithLeading(int64_t extent) const;

  bool operator==(const Shape&) const = default;
  // "[64, 32, 32, 16]"
  std::string ToString() const;

 private:
  int rank_ = 0;
  std::array<int64_t, kMaxRank> extents_{};
};

std::ostream& operator<<(std::ostream& out, const Shape& shape);

}  // namespace syncbn
