#include "comm/merge.h"

#include <algorithm>

#include "base/unknown_value.h"

namespace syncbn::comm {

std::vector<Range> CutIntoRanges(const Content& content, int parts) {
  std::vector<Range> ranges(static_cast<size_t>(parts));
  // cut(k): where range k ends when it should end near `target`.
  size_t block = 0;
  int64_t block_begin = 0;
  const auto cut = [&](int64_t target) {
    switch (content.operation) {
      case Operation::kSum: {
        const int64_t line = 64 / static_cast<int64_t>(SizeOf(content.dtype));
        return std::min(content.elements, (target + line - 1) / line * line);
      }
      case Operation::kMergeMoments:
        while (block < content.channels.size() && block_begin < target) {
          block_begin += backend::MomentsElements(content.channels[block++]);
        }
        return block_begin;
    }
    ThrowUnknownValue("reduction", static_cast<int>(content.operation));
  };
  int64_t begin = 0;
  for (int k = 0; k < parts; ++k) {
    const int64_t end =
        k + 1 == parts ? content.elements : cut(content.elements / parts * (k + 1));
    ranges[static_cast<size_t>(k)] = {begin, end};
    begin = end;
  }
  return ranges;
}

}  // namespace syncbn::comm
