#include "app/console.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdlib>

#include "app/terminal.h"
#include "config/diagnostic.h"

namespace syncbn::app {
namespace {

int TerminalWidth(std::FILE* stream) {
  winsize size{};
  if (::ioctl(::fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 100;
}

bool IsTerminal(std::FILE* stream) {
  const char* term = std::getenv("TERM");
  return ::isatty(::fileno(stream)) != 0 && term != nullptr && std::string_view(term) != "dumb";
}

}  // namespace

LiveLine::LiveLine(std::FILE* stream, bool allowed)
    : stream_(stream), live_(allowed && IsTerminal(stream)) {}

LiveLine::~LiveLine() { Clear(); }

void LiveLine::Update(std::string_view text) {
  if (!live_) return;
  const auto now = std::chrono::steady_clock::now();
  if (drawn_ && now - last_ < std::chrono::milliseconds(100)) return;
  last_ = now;
  // The last column stays free: some terminals wrap when it is written.
  const size_t width = static_cast<size_t>(std::max(10, TerminalWidth(stream_) - 1));
  const std::string line(FirstColumns(text, width));
  std::fputs("\r\033[K", stream_);
  Say(stream_, "%s", line.c_str());
  std::fflush(stream_);
  drawn_ = true;
}

void LiveLine::Print(std::string_view text) {
  Clear();
  Say(stream_, "%.*s\n", static_cast<int>(text.size()), text.data());
  std::fflush(stream_);
}

void LiveLine::Clear() {
  if (!drawn_) return;
  std::fputs("\r\033[K", stream_);
  std::fflush(stream_);
  drawn_ = false;
}

std::string Sentences(std::string_view text, int indent) {
  constexpr int kWidest = 100;
  const Terminal terminal = Terminal::Of(stdout);
  if (terminal.is_terminal)
    return config::WrapText(text, std::min(kWidest, terminal.width), indent);
  return std::string(static_cast<size_t>(indent), ' ') + std::string(text);
}

std::string ProgressBar(double share, int width) {
  const int full = static_cast<int>(std::lround(std::clamp(share, 0.0, 1.0) * width));
  return "[" + std::string(static_cast<size_t>(full), '#') +
         std::string(static_cast<size_t>(width - full), '.') + "]";
}

std::string Fixed(double value, int digits) {
  return std::isfinite(value) && std::abs(value) >= 1e6 ? Format("%.4g", value)
                                                        : Format("%.*f", digits, value);
}

std::string FormatDuration(double seconds) {
  const long total = std::lround(std::max(0.0, seconds));
  if (total < 60) return Format("%ld s", total);
  if (total < 3600) return Format("%ld min %02ld s", total / 60, total % 60);
  return Format("%ld h %02ld min", total / 3600, total % 3600 / 60);
}

std::string FormatTable(const std::vector<std::vector<std::string>>& rows,
                        const std::vector<bool>& right_aligned) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      if (i > 0) line += "  ";
      const std::string fill(widths[i] - row[i].size(), ' ');
      line += i < right_aligned.size() && right_aligned[i] ? fill + row[i] : row[i] + fill;
    }
    while (!line.empty() && line.back() == ' ') line.pop_back();
    text += line + "\n";
  }
  return text;
}

std::string Format(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::string text = FormatList(format, arguments);
  va_end(arguments);
  return text;
}

}  // namespace syncbn::app
