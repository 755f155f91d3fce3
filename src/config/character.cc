#include "config/character.h"

#include <algorithm>
#include <cstdio>

#include "base/text.h"

namespace syncbn::config {
namespace {

struct Range {
  char32_t first, last;
  const char* name;
};

// Unicode's blanks, line ends, joiners and marks of direction, in order.
constexpr Range kInvisible[] = {
    {0x0085, 0x0085, "next line"},
    {0x00a0, 0x00a0, "no-break space"},
    {0x00ad, 0x00ad, "soft hyphen"},
    {0x034f, 0x034f, "combining grapheme joiner"},
    {0x061c, 0x061c, "Arabic letter mark"},
    {0x115f, 0x1160, "Hangul filler"},
    {0x1680, 0x1680, "Ogham space mark"},
    {0x180b, 0x180f, "Mongolian separator"},
    {0x2000, 0x2001, "quad"},
    {0x2002, 0x2002, "en space"},
    {0x2003, 0x2003, "em space"},
    {0x2004, 0x2006, "part of an em space"},
    {0x2007, 0x2007, "figure space"},
    {0x2008, 0x2008, "punctuation space"},
    {0x2009, 0x2009, "thin space"},
    {0x200a, 0x200a, "hair space"},
    {0x200b, 0x200b, "zero width space"},
    {0x200c, 0x200c, "zero width non-joiner"},
    {0x200d, 0x200d, "zero width joiner"},
    {0x200e, 0x200e, "left-to-right mark"},
    {0x200f, 0x200f, "right-to-left mark"},
    {0x2028, 0x2028, "line separator"},
    {0x2029, 0x2029, "paragraph separator"},
    {0x202a, 0x202e, "mark of direction"},
    {0x202f, 0x202f, "narrow no-break space"},
    {0x205f, 0x205f, "medium mathematical space"},
    {0x2060, 0x2060, "word joiner"},
    {0x2061, 0x2064, "invisible operator"},
    {0x2066, 0x206f, "mark of direction"},
    {0x2800, 0x2800, "Braille blank"},
    {0x3000, 0x3000, "ideographic space"},
    {0x3164, 0x3164, "Hangul filler"},
    {0xfe00, 0xfe0f, "variation selector"},
    {0xfeff, 0xfeff, "byte order mark"},
    {0xffa0, 0xffa0, "Hangul filler"},
};

}  // namespace

char32_t CodePoint(std::string_view character) {
  const size_t length = character.empty() ? 0 : Utf8CharacterLength(character);
  if (length == 0) return 0xfffd;
  const auto first = static_cast<unsigned char>(character[0]);
  char32_t code = length == 1 ? first : first & (0xffu >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    code = code << 6 | (static_cast<unsigned char>(character[i]) & 0x3fu);
  }
  return code;
}

bool IsControl(char32_t code) {
  return code < 0x20 || (code >= 0x7f && code <= 0x9f) || code == 0xfffe || code == 0xffff;
}

const char* InvisibleName(char32_t code) {
  const auto* range = std::ranges::lower_bound(kInvisible, code, {}, &Range::last);
  return range != std::end(kInvisible) && range->first <= code ? range->name : nullptr;
}

std::string CodePointText(char32_t code) {
  char text[16];
  std::snprintf(text, sizeof text, "U+%04X", static_cast<unsigned>(code));
  return text;
}

std::string Printable(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const size_t length = Utf8CharacterLength(text);
    const std::string_view character = text.substr(0, std::max<size_t>(1, length));
    const char32_t code = CodePoint(character);
    const bool shown = length > 0 && !IsControl(code) && InvisibleName(code) == nullptr;
    result += shown ? character : "?";
    text.remove_prefix(character.size());
  }
  return result;
}

}  // namespace syncbn::config
