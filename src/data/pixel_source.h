// Where the pixels of a split come from that is not kept in memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/digest.h"
#include "data/image_shape.h"

namespace syncbn::data {

// Immutable, but for what it counts: any number of threads may read it.
class PixelSource {
 public:
  virtual ~PixelSource() = default;

  // Writes sample `index` in the size of the split's images: the part that `crop` chooses, or, if
  // it is empty, what is evaluated. Throws as reading files does.
  virtual void Write(int64_t index, const ChooseCrop& crop, uint8_t* out) const = 0;
  // Equal where the samples are.
  virtual Digest ContentDigest() const = 0;
  // Files that could not be decoded whole up to now, each once: "cat/1.jpg is damaged: ...".
  virtual std::vector<std::string> Damaged() const = 0;
};

}  // namespace syncbn::data
