// Lists whose pages are asked for by the name of the last entry before: page_size and page_token of
// such a request.
#pragma once

#include <string>

#include "coordinator/api_error.h"

namespace syncbn::coordinator {

struct PageRequest {
  int size = 0;
  std::string after;  // name of the last entry of the page before; empty: from the beginning
};

[[noreturn]] inline void ThrowPageToken(const std::string& token) {
  throw ApiError(ErrorCode::kInvalidArgument, "PAGE_TOKEN_INVALID",
                 "page token '" + token.substr(0, 40) + "' is not of this list: start anew");
}

// FIELD_INVALID for a size that is none. The size of 0 means the most there can be on a page.
inline PageRequest ParsePage(int size, const std::string& token) {
  constexpr int kMostOnPage = 1000;
  if (size < 0 || size > kMostOnPage) {
    ThrowFieldInvalid("page_size", "page_size is " + std::to_string(size) + "; it can be 1 to " +
                                       std::to_string(kMostOnPage));
  }
  return {.size = size == 0 ? kMostOnPage : size, .after = token};
}

}  // namespace syncbn::coordinator
