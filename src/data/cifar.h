// Readers of CIFAR's binary layout: records of label bytes followed by the planes R, G and B of an
// image of 32 x 32 pixels, nothing else.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/source.h"

namespace syncbn::data {

struct CifarLayout {
  int label_bytes = 1;         // the last one is learned: CIFAR-100 has coarse, then fine
  std::optional<int> classes;  // absent: one more than the largest training label
  std::string classes_from;    // words that follow the range of labels in an error
  // File names. Empty: every *.bin; those whose name starts with "test" are the test split.
  std::vector<std::string> train;
  std::vector<std::string> test;
  // Records of each training and test file. The layout has no header, so this alone tells a file
  // cut at the end of a record from a whole one.
  std::optional<int64_t> train_records;
  std::optional<int64_t> test_records;
};

CifarLayout Cifar10Layout();
CifarLayout Cifar100Layout();
CifarLayout AnyCifarLayout();

// Images become H W C. Files of a split are joined in the order of their names.
SplitContents ReadCifarDataset(const Source& source, const CifarLayout& layout);
// Throws as that does where one is missing.
void FindCifarDataset(const Source& source, const CifarLayout& layout);

}  // namespace syncbn::data
