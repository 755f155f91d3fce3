// What people see: a live line on a terminal, plain lines elsewhere, and small tables.
#pragma once

#include <chrono>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace syncbn::app {

// One line that is rewritten in place on a terminal. Not on a terminal nothing is drawn: lines that
// matter are printed with Print. Not thread-safe.
class LiveLine {
 public:
  // `allowed` false: nothing is drawn even on a terminal.
  explicit LiveLine(std::FILE* stream, bool allowed = true);
  ~LiveLine();
  LiveLine(const LiveLine&) = delete;
  LiveLine& operator=(const LiveLine&) = delete;

  bool live() const { return live_; }
  // Draws at most ten times a second; the newest text wins. Cut to the width of the terminal.
  void Update(std::string_view text);
  // Removes the live line, prints `text` on a line of its own, and lets the live line come back.
  void Print(std::string_view text);
  void Clear();

 private:
  std::FILE* stream_;
  bool live_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point last_{};
};

// "[######......] " of the given width for a share in [0, 1].
std::string ProgressBar(double share, int width);
// A figure with so many digits after the point, as "%.4f"; one of a million or more with an
// exponent
// ("1.235e+36"), so that it keeps to its column.
std::string Fixed(double value, int digits);
// "12 s", "3 min 05 s", "2 h 07 min"
std::string FormatDuration(double seconds);
// Columns aligned: text to the left, numbers (the columns named) to the right; two spaces between.
std::string FormatTable(const std::vector<std::vector<std::string>>& rows,
                        const std::vector<bool>& right_aligned);
// Sentences for standard output. On a terminal they are broken at its width, at most 100 columns,
// and every line begins after `indent` blanks; elsewhere they are one line.
std::string Sentences(std::string_view text, int indent = 0);
// printf into a string.
[[gnu::format(printf, 1, 2)]] std::string Format(const char* format, ...);

}  // namespace syncbn::app
