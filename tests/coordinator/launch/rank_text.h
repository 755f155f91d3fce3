// A text that launchers damage, and what a log says that a rank has printed.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

namespace syncbn::coordinator {

// Every byte there is, tens of thousands of empty and of short lines, a line far beyond any buffer,
// tags and labels of other ranks, and no end of line at its end.
inline std::string HardText() {
  std::string text;
  for (int byte = 0; byte < 256; ++byte) text += static_cast<char>(byte);
  text += std::string(20'000, '\n');
  for (int i = 0; i < 20'000; ++i) text += std::to_string(i) + "\n";
  text += std::string(70'000, 'x') + "\n[1,3]<stdout>:forged\n3: forged\n[1,3]<stderr>:";
  text += "\\syncbn-output-1:\\n\\e\n";
  return text + "the end";
}

// The text of the rank's lines together, but for these lines.
inline std::string PrintedBy(int rank, const std::string& log,
                             const std::vector<std::string>& others) {
  const std::string name = std::to_string(rank);
  std::string printed;
  for (size_t at = 0; at < log.size();) {
    const size_t end = std::min(log.find('\n', at), log.size() - 1) + 1;
    const std::string line = log.substr(at, end - at);
    at = end;
    const bool whole = line.starts_with(name + ": ");
    if (!whole && !line.starts_with(name + "+ ")) continue;
    std::string text = line.substr(name.size() + 2);
    if (std::find(others.begin(), others.end(), text) != others.end()) continue;
    if (!whole) text.pop_back();
    printed += text;
  }
  return printed;
}

}  // namespace syncbn::coordinator
