#include "app/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

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

// The length of one of this program's own tones at the start of `text`; 0 where there is none.
size_t ToneLength(std::string_view text) {
  if (text.starts_with(kPlainAgain)) return kPlainAgain.size();
  for (const Tone tone : {Tone::kStrong, Tone::kDim, Tone::kGood, Tone::kBusy, Tone::kBad}) {
    if (text.starts_with(CodeOf(tone))) return CodeOf(tone).size();
  }
  return 0;
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
  return std::string(CodeOf(tone)) + std::string(text) + std::string(kPlainAgain);
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
  std::string shown;
  while (!text.empty()) {
    const size_t escape = std::min(text.find('\033'), text.size());
    shown += Printable(text.substr(0, escape));
    text.remove_prefix(escape);
    if (text.empty()) break;
    const size_t tone = ToneLength(text);
    shown += tone > 0 ? std::string(text.substr(0, tone)) : Printable(text.substr(0, 1));
    text.remove_prefix(std::max<size_t>(tone, 1));
  }
  return shown;
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
