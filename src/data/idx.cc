#include "data/idx.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <string>
#include <utility>

#include "base/file.h"
#include "base/printable.h"
#include "base/text.h"
#include "data/gzip.h"

namespace syncbn::data {
namespace {

namespace fs = std::filesystem;

constexpr uint8_t kUnsignedByte = 0x08;
// No image is larger; keeps the product of the extents of a damaged header within 64 bits.
constexpr int64_t kMaxSide = 16384;

std::string Hex(uint8_t byte) {
  std::array<char, 8> text;
  std::snprintf(text.data(), text.size(), "%02x", byte);
  return text.data();
}

std::vector<uint8_t> ReadUnpacked(const Source& source, const fs::path& file) {
  const std::vector<std::byte> raw = ReadFileBytes(file);
  const std::span<const uint8_t> bytes(reinterpret_cast<const uint8_t*>(raw.data()), raw.size());
  if (!LooksLikeGzip(bytes)) return {bytes.begin(), bytes.end()};
  try {
    return Gunzip(bytes);
  } catch (const Error& error) {
    source.Fail(error.code(), file, error.message());
  }
}

std::string Extents(const std::vector<int64_t>& extents) {
  std::vector<std::string> texts;
  for (int64_t extent : extents) texts.push_back(std::to_string(extent));
  return Join(texts, " x ");
}

// Checks the first four bytes.
void CheckMagic(const Source& source, const fs::path& file, std::span<const uint8_t> bytes,
                int dimensions) {
  if (bytes.size() < 4) {
    source.FailDamaged(file, "truncated: " + Plural(static_cast<int64_t>(bytes.size()), "byte") +
                                 " found, fewer than the header of an IDX file has");
  }
  if (bytes[0] != 0 || bytes[1] != 0) {
    source.FailDamaged(file, "begins with the bytes " + Hex(bytes[0]) + " " + Hex(bytes[1]) + " " +
                                 Hex(bytes[2]) + " " + Hex(bytes[3]) +
                                 "; expected an IDX file (00 00 08 0" + std::to_string(dimensions) +
                                 ") or gzip (1f 8b)");
  }
  if (bytes[2] != kUnsignedByte) {
    source.Fail(ErrorCode::kInvalidArgument, file,
                "holds elements of type 0x" + Hex(bytes[2]) + "; expected unsigned bytes (0x08)");
  }
  if (bytes[3] != dimensions) {
    source.Fail(ErrorCode::kInvalidArgument, file,
                "has " + Plural(bytes[3], "dimension") + "; expected " +
                    (dimensions == 3 ? "3 (images, height, width)" : "1 (labels)"));
  }
}

struct SplitFiles {
  fs::path images;
  fs::path labels;
};

SplitFiles FindFiles(const Source& source, Split split) {
  const std::string prefix = split == Split::kTrain ? "train" : "t10k";
  auto find = [&](const std::string& what, const std::string& kind) {
    const std::string dash = prefix + "-" + what + "-" + kind,
                      dot = prefix + "-" + what + "." + kind;
    const std::array<std::string, 4> names = {dash, dot, dash + ".gz", dot + ".gz"};
    return source.Find(names);
  };
  return {find("images", "idx3-ubyte"), find("labels", "idx1-ubyte")};
}

Dataset::Content ReadSplit(const Source& source, const IdxExpectation& expectation, Split split) {
  const SplitFiles files = FindFiles(source, split);
  IdxArray images = ReadIdx(source, files.images, 3);
  const IdxArray labels = ReadIdx(source, files.labels, 1);
  const int64_t height = images.extents[1], width = images.extents[2];
  if (expectation.side && (height != *expectation.side || width != *expectation.side)) {
    source.Fail(ErrorCode::kInvalidArgument, files.images,
                "images of " + std::to_string(height) + " x " + std::to_string(width) +
                    " pixels; " + source.name + " has " + std::to_string(*expectation.side) +
                    " x " + std::to_string(*expectation.side) +
                    " (data.dataset idx reads images of any size)");
  }
  if (images.extents[0] != labels.extents[0]) {
    source.FailDamaged(files.images, Plural(images.extents[0], "image") + ", but " +
                                         OneLine(files.labels.string()) + " has " +
                                         Plural(labels.extents[0], "label"));
  }
  if (images.elements.empty()) source.FailDamaged(files.images, "holds no images");

  Dataset::Content content{.name = source.name,
                           .split = split,
                           .image = {height, width, 1},
                           .classes = 0,
                           .images = std::move(images.elements),
                           .labels = {labels.elements.begin(), labels.elements.end()}};
  content.classes = expectation.classes.value_or(
      1 + *std::max_element(content.labels.begin(), content.labels.end()));
  for (size_t i = 0; i < content.labels.size(); ++i) {
    if (content.labels[i] < content.classes) continue;
    source.FailDamaged(files.labels, "label " + std::to_string(content.labels[i]) + " of sample " +
                                         std::to_string(i) + " is out of range; expected 0 to " +
                                         std::to_string(content.classes - 1) +
                                         expectation.classes_from);
  }
  return content;
}

}  // namespace

IdxArray ReadIdx(const Source& source, const fs::path& file, int dimensions) {
  std::vector<uint8_t> bytes = ReadUnpacked(source, file);
  CheckMagic(source, file, bytes, dimensions);
  const size_t header = 4 + 4 * static_cast<size_t>(dimensions);
  if (bytes.size() < header) {
    source.FailDamaged(file, "truncated: " + std::to_string(bytes.size()) +
                                 " bytes found, its header alone has " + std::to_string(header));
  }
  IdxArray array;
  int64_t expected = 1;
  for (size_t d = 0; d < static_cast<size_t>(dimensions); ++d) {
    int64_t extent = 0;
    for (size_t i = 0; i < 4; ++i) extent = extent << 8 | bytes[4 + 4 * d + i];
    array.extents.push_back(extent);
    if (d > 0 && (extent < 1 || extent > kMaxSide)) {
      source.FailDamaged(file, "its header gives " + std::to_string(extent) +
                                   (d == 1 ? " as the height" : " as the width") +
                                   " of an image; expected 1 to " + std::to_string(kMaxSide));
    }
    expected *= extent;
  }
  const auto found = static_cast<int64_t>(bytes.size() - header);
  if (found < expected) {
    source.FailDamaged(file, "truncated: its header promises " + Extents(array.extents) + " = " +
                                 Plural(expected, "byte") + ", found " + std::to_string(found));
  }
  if (found > expected) {
    source.FailDamaged(file, Plural(found - expected, "byte") +
                                 " after the end: its header promises " + Extents(array.extents) +
                                 " = " + Plural(expected, "byte") + ", found " +
                                 std::to_string(found));
  }
  bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(header));
  array.elements = std::move(bytes);
  return array;
}

void FindIdxDataset(const Source& source) {
  source.CheckFolder();
  for (const Split split : {Split::kTrain, Split::kTest}) FindFiles(source, split);
}

SplitContents ReadIdxDataset(const Source& source, const IdxExpectation& expectation) {
  source.CheckFolder();
  SplitContents contents{.train = ReadSplit(source, expectation, Split::kTrain), .test = {}};
  IdxExpectation of_test = expectation;
  if (!expectation.classes) {
    of_test.classes = contents.train.classes;
    of_test.classes_from = ", the labels of the training split";
  }
  contents.test = ReadSplit(source, of_test, Split::kTest);
  if (contents.test.image != contents.train.image) {
    source.Fail(ErrorCode::kInvalidArgument, source.folder,
                "test images of " + contents.test.image.ToString() + ", but training images of " +
                    contents.train.image.ToString());
  }
  return contents;
}

}  // namespace syncbn::data
