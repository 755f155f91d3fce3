#include "base/utf8.h"

#include <algorithm>

#include "base/text.h"

namespace syncbn {

std::string Utf8Beginning(std::string_view text, size_t most) {
  constexpr std::string_view kMore = " ...";
  std::string beginning;
  size_t fits = 0;  // of it, before `kMore`
  while (!text.empty()) {
    const size_t length = Utf8CharacterLength(text);
    beginning += length == 0 ? "?" : text.substr(0, length);
    text.remove_prefix(std::max<size_t>(length, 1));
    if (beginning.size() + kMore.size() <= most) fits = beginning.size();
    if (beginning.size() > most) {
      beginning.resize(fits);
      return beginning.append(kMore.substr(0, most));
    }
  }
  return beginning;
}

}  // namespace syncbn
