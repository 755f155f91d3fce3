#include "data/dataset.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "data/pixel_source.h"
#include "data/resample.h"

namespace syncbn::data {

std::string_view SplitName(Split split) {
  return split == Split::kTrain ? "train" : "test";
}

std::string ImageShape::ToString() const {
  return std::to_string(height) + " x " + std::to_string(width) + " x " + std::to_string(channels);
}

Dataset::Dataset(Content content) : content_(std::move(content)) {
  SYNCBN_CHECK(content_.image.height > 0 && content_.image.width > 0 && content_.image.channels > 0)
      << "image shape " << content_.image.ToString() << " of " << content_.name;
  SYNCBN_CHECK_EQ(static_cast<int64_t>(content_.images.size()),
                  in_memory() ? size() * content_.image.elements() : 0)
      << "bytes of the images of " << content_.name;
  SYNCBN_CHECK_GT(content_.classes, 0) << "classes of " << content_.name;
  for (int32_t label : content_.labels) {
    SYNCBN_CHECK(label >= 0 && label < content_.classes)
        << "label " << label << " of " << content_.classes << " classes of " << content_.name;
  }
}

void Dataset::CheckIndex(int64_t index) const {
  SYNCBN_CHECK(index >= 0 && index < size())
      << "sample " << index << " of the " << size() << " samples of " << name() << "'s "
      << SplitName(split()) << " split";
}

int32_t Dataset::Label(int64_t index) const {
  CheckIndex(index);
  return content_.labels[static_cast<size_t>(index)];
}

std::vector<std::string> Dataset::Damaged() const {
  return in_memory() ? std::vector<std::string>() : content_.source->Damaged();
}

std::span<const uint8_t> Dataset::Image(int64_t index) const {
  CheckIndex(index);
  SYNCBN_CHECK(in_memory()) << "images of " << name();
  const auto bytes = static_cast<size_t>(content_.image.elements());
  return {content_.images.data() + static_cast<size_t>(index) * bytes, bytes};
}

void Dataset::Write(int64_t index, const ChooseCrop& crop, std::span<uint8_t> out) const {
  CheckIndex(index);
  const ImageShape& shape = content_.image;
  SYNCBN_CHECK_EQ(static_cast<int64_t>(out.size()), shape.elements());
  if (!in_memory()) return content_.source->Write(index, crop, out.data());
  const std::span<const uint8_t> image = Image(index);
  if (!crop) {
    std::ranges::copy(image, out.begin());
    return;
  }
  const Region part = crop(shape.height, shape.width);
  const int64_t line = shape.width * shape.channels;
  Resample({.pixels = image.data() + part.top * line + part.left * shape.channels,
            .height = part.height,
            .width = part.width,
            .channels = shape.channels,
            .row_bytes = line},
           {.end = static_cast<double>(part.height), .length = shape.height, .count = shape.height},
           {.end = static_cast<double>(part.width), .length = shape.width, .count = shape.width},
           out.data());
}

ChannelStatistics Dataset::ComputeStatistics() const {
  SYNCBN_CHECK(in_memory()) << "statistics of " << name();
  const auto channels = static_cast<size_t>(content_.image.channels);
  std::vector<std::array<uint64_t, 256>> histograms(channels);
  const uint8_t* pixel = content_.images.data();
  const auto pixels = static_cast<uint64_t>(size() * content_.image.height * content_.image.width);
  for (uint64_t i = 0; i < pixels; ++i) {
    for (size_t c = 0; c < channels; ++c) ++histograms[c][*pixel++];
  }
  ChannelStatistics result{std::vector<double>(channels, 0.0), std::vector<double>(channels, 0.0)};
  if (pixels == 0) return result;
  for (size_t c = 0; c < channels; ++c) {
    // 128 bits: count * sum of squares passes 2^64 from about ten million pixels on.
    unsigned __int128 sum = 0, squares = 0;
    for (uint64_t value = 0; value < 256; ++value) {
      sum += histograms[c][value] * value;
      squares += histograms[c][value] * value * value;
    }
    const auto count = static_cast<double>(pixels);
    result.mean[c] = static_cast<double>(sum) / count / 255.0;
    const unsigned __int128 deviation = squares * pixels - sum * sum;  // count^2 * variance
    result.std[c] = std::sqrt(static_cast<double>(deviation)) / count / 255.0;
  }
  return result;
}

Digest Dataset::ComputeDigest() const {
  Digester digester;
  const std::array<int64_t, 6> header = {static_cast<int64_t>(content_.split),
                                         size(),
                                         content_.image.height,
                                         content_.image.width,
                                         content_.image.channels,
                                         content_.classes};
  digester.Add(std::as_bytes(std::span(header)));
  digester.Add(std::as_bytes(std::span(content_.labels)));
  if (in_memory()) {
    digester.Add(std::as_bytes(std::span(content_.images)));
  } else {
    digester.Add(content_.source->ContentDigest().Hex());
  }
  return digester.Finish();
}

}  // namespace syncbn::data
