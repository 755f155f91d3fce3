// Lists in pages: page_size and page_token of a request.
#pragma once

#include <charconv>
#include <cstdint>
#include <string>

#include "coordinator/api_error.h"

namespace syncbn::coordinator {

// Of a list in which the next page is asked for by the name of the last entry before.
struct PageRequest {
  int size = 0;
  std::string after;  // name of the last entry of the page before; empty: from the beginning
};

// Of a list of numbered entries, newest first.
struct NumberedPageRequest {
  int size = 0;
  int64_t before = 0;  // the last entry of the page before; above all: from the beginning
};

[[noreturn]] inline void ThrowPageToken(const std::string& token) {
  throw ApiError(ErrorCode::kInvalidArgument, "PAGE_TOKEN_INVALID",
                 "page token '" + token.substr(0, 40) + "' is not of this list: start anew");
}

inline constexpr int kMostOnPage = 1000;

// FIELD_INVALID for a size that is none. 0 means `usual`.
inline int ParsePageSize(int size, int usual) {
  if (size < 0 || size > kMostOnPage) {
    ThrowFieldInvalid("page_size", "page_size is " + std::to_string(size) + "; it can be 1 to " +
                                       std::to_string(kMostOnPage));
  }
  return size == 0 ? usual : size;
}

// The size of 0 means the most there can be on a page.
inline PageRequest ParsePage(int size, const std::string& token) {
  return {.size = ParsePageSize(size, kMostOnPage), .after = token};
}

inline NumberedPageRequest ParseNumberedPage(int size, const std::string& token, int usual) {
  NumberedPageRequest page{.size = ParsePageSize(size, usual), .before = INT64_MAX};
  if (token.empty()) return page;
  const char* end = token.data() + token.size();
  const auto [at, code] = std::from_chars(token.data(), end, page.before);
  if (code != std::errc() || at != end || page.before <= 0) ThrowPageToken(token);
  return page;
}

}  // namespace syncbn::coordinator
