// Readers of the IDX format, in which MNIST and Fashion-MNIST are kept: two zero bytes, the element
// type, the number of dimensions, the extents (32 bit, big-endian), the elements.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/source.h"

namespace syncbn::data {

struct IdxArray {
  std::vector<int64_t> extents;
  std::vector<uint8_t> elements;
};

// An array of unsigned bytes with `dimensions` dimensions, plain or gzip (told by its first bytes).
IdxArray ReadIdx(const Source& source, const std::filesystem::path& file, int dimensions);

// What a data set of a known kind must look like.
struct IdxExpectation {
  std::optional<int64_t> side;  // height and width of the images
  std::optional<int> classes;   // absent: one more than the largest training label
  std::string classes_from;     // words that follow the range of labels in an error
};

// The four files named as MNIST's are, with '-' or '.' before "idx", plain or with ".gz".
SplitContents ReadIdxDataset(const Source& source, const IdxExpectation& expectation);
// Throws as that does where one is missing.
void FindIdxDataset(const Source& source);

}  // namespace syncbn::data
