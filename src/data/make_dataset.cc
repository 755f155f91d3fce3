// The table from data.dataset to its reader.
#include <algorithm>
#include <optional>
#include <utility>
#include <variant>

#include "base/error.h"
#include "data/cifar.h"
#include "data/dataset.h"
#include "data/dataset_files.h"
#include "data/idx.h"
#include "data/image_folder.h"
#include "data/shapes.h"
#include "syncbn/v1/run.pb.h"

namespace syncbn::data {
namespace {

Source Downloadable(const v1::DataSpec& spec, const std::string& name) {
  const std::string folder = spec.path().empty() ? "FOLDER" : spec.path();
  return {name, spec.path(), "get it with: launch/get-data " + name + " " + folder};
}

Source Own(const v1::DataSpec& spec, const std::string& name) {
  return {name, spec.path(), "check how it was written"};
}

int64_t Limited(int64_t size, int64_t limit) {
  return limit > 0 ? std::min(size, limit) : size;
}

void Limit(Dataset::Content& content, int64_t limit) {
  const auto kept =
      static_cast<size_t>(Limited(static_cast<int64_t>(content.labels.size()), limit));
  if (kept == content.labels.size()) return;
  content.labels.resize(kept);
  content.images.resize(kept * static_cast<size_t>(content.image.elements()));
  content.images.shrink_to_fit();
}

SplitContents GenerateShapes(const v1::DataSpec& spec, uint64_t seed) {
  const int64_t train = Limited(spec.shapes().train_samples(), spec.train_limit());
  const int64_t test = Limited(spec.shapes().test_samples(), spec.test_limit());
  if (train < 1 || test < 1) {
    throw Error(ErrorCode::kInvalidArgument, "data.shapes has " + std::to_string(train) +
                                                 " training and " + std::to_string(test) +
                                                 " test samples; at least 1 of each is needed");
  }
  return {MakeShapes(seed, Split::kTrain, train), MakeShapes(seed, Split::kTest, test)};
}

// Where the files of a data set that is kept in memory lie, and what they must be.
struct Files {
  Source source;
  std::variant<IdxExpectation, CifarLayout> kind;
};

// Nothing: it is made, not read.
std::optional<Files> FilesOf(const v1::DataSpec& spec) {
  switch (spec.dataset()) {
    case v1::DATASET_SHAPES:
      return std::nullopt;
    case v1::DATASET_MNIST:
      return Files{Downloadable(spec, "mnist"), IdxExpectation{.side = 28, .classes = 10}};
    case v1::DATASET_FASHION_MNIST:
      return Files{Downloadable(spec, "fashion_mnist"), IdxExpectation{.side = 28, .classes = 10}};
    case v1::DATASET_IDX:
      return Files{Own(spec, "idx"), IdxExpectation{}};
    case v1::DATASET_CIFAR10:
      return Files{Downloadable(spec, "cifar10"), Cifar10Layout()};
    case v1::DATASET_CIFAR100:
      return Files{Downloadable(spec, "cifar100"), Cifar100Layout()};
    case v1::DATASET_CIFAR_BINARY:
      return Files{Own(spec, "cifar_binary"), AnyCifarLayout()};
    default:
      throw Error(ErrorCode::kInvalidArgument,
                  "data.dataset is not given; expected shapes, mnist, fashion_mnist, cifar10, "
                  "cifar100, idx, cifar_binary or image_folder");
  }
}

SplitContents Read(const v1::DataSpec& spec, uint64_t seed) {
  const std::optional<Files> files = FilesOf(spec);
  if (!files) return GenerateShapes(spec, seed);
  if (const auto* layout = std::get_if<CifarLayout>(&files->kind))
    return ReadCifarDataset(files->source, *layout);
  return ReadIdxDataset(files->source, std::get<IdxExpectation>(files->kind));
}

}  // namespace

void CheckDatasetFiles(const v1::DataSpec& spec) {
  if (spec.dataset() == v1::DATASET_IMAGE_FOLDER) return FindImageFolder(spec);
  const std::optional<Files> files = FilesOf(spec);
  if (!files) return;
  if (const auto* layout = std::get_if<CifarLayout>(&files->kind)) {
    FindCifarDataset(files->source, *layout);
  } else {
    FindIdxDataset(files->source);
  }
}

DatasetPair MakeDataset(const v1::DataSpec& spec, uint64_t seed) {
  return OpenDataset(spec, seed, {});
}

DatasetPair OpenDataset(const v1::DataSpec& spec, uint64_t seed, const Say& say) {
  if (spec.dataset() == v1::DATASET_IMAGE_FOLDER) return OpenImageFolder(spec, say);
  SplitContents contents = Read(spec, seed);
  Limit(contents.train, spec.train_limit());
  Limit(contents.test, spec.test_limit());
  return {std::make_unique<const Dataset>(std::move(contents.train)),
          std::make_unique<const Dataset>(std::move(contents.test))};
}

}  // namespace syncbn::data
