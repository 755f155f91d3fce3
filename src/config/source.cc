#include "config/source.h"

#include <algorithm>
#include <utility>

namespace syncbn::config {

Source::Source(std::string name, std::string text)
    : name_(std::move(name)), text_(std::move(text)) {
  starts_.push_back(0);
  for (size_t i = 0; i < text_.size(); ++i) {
    if (text_[i] == '\n' && i + 1 < text_.size()) starts_.push_back(i + 1);
  }
}

std::string_view Source::Line(int number) const {
  if (number < 1 || number > lines()) return {};
  const size_t begin = starts_[static_cast<size_t>(number - 1)];
  std::string_view line = std::string_view(text_).substr(begin);
  line = line.substr(0, line.find('\n'));
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

int Source::LineOf(size_t position) const {
  const auto after = std::upper_bound(starts_.begin(), starts_.end(), position);
  return static_cast<int>(after - starts_.begin());
}

int Location::line() const {
  return source && position ? source->LineOf(*position) : 0;
}

int Location::column() const {
  if (!source || !position) return 0;
  const size_t start = source->LineStart(line());
  return 1 + CountCharacters(std::string_view(source->text()).substr(start), *position - start);
}

std::string Location::ToString() const {
  if (!source) return "";
  if (!position || source->name().starts_with("--")) return source->name();
  return source->name() + ":" + std::to_string(line());
}

int CountCharacters(std::string_view text, size_t bytes) {
  bytes = std::min(bytes, text.size());
  return static_cast<int>(std::count_if(text.begin(), text.begin() + static_cast<long>(bytes),
                                        [](char c) { return (c & 0xc0) != 0x80; }));
}

}  // namespace syncbn::config
