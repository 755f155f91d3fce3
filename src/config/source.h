// A text that settings are read from, and places in it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace syncbn::config {

// Immutable, shared by everything that points into it; thread-safe.
class Source {
 public:
  // `name` is what messages call it: a path, or "--set train.epochs=3".
  Source(std::string name, std::string text);

  const std::string& name() const { return name_; }
  const std::string& text() const { return text_; }
  int lines() const { return static_cast<int>(starts_.size()); }
  // Line `number` (from 1) without its end; empty when there is none.
  std::string_view Line(int number) const;
  // The line that holds the byte `position`; the end of the text belongs to the last line.
  int LineOf(size_t position) const;
  // The first byte of line `number`.
  size_t LineStart(int number) const { return starts_.at(static_cast<size_t>(number - 1)); }

 private:
  std::string name_;
  std::string text_;
  std::vector<size_t> starts_;
};

// A place in a source: a byte of its text, or the source as a whole.
struct Location {
  std::shared_ptr<const Source> source;
  std::optional<size_t> position;

  // From 1; columns count characters (UTF-8). 0 for the source as a whole.
  int line() const;
  int column() const;
  // "run.yaml:3", or the name of the source alone for an override.
  std::string ToString() const;
};

// Characters in the first `bytes` bytes of UTF-8 text.
int CountCharacters(std::string_view text, size_t bytes);

}  // namespace syncbn::config
