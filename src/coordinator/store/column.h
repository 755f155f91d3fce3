// How times and messages stand in the store's columns.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"

namespace syncbn::coordinator {

// Microseconds: of WallTime since 1970, UTC; of DurableTime since it began (DurableClock).
template <typename Clock>
int64_t Micros(std::chrono::time_point<Clock, std::chrono::microseconds> time) {
  return time.time_since_epoch().count();
}
template <typename Time>
std::optional<int64_t> Micros(const std::optional<Time>& time) {
  if (!time) return std::nullopt;
  return Micros(*time);
}
template <typename Time = WallTime>
Time FromMicros(int64_t micros) {
  return Time(std::chrono::microseconds(micros));
}

// Throws DATA_LOSS, calling it `what`, when the bytes are no such message.
template <typename Message>
Message ParseColumn(std::string_view bytes, const char* what) {
  Message message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    throw Error(ErrorCode::kDataLoss, std::string("the store holds a damaged ") + what);
  }
  return message;
}

}  // namespace syncbn::coordinator
