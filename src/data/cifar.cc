#include "data/cifar.h"

#include <algorithm>
#include <utility>

#include "base/file.h"
#include "base/text.h"

namespace syncbn::data {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kSide = 32, kChannels = 3, kPlane = kSide * kSide;
constexpr int64_t kImageBytes = kPlane * kChannels;

// Names of the *.bin files of one split, sorted.
std::vector<std::string> ListFiles(const Source& source, Split split) {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator entries(source.folder, error);
  if (error) {
    source.Fail(ErrorCode::kPermissionDenied, source.folder, "cannot be read: " + error.message());
  }
  for (const fs::directory_entry& entry : entries) {
    const std::string name = entry.path().filename().string();
    const bool is_test = name.starts_with("test");
    if (entry.path().extension() == ".bin" && is_test == (split == Split::kTest)) {
      names.push_back(name);
    }
  }
  std::sort(names.begin(), names.end());
  if (names.empty()) {
    source.Fail(
        ErrorCode::kNotFound, source.folder,
        split == Split::kTest
            ? "no test file: expected *.bin with a name that starts with \"test\""
            : "no training file: expected *.bin with a name that does not start with \"test\"");
  }
  return names;
}

void CheckSize(const Source& source, const fs::path& file, int64_t found, int64_t record,
               std::optional<int64_t> records) {
  const std::string found_bytes = Plural(found, "byte") + " found";
  if (records && found != *records * record) {
    source.FailDamaged(
        file, std::string(found < *records * record ? "truncated: " : "bytes after the end: ") +
                  found_bytes + ", expected " + std::to_string(*records * record) + " (" +
                  std::to_string(*records) + " records of " + std::to_string(record) + ")");
  }
  if (found == 0 || found % record != 0) {
    source.FailDamaged(file, found_bytes + ", expected a multiple of " + std::to_string(record) +
                                 " (records of 1 label byte and 32 x 32 x 3 pixels)" +
                                 (found == 0 ? ", at least one" : ""));
  }
}

// Appends the records of one file.
void ReadRecords(const Source& source, const fs::path& file, const CifarLayout& layout,
                 std::optional<int64_t> records, Dataset::Content& content) {
  const std::vector<std::byte> raw = ReadFileBytes(file);
  const int64_t record = layout.label_bytes + kImageBytes;
  CheckSize(source, file, static_cast<int64_t>(raw.size()), record, records);
  const int64_t count = static_cast<int64_t>(raw.size()) / record;
  const size_t first = content.labels.size();
  content.labels.resize(first + static_cast<size_t>(count));
  content.images.resize(content.labels.size() * kImageBytes);
  const auto* bytes = reinterpret_cast<const uint8_t*>(raw.data());
  for (int64_t i = 0; i < count; ++i, bytes += record) {
    const int label = bytes[layout.label_bytes - 1];
    if (layout.classes && label >= *layout.classes) {
      source.FailDamaged(file, "label " + std::to_string(label) + " of record " +
                                   std::to_string(i) + " is out of range; expected 0 to " +
                                   std::to_string(*layout.classes - 1) + layout.classes_from);
    }
    const size_t sample = first + static_cast<size_t>(i);
    content.labels[sample] = label;
    const uint8_t* planes = bytes + layout.label_bytes;
    uint8_t* pixel = content.images.data() + sample * kImageBytes;
    for (int64_t p = 0; p < kPlane; ++p) {
      for (int64_t c = 0; c < kChannels; ++c) *pixel++ = planes[c * kPlane + p];
    }
  }
}

std::vector<fs::path> FindFiles(const Source& source, const CifarLayout& layout, Split split) {
  std::vector<std::string> names = split == Split::kTrain ? layout.train : layout.test;
  if (names.empty()) names = ListFiles(source, split);
  std::vector<fs::path> files;
  for (const std::string& name : names) files.push_back(source.Find(std::span(&name, 1)));
  return files;
}

Dataset::Content ReadSplit(const Source& source, const CifarLayout& layout, Split split) {
  const bool train = split == Split::kTrain;
  Dataset::Content content{.name = source.name,
                           .split = split,
                           .image = {kSide, kSide, kChannels},
                           .classes = 0,
                           .images = {},
                           .labels = {}};
  const std::vector<fs::path> files = FindFiles(source, layout, split);
  uintmax_t bytes = 0;
  for (const fs::path& file : files) bytes += fs::file_size(file);
  content.images.reserve(bytes);
  for (const fs::path& file : files) {
    ReadRecords(source, file, layout, train ? layout.train_records : layout.test_records, content);
  }
  content.classes =
      layout.classes.value_or(1 + *std::max_element(content.labels.begin(), content.labels.end()));
  return content;
}

}  // namespace

CifarLayout Cifar10Layout() {
  return {.label_bytes = 1,
          .classes = 10,
          .classes_from = "",
          .train = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
                    "data_batch_5.bin"},
          .test = {"test_batch.bin"},
          .train_records = 10000,
          .test_records = 10000};
}

CifarLayout Cifar100Layout() {
  return {.label_bytes = 2,
          .classes = 100,
          .classes_from = "",
          .train = {"train.bin"},
          .test = {"test.bin"},
          .train_records = 50000,
          .test_records = 10000};
}

CifarLayout AnyCifarLayout() {
  return {};
}

void FindCifarDataset(const Source& source, const CifarLayout& layout) {
  source.CheckFolder();
  for (const Split split : {Split::kTrain, Split::kTest}) FindFiles(source, layout, split);
}

SplitContents ReadCifarDataset(const Source& source, const CifarLayout& layout) {
  source.CheckFolder();
  SplitContents contents{.train = ReadSplit(source, layout, Split::kTrain), .test = {}};
  CifarLayout of_test = layout;
  if (!layout.classes) {
    of_test.classes = contents.train.classes;
    of_test.classes_from = ", the labels of the training split";
  }
  contents.test = ReadSplit(source, of_test, Split::kTest);
  return contents;
}

}  // namespace syncbn::data
