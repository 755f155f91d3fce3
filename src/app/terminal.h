// What the output goes to: a terminal of some width, with colours or without, or a file or pipe.
#pragma once

#include <cstdarg>
#include <cstdio>
#include <string>
#include <string_view>

namespace syncbn::app {

enum class Tone { kPlain, kStrong, kDim, kGood, kBusy, kBad };

struct Terminal {
  // False for files and pipes: nothing is cut, wrapped or coloured there.
  bool is_terminal = false;
  bool colours = false;
  int width = 100;

  // Colours are off where NO_COLOR is set or TERM is "dumb" (no-color.org).
  static Terminal Of(std::FILE* stream);

  // `text` in a tone, where there are colours.
  std::string Paint(std::string_view text, Tone tone) const;
};

// Columns that `text` takes: characters, not bytes.
size_t DisplayWidth(std::string_view text);
// As much of the beginning as takes at most so many columns.
std::string_view FirstColumns(std::string_view text, size_t columns);

// How commands print, always: of what is formatted, only this program's own tones change a
// terminal, and those on standard output alone; the rest goes out as Printable (base/printable.h). A
// text that belongs on one line must have gone through OneLine.
[[gnu::format(printf, 2, 3)]] void Say(std::FILE* stream, const char* format, ...);
// vprintf into a string.
[[gnu::format(printf, 1, 0)]] std::string FormatList(const char* format, va_list arguments);
// The text as Say would print it.
std::string Shown(std::string_view text);
// What was asked for by the byte (a file, a log) on standard output: exactly that, unless a
// terminal is there.
void SayExactly(std::string_view bytes);

}  // namespace syncbn::app
