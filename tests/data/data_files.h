// Small data files for the tests: IDX, gzip and CIFAR records, whole or damaged as a test likes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "data/dataset.h"

namespace syncbn::data {

using Bytes = std::vector<uint8_t>;

void WriteBytes(const std::filesystem::path& path, std::span<const uint8_t> bytes);
Bytes ReadBytes(const std::filesystem::path& path);

// An IDX file of unsigned bytes: header, then `elements` as they are (also if they do not fit).
Bytes IdxBytes(const std::vector<uint32_t>& extents, std::span<const uint8_t> elements);
Bytes GzipBytes(std::span<const uint8_t> content);

// Pixel i of sample s is (s * 7 + i) mod 256.
Bytes PatternPixels(int64_t samples, int64_t elements);

// Four IDX files named as MNIST's: `train` and `test` images of side x side, labels i mod 10.
struct IdxFolder {
  std::filesystem::path path;
  int64_t train = 6;
  int64_t test = 4;
  int64_t side = 28;

  void Write() const;
};

// A CIFAR record: label bytes, then planes in which R of pixel p is (base + p) mod 256, G one more,
// B two more.
Bytes CifarRecord(std::span<const uint8_t> labels, int base);
// `count` records with labels first_label, first_label + 1, ...
Bytes CifarRecords(int count, int first_label);

// What MakeDataset throws for a DataSpec in protobuf text form; a failure of the test if nothing is
// thrown.
Error ErrorOf(const std::string& spec_text);
DatasetPair MakeFromText(const std::string& spec_text, uint64_t seed = 1);

// A split of `samples` images (3 x 4 x 2 unless told) with pattern pixels and labels i mod 5.
Dataset PatternDataset(int64_t samples, ImageShape image = {3, 4, 2});

}  // namespace syncbn::data
