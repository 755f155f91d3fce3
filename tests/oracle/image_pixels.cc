// Prints what the data layer makes of image files, for images_test.py: a line of input is
//   whole FILE | region FILE TOP LEFT HEIGHT WIDTH TO_HEIGHT TO_WIDTH | middle FILE SHORTER SIDE |
//   color FILE KIND FACTOR
// and its output a line "HEIGHT WIDTH" or "error: TEXT", then the bytes.
#include <cstdio>
#include <iostream>
#include <sstream>
#include <string>

#include "base/error.h"
#include "data/color_jitter.h"
#include "data/decode_image.h"
#include "data/image_file.h"

namespace syncbn::data {
namespace {

Image RegionOf(const std::string& path, std::istream& words) {
  WantedRegion wanted;
  Region& part = wanted.region;
  words >> part.top >> part.left >> part.height >> part.width >> wanted.height >> wanted.width;
  const DecodedImage decoded = DecodeImageFile(path, [&](int64_t, int64_t) { return wanted; });
  if (decoded.damage) throw Error(decoded.damage->code, decoded.damage->what);
  Image image{.shape = {wanted.height, wanted.width, 3}};
  image.pixels.resize(static_cast<size_t>(image.shape.elements()));
  decoded.Resample({.length = wanted.height, .count = wanted.height},
                   {.length = wanted.width, .count = wanted.width}, image.pixels.data());
  return image;
}

Image Made(const std::string& line) {
  std::istringstream words(line);
  std::string what, path;
  words >> what >> path;
  if (what == "region") return RegionOf(path, words);
  Image image = ReadImage(path);
  if (what == "middle") {
    MiddleCrop crop;
    words >> crop.shorter_side >> crop.height;
    crop.width = crop.height;
    return Middle(image, crop);
  }
  if (what == "color") {
    int kind = 0;
    ColorChange change;
    words >> kind >> change.factor;
    change.kind = static_cast<ColorChangeKind>(kind);
    ChangeColor(change, 3, image.pixels);
  }
  return image;
}

}  // namespace
}  // namespace syncbn::data

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    try {
      const syncbn::data::Image image = syncbn::data::Made(line);
      std::cout << image.shape.height << ' ' << image.shape.width << '\n';
      std::cout.write(reinterpret_cast<const char*>(image.pixels.data()),
                      static_cast<std::streamsize>(image.pixels.size()));
    } catch (const syncbn::Error& error) {
      std::cout << "error: " << error.message() << '\n';
    }
    std::cout.flush();
  }
}
