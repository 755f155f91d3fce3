// What the output goes to: a terminal of some width, with colours or without, or a file or pipe.
#pragma once

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

// Text of others on one line: line ends and control characters, which could move the cursor or
// change the terminal, become blanks.
std::string OneLine(std::string_view text);

// The same for text of several lines, which stay.
std::string Printable(std::string_view text);

}  // namespace syncbn::app
