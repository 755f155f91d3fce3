// A split of a data set: uint8 images (H W C each) and their labels. The images are in memory, one
// after another, or made by a source when they are asked for.
//
// Immutable after construction, so any number of threads may read it. A Dataset owns its images;
// spans returned by Image() live as long as it does.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "data/image_shape.h"

namespace syncbn::v1 {
class DataSpec;
}

namespace syncbn::data {

class PixelSource;

enum class Split { kTrain, kTest };

// "train" or "test".
std::string_view SplitName(Split split);

// Of each channel, over all pixels of a split, in units of the pixel range [0, 1].
struct ChannelStatistics {
  std::vector<double> mean;
  std::vector<double> std;  // biased (divided by the count)
};

class Dataset {
 public:
  struct Content {
    std::string name;  // "mnist", for messages
    Split split = Split::kTrain;
    ImageShape image;
    int classes = 0;
    std::vector<uint8_t> images;  // labels.size() * image.elements(); none with a source
    std::vector<int32_t> labels;  // each in [0, classes)
    std::vector<std::string> class_names = {};  // by label; empty: see class_names.h
    // Images are the middle of files' images whose shorter side was made so many pixels; 0: they
    // are the whole of what there is.
    int64_t middle_of = 0;
    std::vector<std::string> notes = {};  // what whoever starts a run should know of the files
    std::shared_ptr<const PixelSource> source = nullptr;
  };

  // Throws INTERNAL when the sizes do not fit each other or a label is out of range: who reads
  // files checks them first, with better words.
  explicit Dataset(Content content);

  const std::string& name() const { return content_.name; }
  Split split() const { return content_.split; }
  int64_t size() const { return static_cast<int64_t>(content_.labels.size()); }
  const ImageShape& image_shape() const { return content_.image; }
  int classes() const { return content_.classes; }
  const std::vector<std::string>& class_names() const { return content_.class_names; }
  int64_t middle_of() const { return content_.middle_of; }
  const std::vector<std::string>& notes() const { return content_.notes; }
  // Files that could not be decoded whole up to now, each once, with what was found.
  std::vector<std::string> Damaged() const;
  bool in_memory() const { return content_.source == nullptr; }

  // The class of sample `index`, in [0, classes()). Throws INTERNAL out of range.
  int32_t Label(int64_t index) const;
  // The pixels of sample `index` in the order H W C. Throws INTERNAL out of range, or if they are
  // not in memory.
  std::span<const uint8_t> Image(int64_t index) const;
  // Writes the pixels of sample `index`, or, with `crop`, the part that it chooses, resized to
  // them. Throws INTERNAL out of range, and what a source throws.
  void Write(int64_t index, const ChooseCrop& crop, std::span<uint8_t> out) const;

  // Exact: sums of integers, rounded once at the end. The same on every machine. The images must be
  // in memory.
  ChannelStatistics ComputeStatistics() const;
  // Of everything above but names and notes: equal digests mean the same samples in the same order.
  // Of files by their names, sizes, beginnings and ends.
  Digest ComputeDigest() const;

 private:
  void CheckIndex(int64_t index) const;

  Content content_;
};

struct DatasetPair {
  std::unique_ptr<const Dataset> train;
  std::unique_ptr<const Dataset> test;
};

// Reads, opens or generates the data set that `spec` names, cut to train_limit and test_limit (0:
// all; more than there are: all). `seed` matters to `shapes` alone. Everything is read and checked
// here, so damage is found before training starts: a missing folder or file is NOT_FOUND, a damaged
// one DATA_LOSS, a file of another kind than asked INVALID_ARGUMENT; each message has the path,
// what was found, what was expected, and what to do.
DatasetPair MakeDataset(const v1::DataSpec& spec, uint64_t seed);

}  // namespace syncbn::data
