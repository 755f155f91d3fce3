// The data set: where it lies, the size of its images, what is done to them.
#include <string>

#include "base/text.h"
#include "base/unknown_value.h"
#include "config/schema.h"
#include "config/validate.h"

namespace syncbn::config {
namespace {

void ValidatePath(const RunCheck& check) {
  const v1::DataSpec& data = check.spec.data();
  if (!check.Readable({"data.dataset", "data.path"})) return;
  if (!CheckWholePath(check, "data.path", data.path())) return;
  if (data.dataset() == v1::DATASET_SHAPES || !data.path().empty()) return;
  if (check.origins.Given("data.path")) {
    check.Report("data.path", "is empty: expected the folder that holds the data set's files");
    return;
  }
  const std::string name = EnumText(*v1::Dataset_descriptor()->FindValueByNumber(data.dataset()));
  check.Report("data.path",
               "is missing: `dataset: " + name + "` needs the folder that holds its files",
               "Add `path: FOLDER` to `data`, or give --set data.path=FOLDER.");
}

// The name of a folder in `path`: nothing that leads out of it.
void ValidateSplitFolders(const RunCheck& check) {
  const v1::DataSpec& data = check.spec.data();
  if (data.dataset() != v1::DATASET_IMAGE_FOLDER) return;
  const auto one = [&](const std::string& key, const std::string& folder) {
    if (!check.Readable({key}) || !check.origins.Given(key)) return;
    if (!folder.empty() && folder != "." && folder != ".." &&
        folder.find('/') == std::string::npos && folder.find('\0') == std::string::npos) {
      return;
    }
    check.Report(key, "expected the name of a folder that lies in `data.path`");
  };
  one("data.train_folder", data.train_folder());
  one("data.test_folder", data.test_folder());
  if (check.Readable({"data.train_folder", "data.test_folder"}) &&
      data.train_folder() == data.test_folder()) {
    check.Report("data.test_folder", "is the folder that is trained on, too");
  }
}

void ValidateImageSize(const RunCheck& check) {
  const v1::DataSpec& data = check.spec.data();
  if (data.dataset() != v1::DATASET_IMAGE_FOLDER ||
      !check.Readable({"data.image_size", "data.resize_size"}) ||
      data.resize_size() >= data.image_size()) {
    return;
  }
  check.Report("data.resize_size",
               "is under the `image_size` of " + std::to_string(data.image_size()) + " (" +
                   check.origins.Describe("data.image_size") +
                   "), which is cut out of the resized image",
               "By default it is image_size * 256 / 224.");
}

// `mean` and `std` belong together, and are as many as the images have channels.
void ValidateStandardization(const RunCheck& check) {
  const v1::DataSpec& data = check.spec.data();
  if (!check.Readable({"data.dataset", "data.mean", "data.std", "data.standardize"})) return;
  for (const auto& [one, values, other, others] :
       {std::tuple("data.mean", data.mean_size(), "std", data.std_size()),
        std::tuple("data.std", data.std_size(), "mean", data.mean_size())}) {
    if (values == 0) continue;
    if (others == 0) {
      check.ReportKey(one, "needs `" + std::string(other) + "` beside it", "Give both, or none.");
      return;
    }
    const int channels = KnownDataOf(data).channels;
    if (values == 1 || values == channels || (channels == 0 && values == 3)) continue;
    check.Report(one,
                 "has " + Plural(values, "number") +
                     (channels == 0 ? "; images have 1 or 3 channels"
                                    : ", but images have " + Plural(channels, "channel")),
                 "Give one for each channel, or a single number for all.");
  }
}

// A range of two numbers, the smaller first.
template <typename Range>
void ValidateRange(const RunCheck& check, const std::string& key, const Range& range) {
  if (!check.Readable({key}) || range.empty()) return;
  if (range.size() == 2 && range[0] <= range[1]) return;
  check.Report(key, "expected two numbers, the smallest and the largest",
               "For example: `scale: [0.08, 1]`, `ratio: [0.75, 1.33]`.");
}

void ValidateAugmentation(const RunCheck& check) {
  if (!check.Readable({"data.augment"})) return;
  const v1::AugmentSpec& augment = check.spec.data().augment();
  const std::string crop = "data.augment.random_resized_crop";
  ValidateRange(check, crop + ".scale", augment.random_resized_crop().scale());
  ValidateRange(check, crop + ".ratio", augment.random_resized_crop().ratio());
  if (!check.Readable({"data.dataset"})) return;
  const int channels = KnownDataOf(check.spec.data()).channels;
  const v1::ColorJitterSpec& jitter = augment.color_jitter();
  for (const auto& [key, value] :
       {std::pair("saturation", jitter.saturation()), std::pair("hue", jitter.hue())}) {
    if (value == 0 || channels == 3 || channels == 0) continue;
    check.Report("data.augment.color_jitter." + std::string(key),
                 "needs images with colours; these have one channel", "Remove it.");
  }
}

}  // namespace

void ValidateData(const RunCheck& check) {
  ValidatePath(check);
  ValidateSplitFolders(check);
  ValidateImageSize(check);
  ValidateStandardization(check);
  ValidateAugmentation(check);
}

KnownData KnownDataOf(const v1::DataSpec& data) {
  switch (data.dataset()) {
    case v1::DATASET_MNIST:
    case v1::DATASET_FASHION_MNIST:
      return {.height = 28,
              .width = 28,
              .channels = 1,
              .classes = 10,
              .train_samples = 60000,
              .test_samples = 10000};
    case v1::DATASET_SHAPES:
      return {.height = 32,
              .width = 32,
              .channels = 3,
              .classes = 10,
              .train_samples = data.shapes().train_samples(),
              .test_samples = data.shapes().test_samples()};
    case v1::DATASET_CIFAR10:
    case v1::DATASET_CIFAR100:
      return {.height = 32,
              .width = 32,
              .channels = 3,
              .classes = data.dataset() == v1::DATASET_CIFAR10 ? 10 : 100,
              .train_samples = 50000,
              .test_samples = 10000};
    case v1::DATASET_IMAGE_FOLDER:
      return {.height = data.image_size(), .width = data.image_size(), .channels = 3};
    case v1::DATASET_CIFAR_BINARY:
      return {.height = 32, .width = 32, .channels = 3};
    case v1::DATASET_UNSPECIFIED:
    case v1::DATASET_IDX:
      return {};
    default:
      ThrowUnknownValue("data.dataset", static_cast<int>(data.dataset()));
  }
}

}  // namespace syncbn::config
