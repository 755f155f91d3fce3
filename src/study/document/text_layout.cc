#include "study/document/text_layout.h"

#include <algorithm>

#include "base/printable.h"
#include "base/text.h"

namespace syncbn::study::document {
namespace {

constexpr std::string_view kEllipsis = "\xe2\x80\xa6";

// In em.
double CharacterWidth(std::string_view character) {
  const unsigned char c = character.front();
  if (c >= 0x80) {
    if (character.size() >= 3) return 1.05;    // an ellipsis, wide scripts, emoji
    return c == 0xcc || c == 0xcd ? 0 : 0.68;  // combining marks
  }
  if (std::string_view("iljI.,:;'|! ").find(static_cast<char>(c)) != std::string_view::npos)
    return 0.34;
  if (std::string_view("frt()[]/-\"").find(static_cast<char>(c)) != std::string_view::npos)
    return 0.42;
  if (std::string_view("mwMW@%").find(static_cast<char>(c)) != std::string_view::npos) return 0.98;
  if (std::string_view("<>+=#^~").find(static_cast<char>(c)) != std::string_view::npos) return 0.84;
  if (c == '&') return 0.78;
  if (c >= 'A' && c <= 'Z') return 0.71;
  return 0.64;
}

std::string_view NextCharacter(std::string_view text) {
  return text.substr(0, std::max<size_t>(1, Utf8CharacterLength(text)));
}

// Bytes of the longest beginning of `text` that fits, and the best place to break in it.
struct Break {
  size_t fits = 0;
  size_t at = 0;
};

Break FindBreak(std::string_view text, double width, double size) {
  Break found;
  double used = 0;
  while (found.fits < text.size()) {
    const std::string_view character = NextCharacter(text.substr(found.fits));
    used += CharacterWidth(character) * size;
    if (used > width && found.fits > 0) break;
    found.fits += character.size();
    if (std::string_view(" ,/-_=:").find(character.front()) != std::string_view::npos) {
      const bool blank = character.front() == ' ';
      // Behind punctuation only where no blank makes a line that is not much shorter.
      const size_t blank_at = text.substr(0, found.at).ends_with(' ') ? found.at : 0;
      if (blank || blank_at * 2 < found.fits) found.at = found.fits;
    }
  }
  if (found.fits == text.size() || text[found.fits] == ' ') found.at = found.fits;
  if (found.at == 0) found.at = found.fits;
  return found;
}

}  // namespace

double TextWidth(std::string_view text, double size) {
  double width = 0;
  while (!text.empty()) {
    const std::string_view character = NextCharacter(text);
    width += CharacterWidth(character);
    text.remove_prefix(character.size());
  }
  return width * size;
}

std::vector<std::string> WrappedText(std::string_view text, double width, size_t most_lines,
                                     double size) {
  const std::string line_of_text = OneLine(text);
  std::string_view rest = line_of_text;
  std::vector<std::string> lines;
  do {
    while (rest.starts_with(' ')) rest.remove_prefix(1);
    const Break at = FindBreak(rest, width, size);
    if (at.fits < rest.size() && lines.size() + 1 >= most_lines) {
      const Break cut = FindBreak(rest, std::max(0.0, width - TextWidth(kEllipsis, size)), size);
      lines.push_back(std::string(rest.substr(0, cut.fits)) + std::string(kEllipsis));
      return lines;
    }
    std::string line(rest.substr(0, at.at));
    while (line.ends_with(' ')) line.pop_back();
    lines.push_back(std::move(line));
    rest.remove_prefix(at.at);
  } while (!rest.empty());
  return lines;
}

size_t CharacterCount(std::string_view text) {
  size_t count = 0;
  while (!text.empty()) {
    text.remove_prefix(NextCharacter(text).size());
    ++count;
  }
  return count;
}

}  // namespace syncbn::study::document
