#include "config/diagnostic.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/text.h"
#include "config/character.h"

namespace syncbn::config {
namespace {

constexpr int kWidth = 100;

// The part of a long line around the column, with that column's place in it.
struct Excerpt {
  std::string text;
  int caret = 0;  // characters before the caret
};

Excerpt Cut(std::string_view line, int column) {
  // Split into characters, so that a cut never breaks one; what is invisible would move the caret.
  std::vector<std::string> characters;
  while (!line.empty()) {
    const size_t length = std::max<size_t>(1, Utf8CharacterLength(line));
    const std::string_view character = line.substr(0, length);
    const char32_t code = CodePoint(character);
    const bool broken = length == 1 && (character[0] & 0x80) != 0;
    const bool hidden = broken || IsControl(code) || InvisibleName(code) != nullptr;
    characters.emplace_back(hidden ? " " : character);
    line.remove_prefix(length);
  }
  constexpr int kMost = 86, kBefore = 60;
  const int size = static_cast<int>(characters.size());
  const int at = std::clamp(column - 1, 0, size);
  const int begin = size <= kMost ? 0 : std::clamp(at - kBefore, 0, size - kMost + 3);
  const int end = std::min(size, begin + kMost);
  Excerpt excerpt;
  if (begin > 0) excerpt.text = "...";
  excerpt.caret = static_cast<int>(excerpt.text.size()) + at - begin;
  for (int i = begin; i < end; ++i) excerpt.text += characters[static_cast<size_t>(i)];
  if (end < size) excerpt.text += "...";
  return excerpt;
}

bool IsOverride(const Diagnostic& diagnostic) {
  return diagnostic.source.starts_with("--");
}

}  // namespace

std::string FormatDiagnostic(const Diagnostic& diagnostic) {
  std::string text = IsOverride(diagnostic) ? "--set" : diagnostic.source;
  if (diagnostic.line > 0 && !IsOverride(diagnostic)) {
    text += ":" + std::to_string(diagnostic.line) + ":" + std::to_string(diagnostic.column);
  }
  text += ": ";
  if (!diagnostic.path.empty()) text += diagnostic.path + ": ";
  text += diagnostic.message + "\n";
  if (diagnostic.line > 0 && !diagnostic.source_line.empty()) {
    const Excerpt excerpt = Cut(diagnostic.source_line, diagnostic.column);
    std::string number = IsOverride(diagnostic) ? "--set" : std::to_string(diagnostic.line);
    if (number.size() < 5) number.insert(0, 5 - number.size(), ' ');
    const std::string gutter(number.size(), ' ');
    const std::string caret(static_cast<size_t>(excerpt.caret), ' ');
    text += number + " | " + excerpt.text + "\n";
    text += gutter + " | " + caret + "^\n";
  }
  if (!diagnostic.hint.empty()) text += WrapText(diagnostic.hint, kWidth, 6) + "\n";
  return text;
}

void Diagnostics::Add(const Location& location, std::string path, std::string message,
                      std::string hint) {
  Diagnostic diagnostic{.source = location.source ? location.source->name() : "",
                        .line = location.line(),
                        .column = location.column(),
                        .path = std::move(path),
                        .message = std::move(message),
                        .hint = std::move(hint),
                        .source_line = ""};
  if (location.source) diagnostic.source_line = location.source->Line(diagnostic.line);
  Add(std::move(diagnostic));
}

void Diagnostics::Add(Diagnostic diagnostic) {
  if (full()) {
    ++left_out_;
  } else {
    all_.push_back(std::move(diagnostic));
  }
}

void Diagnostics::Sort() {
  // Overrides stay as they were given.
  const auto key = [](const Diagnostic& diagnostic) {
    const bool last = IsOverride(diagnostic);
    return std::make_tuple(last, last ? 0 : diagnostic.line, last ? 0 : diagnostic.column);
  };
  std::stable_sort(all_.begin(), all_.end(),
                   [&](const Diagnostic& a, const Diagnostic& b) { return key(a) < key(b); });
}

std::string Diagnostics::Format(std::string_view name) const {
  std::string text;
  for (const Diagnostic& diagnostic : all_) text += FormatDiagnostic(diagnostic);
  const auto count = static_cast<long long>(all_.size() + left_out_);
  const auto overrides = std::count_if(all_.begin(), all_.end(), IsOverride);
  text += Plural(count, "error") + " in ";
  if (overrides < static_cast<long>(all_.size())) text += name;
  if (overrides > 0) text += overrides < static_cast<long>(all_.size()) ? " and --set" : "--set";
  if (left_out_ > 0) text += "; the first " + std::to_string(all_.size()) + " are shown";
  return text;
}

std::string WrapText(std::string_view text, int width, int indent) {
  const std::string blanks(static_cast<size_t>(indent), ' ');
  std::string result;
  while (true) {
    const size_t end = text.find('\n');
    std::string_view paragraph = text.substr(0, end);
    std::string line = blanks;
    bool empty = true;
    while (!paragraph.empty()) {
      const size_t space = paragraph.find(' ');
      const std::string_view word = paragraph.substr(0, space);
      const int length = CountCharacters(line, line.size()) + CountCharacters(word, word.size());
      if (!empty && length + 1 > width) {
        result += line + "\n";
        line = blanks;
        empty = true;
      }
      if (!empty) line += ' ';
      line += word;
      empty = false;
      paragraph.remove_prefix(space == std::string_view::npos ? paragraph.size() : space + 1);
    }
    result += line;
    if (end == std::string_view::npos) return result;
    result += '\n';
    text.remove_prefix(end + 1);
  }
}

}  // namespace syncbn::config
