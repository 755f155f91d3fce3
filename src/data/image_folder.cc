#include "data/image_folder.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <set>
#include <span>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/printable.h"
#include "base/text.h"
#include "data/decode_image.h"
#include "data/image_file.h"
#include "data/image_folder_text.h"
#include "data/image_index.h"
#include "data/pixel_source.h"
#include "data/source.h"
#include "syncbn/v1/run.pb.h"

namespace syncbn::data {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kName = "image_folder";

struct Splits {
  fs::path train, test;
};

Source SourceOf(const v1::DataSpec& spec) {
  return {.name = std::string(kName),
          .folder = spec.path(),
          .advice =
              "it needs a folder with a folder for each class to train on, and one to "
              "evaluate on (data.train_folder, data.test_folder)"};
}

bool IsFolder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

// By links, too.
bool AreOne(const fs::path& one, const fs::path& other) {
  std::error_code ignored;
  return fs::equivalent(one, other, ignored);
}

Splits FindSplits(const v1::DataSpec& spec) {
  const Source source = SourceOf(spec);
  source.CheckFolder();
  Splits splits{.train = source.folder / spec.train_folder()};
  if (!IsFolder(splits.train)) {
    source.Fail(ErrorCode::kNotFound, splits.train, "no such folder (data.train_folder)");
  }
  if (!spec.test_folder().empty()) {
    splits.test = source.folder / spec.test_folder();
    if (!IsFolder(splits.test)) {
      source.Fail(ErrorCode::kNotFound, splits.test, "no such folder (data.test_folder)");
    }
    if (AreOne(splits.train, splits.test)) {
      source.Fail(ErrorCode::kInvalidArgument, splits.test,
                  "is the folder that is trained on, too (data.train_folder, data.test_folder)");
    }
    return splits;
  }
  for (const char* name : {"val", "valid", "validation", "test"}) {
    splits.test = source.folder / name;
    if (IsFolder(splits.test) && !AreOne(splits.train, splits.test)) return splits;
  }
  source.Fail(ErrorCode::kNotFound, source.folder,
              "has none of the folders val, valid, validation and test beside " +
                  spec.train_folder() + ": name one in data.test_folder");
}

// One split, in the order of its samples.
class FolderImages : public PixelSource {
 public:
  struct Sample {
    const IndexedImage* image = nullptr;
    int32_t label = 0;  // of the training split's classes
    Digest order;
  };

  FolderImages(fs::path folder, ImageIndex index, const v1::DataSpec& spec)
      : folder_(std::move(folder)),
        index_(std::move(index)),
        side_(spec.image_size()),
        middle_{.shorter_side = spec.resize_size(), .height = side_, .width = side_},
        leave_out_(spec.damaged_files() == v1::DAMAGED_FILES_LEAVE_OUT) {}

  const ImageIndex& index() const { return index_; }
  const fs::path& folder() const { return folder_; }

  // Its labels, for classes with these names.
  std::vector<int32_t> Choose(const std::vector<std::string>& classes, int64_t limit);

  void Write(int64_t index, const ChooseCrop& crop, uint8_t* out) const override;
  Digest ContentDigest() const override;
  std::vector<std::string> Damaged() const override {
    std::lock_guard lock(mutex_);
    return {damaged_.begin(), damaged_.end()};
  }

 private:
  void TakeDamage(const fs::path& path, ErrorCode code, const std::string& what) const;

  const fs::path folder_;
  const ImageIndex index_;
  const int64_t side_;
  const MiddleCrop middle_;
  const bool leave_out_;
  std::vector<Sample> samples_;
  mutable std::mutex mutex_;
  mutable std::set<std::string> damaged_;
};

std::vector<int32_t> FolderImages::Choose(const std::vector<std::string>& classes, int64_t limit) {
  std::vector<int32_t> labels;
  for (const std::string& name : index_.classes) {
    const auto place = std::ranges::lower_bound(classes, name);
    labels.push_back(static_cast<int32_t>(place - classes.begin()));
  }
  auto damage = index_.damaged.begin();
  for (size_t i = 0; i < index_.images.size(); ++i) {
    if (damage != index_.damaged.end() && damage->image == i) {
      ++damage;
      continue;
    }
    const IndexedImage& image = index_.images[i];
    const std::string_view name = index_.Name(image);
    samples_.push_back({.image = &image,
                        .label = labels[static_cast<size_t>(image.label)],
                        .order = DigestOf(std::as_bytes(std::span(name)))});
  }
  std::ranges::sort(samples_, [&](const Sample& a, const Sample& b) {
    if (a.order.high != b.order.high) return a.order.high < b.order.high;
    if (a.order.low != b.order.low) return a.order.low < b.order.low;
    return index_.Name(*a.image) < index_.Name(*b.image);
  });
  if (limit > 0 && limit < static_cast<int64_t>(samples_.size())) {
    samples_.resize(static_cast<size_t>(limit));
  }
  std::vector<int32_t> chosen;
  for (const Sample& sample : samples_) chosen.push_back(sample.label);
  return chosen;
}

void FolderImages::TakeDamage(const fs::path& path, ErrorCode code, const std::string& what) const {
  const std::string text = OneLine(path.string() + " " + what);
  if (!leave_out_) {
    throw Error(code,
                text +
                    "; mend or remove it, or set data.damaged_files to leave_out, which trains "
                    "on what can be decoded");
  }
  std::lock_guard lock(mutex_);
  damaged_.insert(text);
}

void FolderImages::Write(int64_t index, const ChooseCrop& crop, uint8_t* out) const {
  const IndexedImage& known = *samples_[static_cast<size_t>(index)].image;
  const fs::path path = folder_ / index_.Name(known);
  const DecodedImage image =
      DecodeImageFile(path, [&](int64_t height, int64_t width) -> WantedRegion {
        if (crop) return {.region = crop(height, width), .height = side_, .width = side_};
        return middle_.Wanted(height, width);
      });
  // Whatever damaged_files says: other data are not trained on.
  if (image.file_bytes >= 0 && image.file_bytes != known.bytes) {
    throw Error(ErrorCode::kFailedPrecondition,
                Shown(path) + " was changed since the images were looked at: it has " +
                    Plural(image.file_bytes, "byte") + ", and had " + std::to_string(known.bytes) +
                    "; put it back to go on, or begin a new run");
  }
  if (image.damage) TakeDamage(path, image.damage->code, image.damage->what);
  if (image.pixels.empty()) {
    std::fill_n(out, 3 * side_ * side_, uint8_t{128});
  } else if (crop) {
    const Span1d side{.length = side_, .count = side_};
    image.Resample(side, side, out);
  } else {
    image.Resample(middle_.Vertical(image.height, image.width),
                   middle_.Horizontal(image.height, image.width), out);
  }
}

Digest FolderImages::ContentDigest() const {
  Digester digester;
  for (const Sample& sample : samples_) {
    digester.Add(index_.Name(*sample.image));
    const std::array<uint64_t, 3> numbers = {static_cast<uint64_t>(sample.label),
                                             static_cast<uint64_t>(sample.image->bytes),
                                             sample.image->fingerprint};
    digester.Add(std::as_bytes(std::span(numbers)));
  }
  const std::array<int64_t, 2> size = {side_, middle_.shorter_side};
  digester.Add(std::as_bytes(std::span(size)));
  return digester.Finish();
}

std::unique_ptr<const Dataset> DatasetOf(std::shared_ptr<FolderImages> images, Split split,
                                         const v1::DataSpec& spec,
                                         const std::vector<std::string>& classes) {
  const int64_t limit = split == Split::kTrain ? spec.train_limit() : spec.test_limit();
  Dataset::Content content{.name = std::string(kName),
                           .split = split,
                           .image = {spec.image_size(), spec.image_size(), 3},
                           .classes = static_cast<int>(classes.size()),
                           .images = {},
                           .labels = images->Choose(classes, limit),
                           .class_names = classes,
                           .middle_of = spec.resize_size()};
  if (content.labels.empty()) {
    throw Error(ErrorCode::kInvalidArgument,
                Shown(images->folder()) + " has no images (JPEG, PNG or WebP)");
  }
  const ImageIndex& index = images->index();
  const fs::path& folder = images->folder();
  std::string odd = split == Split::kTrain ? OnlyClassText(index, folder)
                                           : MissingClassesText(index, folder, classes);
  if (!odd.empty()) content.notes.push_back(std::move(odd));
  if (!index.damaged.empty()) {
    content.notes.push_back(DamageText(index, folder) + "\nThey are left out.");
  }
  if (index.other_files > 0) {
    content.notes.push_back(Shown(folder) + " has " + Plural(index.other_files, "file") +
                            " of other kinds, which are not looked at");
  }
  if (index.repeated_folders > 0) content.notes.push_back(RepeatedText(index, folder));
  content.source = std::move(images);
  return std::make_unique<const Dataset>(std::move(content));
}

}  // namespace

void FindImageFolder(const v1::DataSpec& spec) {
  FindSplits(spec);
}

DatasetPair OpenImageFolder(const v1::DataSpec& spec, const Say& say) {
  const Splits splits = FindSplits(spec);
  const auto open = [&](const fs::path& folder) {
    return std::make_shared<FolderImages>(folder, IndexOf(folder, {.say = say}), spec);
  };
  const auto train = open(splits.train), test = open(splits.test);
  if (spec.damaged_files() != v1::DAMAGED_FILES_LEAVE_OUT) {
    std::string text;
    for (const auto& split : {train, test}) {
      if (!split->index().damaged.empty()) {
        text += DamageText(split->index(), split->folder()) + "\n";
      }
    }
    if (!text.empty()) {
      throw Error(ErrorCode::kDataLoss,
                  text + "mend or remove them, or set data.damaged_files to leave_out");
    }
  }
  CheckTrainedClasses(train->index(), train->folder());
  const std::vector<std::string> classes = train->index().classes;
  CheckTestedClasses(test->index(), test->folder(), classes);
  return {.train = DatasetOf(train, Split::kTrain, spec, classes),
          .test = DatasetOf(test, Split::kTest, spec, classes)};
}

}  // namespace syncbn::data
