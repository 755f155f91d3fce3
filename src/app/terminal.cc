#include "app/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <random>

#include "base/printable.h"
#include "base/text.h"

namespace syncbn::app {
namespace {

std::string_view CodeOf(Tone tone) {
  switch (tone) {
    case Tone::kPlain: return "";
    case Tone::kStrong: return "\033[1m";
    case Tone::kDim: return "\033[2m";
    case Tone::kGood: return "\033[32m";
    case Tone::kBusy: return "\033[36m";
    case Tone::kBad: return "\033[31m";
  }
  return "";
}

constexpr std::string_view kPlainAgain = "\033[0m";

// Before the digit of a tone in a text on its way to Say. Another one in every process: what comes
// from elsewhere can look like a terminal's codes, but not like this.
const std::string& ToneMark() {
  static const std::string mark = [] {
    std::random_device random;
    return "\033{" + std::to_string(random()) + "," + std::to_string(random()) + "}";
  }();
  return mark;
}

std::string Marked(Tone tone) {
  return ToneMark() + static_cast<char>('0' + static_cast<int>(tone));
}

void Write(std::FILE* stream, std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stream);
}

}  // namespace

Terminal Terminal::Of(std::FILE* stream) {
  Terminal terminal;
  terminal.is_terminal = ::isatty(::fileno(stream)) != 0;
  if (!terminal.is_terminal) return terminal;
  winsize size{};
  if (::ioctl(::fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    terminal.width = size.ws_col;
  }
  const char* no_colour = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  terminal.colours = (no_colour == nullptr || *no_colour == '\0') && term != nullptr &&
                     std::string_view(term) != "dumb";
  return terminal;
}

std::string Terminal::Paint(std::string_view text, Tone tone) const {
  if (!colours || tone == Tone::kPlain || text.empty()) return std::string(text);
  return Marked(tone) + std::string(text) + Marked(Tone::kPlain);
}

size_t DisplayWidth(std::string_view text) {
  size_t width = 0;
  for (char c : text) width += (c & 0xc0) != 0x80;
  return width;
}

std::string_view FirstColumns(std::string_view text, size_t columns) {
  size_t end = 0;
  for (size_t width = 0; end < text.size(); ++end) {
    if ((text[end] & 0xc0) != 0x80 && width++ == columns) break;
  }
  return text.substr(0, end);
}

std::string Shown(std::string_view text) {
  const std::string& mark = ToneMark();
  std::string shown;
  while (true) {
    const size_t end = text.find(mark);
    shown += Printable(text.substr(0, end));
    if (end == std::string_view::npos || end + mark.size() >= text.size()) return shown;
    const auto tone = static_cast<Tone>(text[end + mark.size()] - '0');
    shown += tone == Tone::kPlain ? kPlainAgain : CodeOf(tone);
    text.remove_prefix(end + mark.size() + 1);
  }
}

std::string FormatList(const char* format, va_list arguments) {
  va_list again;
  va_copy(again, arguments);
  const int length = std::vsnprintf(nullptr, 0, format, again);
  va_end(again);
  std::string text(static_cast<size_t>(std::max(0, length)), '\0');
  std::vsnprintf(text.data(), text.size() + 1, format, arguments);
  return text;
}

void Say(std::FILE* stream, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const std::string text = FormatList(format, arguments);
  va_end(arguments);
  Write(stream, stream == stderr ? Printable(text) : Shown(text));
}

void SayExactly(std::string_view bytes) {
  const bool is_terminal = ::isatty(::fileno(stdout)) != 0;
  is_terminal ? Write(stdout, Printable(bytes)) : Write(stdout, bytes);
}

}  // namespace syncbn::app
