// Memory that the threads of a block share, with a shadow that knows who wrote and read what since
// the last barrier.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>

#include "tests/emulation/block.h"

namespace syncbn::emulation {

// Who touched an element last.
struct Shadow {
  uint32_t write_epoch = 0xFFFFFFFF, read_epoch = 0xFFFFFFFF;
  int16_t writer = -1;
  int16_t reader = -1;  // -2: several
};

[[noreturn]] void ThrowRace(const char* what, int64_t index, int other);
[[noreturn]] void ThrowOutOfRange(int64_t index, int64_t count);

// An element, which is read by converting it and written by assigning to it.
template <typename T>
class SharedElement {
 public:
  SharedElement(T* value, Shadow* shadow, int64_t index)
      : value_(value), shadow_(shadow), index_(index) {}

  operator T() const {  // NOLINT: stands for the element
    const int me = CurrentThread().thread;
    const uint32_t epoch = BarriersPassed();
    if (shadow_->write_epoch == epoch && shadow_->writer != me) {
      ThrowRace("reads what another has written", index_, shadow_->writer);
    }
    const bool first = shadow_->read_epoch != epoch;
    shadow_->reader = static_cast<int16_t>(first || shadow_->reader == me ? me : -2);
    shadow_->read_epoch = epoch;
    return *value_;
  }
  const SharedElement& operator=(std::type_identity_t<T> value) const {
    const int me = CurrentThread().thread;
    const uint32_t epoch = BarriersPassed();
    if (shadow_->write_epoch == epoch && shadow_->writer != me) {
      ThrowRace("writes over what another has written", index_, shadow_->writer);
    }
    if (shadow_->read_epoch == epoch && shadow_->reader != me) {
      ThrowRace("writes over what another has read", index_, shadow_->reader);
    }
    shadow_->writer = static_cast<int16_t>(me);
    shadow_->write_epoch = epoch;
    *value_ = value;
    return *this;
  }
  SharedElement(const SharedElement&) = default;
  const SharedElement& operator=(const SharedElement& other) const {
    return *this = static_cast<T>(other);
  }
  const SharedElement& operator+=(T value) const { return *this = static_cast<T>(*this) + value; }

 private:
  T* value_;
  Shadow* shadow_;
  int64_t index_;
};

template <typename T>
class SharedArray {
 public:
  SharedArray(T* values, Shadow* shadows, int64_t count)
      : values_(values), shadows_(shadows), count_(count) {}
  SharedElement<T> operator[](int64_t i) const {
    if (i < 0 || i >= count_) ThrowOutOfRange(i, count_);
    return {values_ + i, shadows_ + i, i};
  }

 private:
  T* values_;
  Shadow* shadows_;
  int64_t count_;
};

// For each block its shadows begin anew: SharedBytes are 0xFF then, which is what a Shadow begins
// with but for its threads, and those count only where the barrier is this one.
template <typename T>
SharedArray<T> SharedArrayAt(const char* place, int64_t count) {
  static_assert(std::is_trivially_copyable_v<T>);
  const size_t values = (static_cast<size_t>(count) * sizeof(T) + 15) / 16 * 16;
  std::byte* const bytes = SharedBytes(place, values + static_cast<size_t>(count) * sizeof(Shadow));
  return {reinterpret_cast<T*>(bytes), reinterpret_cast<Shadow*>(bytes + values), count};
}

}  // namespace syncbn::emulation
