#include "base/printable.h"

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <utility>

#include "base/text.h"

namespace syncbn {
namespace {

// The character at the start of `text`, which has `length` bytes there.
char32_t CodePoint(std::string_view text, size_t length) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  if (length == 1) return byte(0);
  char32_t code = byte(0) & (0xffu >> (length + 1));
  for (size_t i = 1; i < length; ++i) code = code << 6 | (byte(i) & 0x3fu);
  return code;
}

bool ChangesTerminal(char32_t code) {
  static constexpr std::pair<char32_t, char32_t> kRanges[] = {
      {0x00, 0x1f},     {0x7f, 0x9f},     {0xad, 0xad},     {0x61c, 0x61c},
      {0x180e, 0x180e}, {0x200b, 0x200b}, {0x200e, 0x200f}, {0x2028, 0x202e},
      {0x2060, 0x206f}, {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0000, 0xe007f}};
  return std::any_of(std::begin(kRanges), std::end(kRanges), [&](const auto& range) {
    return range.first <= code && code <= range.second;
  });
}

// Copies the text; replace(code) gives what stands for a character that changes the terminal.
template <typename Replace>
std::string ReplaceIn(std::string_view text, const Replace& replace) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const size_t length = Utf8CharacterLength(text);
    if (length == 0) {
      result += "\xef\xbf\xbd";
      text.remove_prefix(1);
      continue;
    }
    const char32_t code = CodePoint(text, length);
    if (ChangesTerminal(code)) {
      result += replace(code);
    } else {
      result += text.substr(0, length);
    }
    text.remove_prefix(length);
  }
  return result;
}

}  // namespace

std::string Printable(std::string_view text) {
  return ReplaceIn(text, [](char32_t code) {
    return std::string(1, code == '\n' || code == '\t' ? static_cast<char>(code) : ' ');
  });
}

std::string OneLine(std::string_view text) {
  std::string line = ReplaceIn(text, [](char32_t) { return std::string(" "); });
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

std::string PrintableJson(std::string_view json) {
  return ReplaceIn(json, [](char32_t code) {
    // Between its strings JSON has no others.
    if (code == '\n' || code == '\t') return std::string(1, static_cast<char>(code));
    char text[16];
    if (code < 0x10000) {
      std::snprintf(text, sizeof text, "\\u%04x", static_cast<unsigned>(code));
    } else {
      const auto rest = static_cast<unsigned>(code - 0x10000);
      std::snprintf(text, sizeof text, "\\u%04x\\u%04x", 0xd800 + (rest >> 10),
                    0xdc00 + (rest & 0x3ff));
    }
    return std::string(text);
  });
}

}  // namespace syncbn
