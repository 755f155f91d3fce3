#include "app/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>

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

bool IsControl(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
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
  return std::string(CodeOf(tone)) + std::string(text) + "\033[0m";
}

size_t DisplayWidth(std::string_view text) {
  size_t width = 0;
  for (char c : text) width += (c & 0xc0) != 0x80;
  return width;
}

std::string OneLine(std::string_view text) {
  std::string line(text);
  for (char& c : line) {
    if (IsControl(c)) c = ' ';
  }
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

std::string Printable(std::string_view text) {
  std::string lines(text);
  for (char& c : lines) {
    if (IsControl(c) && c != '\n' && c != '\t') c = ' ';
  }
  return lines;
}

}  // namespace syncbn::app
