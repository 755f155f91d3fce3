// Cursors of streams: opaque to clients, "KIND-NUMBER" to us.
#pragma once

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

#include "coordinator/api_error.h"

namespace syncbn::coordinator {

inline std::string MakeCursor(char kind, int64_t number) {
  return std::string(1, kind) + "-" + std::to_string(number);
}

// The number; CURSOR_INVALID for what is no cursor of this kind; CURSOR_TOO_OLD when what came
// after it may be gone (numbers up to `forgotten`), or when the store was set back to before it
// (above `newest`).
inline int64_t ParseCursor(const std::string& cursor, char kind, int64_t forgotten,
                           int64_t newest) {
  int64_t number = -1;
  const char* end = cursor.data() + cursor.size();
  bool valid = cursor.size() > 2 && cursor[0] == kind && cursor[1] == '-';
  if (valid) {
    const auto [at, code] = std::from_chars(cursor.data() + 2, end, number);
    valid = code == std::errc() && at == end && number >= 0;
  }
  if (!valid) {
    throw ApiError(ErrorCode::kInvalidArgument, "CURSOR_INVALID",
                   "'" + cursor.substr(0, 40) + "' is not a cursor of this stream");
  }
  if (number < forgotten || number > newest) {
    throw ApiError(ErrorCode::kOutOfRange, "CURSOR_TOO_OLD",
                   number < forgotten
                       ? "what came after the cursor " + cursor +
                             " is no longer kept: start anew without a cursor"
                       : "the cursor " + cursor +
                             " is ahead of this store, which was set back: start anew without a "
                             "cursor");
  }
  return number;
}

}  // namespace syncbn::coordinator
