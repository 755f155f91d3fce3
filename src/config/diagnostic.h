// What is wrong with a file of settings: every fault with its place, its key, and what to write.
//
// As text:
//   run.yaml:7:30: train.optimizer.momentum: expected a number from 0 to below 1, found 1.5
//       7 |   optimizer: {kind: sgd, momentum: 1.5}
//         |                                    ^
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/source.h"

namespace syncbn::config {

struct Diagnostic {
  // Name of the source, and the place in it (from 1; 0: the source as a whole).
  std::string source;
  int line = 0;
  int column = 0;
  // The key, "train.optimizer.momentum"; empty for a fault of the text itself.
  std::string path;
  // What is wrong, in one sentence.
  std::string message;
  // What may be written instead, or what to do; may be empty or have several lines.
  std::string hint;
  // The line that holds the place; not shown for a source as a whole.
  std::string source_line;
};

std::string FormatDiagnostic(const Diagnostic& diagnostic);

// The faults found in one pass. Not thread-safe.
class Diagnostics {
 public:
  // Faults beyond these are counted, not kept: a file may be wrong in every line.
  static constexpr size_t kMost = 100;

  void Add(const Location& location, std::string path, std::string message, std::string hint = "");
  // One of another pass.
  void Add(Diagnostic diagnostic);

  bool empty() const { return all_.empty(); }
  // More are only counted.
  bool full() const { return all_.size() >= kMost; }
  // In the order in which they were found.
  std::span<const Diagnostic> all() const { return all_; }
  // Files first, then overrides, each from top to bottom.
  void Sort();
  // All of them, one after another, and a last line with their number: "2 errors in run.yaml".
  std::string Format(std::string_view name) const;

 private:
  std::vector<Diagnostic> all_;
  size_t left_out_ = 0;
};

// `text` broken into lines of at most `width` characters, each after `indent` blanks; words are
// never broken.
std::string WrapText(std::string_view text, int width, int indent);

}  // namespace syncbn::config
