// A split of a data set in memory: uint8 images (H W C each, one after another) and their labels.
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

namespace syncbn::v1 {
class DataSpec;
}

namespace syncbn::data {

enum class Split { kTrain, kTest };

// "train" or "test".
std::string_view SplitName(Split split);

struct ImageShape {
  int64_t height = 0;
  int64_t width = 0;
  int64_t channels = 0;

  int64_t elements() const { return height * width * channels; }
  bool operator==(const ImageShape&) const = default;
  // "28 x 28 x 1"
  std::string ToString() const;
};

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
    std::vector<uint8_t> images;  // labels.size() * image.elements()
    std::vector<int32_t> labels;  // each in [0, classes)
  };

  // Throws INTERNAL when the sizes do not fit each other or a label is out of range: who reads
  // files checks them first, with better words.
  explicit Dataset(Content content);

  const std::string& name() const { return content_.name; }
  Split split() const { return content_.split; }
  int64_t size() const { return static_cast<int64_t>(content_.labels.size()); }
  const ImageShape& image_shape() const { return content_.image; }
  int classes() const { return content_.classes; }

  // The class of sample `index`, in [0, classes()). Throws INTERNAL out of range.
  int32_t Label(int64_t index) const;
  // The pixels of sample `index` in the order H W C. Throws INTERNAL out of range.
  std::span<const uint8_t> Image(int64_t index) const;

  // Exact: sums of integers, rounded once at the end. The same on every machine.
  ChannelStatistics ComputeStatistics() const;
  // Of everything above but the name: equal digests mean the same samples in the same order.
  Digest ComputeDigest() const;

 private:
  void CheckIndex(int64_t index) const;

  Content content_;
};

struct DatasetPair {
  std::unique_ptr<const Dataset> train;
  std::unique_ptr<const Dataset> test;
};

// Reads or generates the data set that `spec` names, cut to train_limit and test_limit (0: all;
// more than there are: all). `seed` matters to `shapes` alone. Everything is read and checked here,
// so damage is found before training starts: a missing folder or file is NOT_FOUND, a damaged one
// DATA_LOSS, a file of another kind than asked INVALID_ARGUMENT; each message has the path, what
// was found, what was expected, and what to do.
DatasetPair MakeDataset(const v1::DataSpec& spec, uint64_t seed);

}  // namespace syncbn::data
