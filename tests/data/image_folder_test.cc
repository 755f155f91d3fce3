// Own images: which samples there are, what is refused and how, and the pixels that are trained on.
#include "data/image_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmath>
#include <fstream>

#include "base/error.h"
#include "base/file.h"
#include "data/batch_maker.h"
#include "data/class_names.h"
#include "data/dataset_cache.h"
#include "data/dataset_files.h"
#include "syncbn/v1/run.pb.h"
#include "tests/data/image_files.h"
#include "tests/support/temp_folder.h"

namespace syncbn::data {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class ImageFolderTest : public ::testing::Test {
 protected:
  ImageFolderTest() {
    for (int i = 0; i < 6; ++i) {
      Add("train/cat/" + std::to_string(i) + ".jpg", i);
      Add("train/dog/" + std::to_string(i) + ".png", 20 + i);
    }
    Add("val/cat/a.webp", 50);
    Add("val/dog/b.png", 60);
    spec_.set_dataset(v1::DATASET_IMAGE_FOLDER);
    spec_.set_path(root().string());
    spec_.set_train_folder("train");
    spec_.set_image_size(16);
    spec_.set_resize_size(18);
    spec_.set_damaged_files(v1::DAMAGED_FILES_REFUSE);
  }

  const fs::path& root() const { return folder_.path(); }
  void Add(const fs::path& name, int shift) const {
    const fs::path path = root() / name;
    fs::create_directories(path.parent_path());
    const Image image = Ramp(24, 30, 3, shift);
    if (path.extension() == ".jpg") return WriteJpeg(path, image);
    path.extension() == ".png" ? WritePng(path, image) : WriteWebp(path, image);
  }
  void Write(const fs::path& name, const std::string& bytes) const {
    std::ofstream(root() / name, std::ios::binary) << bytes;
  }
  // The message of what opening throws; empty where it does not.
  std::string Refusal(ErrorCode code) const {
    try {
      OpenImageFolder(spec_);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.message();
      return error.message();
    }
    return "";
  }
  Digest TrainDigest() const { return OpenImageFolder(spec_).train->ComputeDigest(); }

  const TempFolder folder_;
  v1::DataSpec spec_;
};

TEST_F(ImageFolderTest, HasASampleForEachImageAndAClassForEachFolder) {
  const DatasetPair pair = MakeDataset(spec_, 1);
  EXPECT_EQ(pair.train->size(), 12);
  EXPECT_EQ(pair.test->size(), 2);
  EXPECT_EQ(pair.train->classes(), 2);
  EXPECT_EQ(pair.test->classes(), 2);
  EXPECT_EQ(pair.train->image_shape(), (ImageShape{16, 16, 3}));
  EXPECT_EQ(pair.train->middle_of(), 18);
  EXPECT_FALSE(pair.train->in_memory());
  EXPECT_THAT(pair.train->notes(), IsEmpty());
  EXPECT_THAT(ClassNames(spec_, *pair.train), ElementsAre("cat", "dog"));
}

TEST_F(ImageFolderTest, TheFirstSamplesAreAMixtureOfTheClasses) {
  spec_.set_train_limit(6);
  spec_.set_test_limit(1);
  const DatasetPair pair = MakeDataset(spec_, 1);
  ASSERT_EQ(pair.train->size(), 6);
  EXPECT_EQ(pair.test->size(), 1);
  int dogs = 0;
  for (int64_t i = 0; i < 6; ++i) dogs += pair.train->Label(i);
  EXPECT_GT(dogs, 0);
  EXPECT_LT(dogs, 6);
}

TEST_F(ImageFolderTest, ATestClassHasTheLabelThatItIsTrainedWith) {
  fs::remove_all(root() / "val/cat");
  Add("val/dog/c.jpg", 3);
  const DatasetPair pair = MakeDataset(spec_, 1);
  EXPECT_EQ(pair.test->size(), 2);
  EXPECT_EQ(pair.test->Label(0), 1);
  EXPECT_EQ(pair.test->Label(1), 1);
}

TEST_F(ImageFolderTest, EvaluatesOnTheFirstFolderThereIsOrTheOneAskedFor) {
  Add("test/dog/only.png", 1);
  EXPECT_EQ(MakeDataset(spec_, 1).test->size(), 2);
  spec_.set_test_folder("test");
  EXPECT_EQ(MakeDataset(spec_, 1).test->size(), 1);
  spec_.set_test_folder("exam");
  EXPECT_THAT(Refusal(ErrorCode::kNotFound), HasSubstr("exam: no such folder (data.test_folder)"));
  EXPECT_THROW(CheckDatasetFiles(spec_), Error);
  // Never on what is trained on.
  spec_.set_train_folder("val");
  spec_.clear_test_folder();
  EXPECT_EQ(MakeDataset(spec_, 1).test->size(), 1);
  fs::create_directory_symlink("val", root() / "other");
  spec_.set_test_folder("other");
  EXPECT_THAT(Refusal(ErrorCode::kInvalidArgument), HasSubstr("is the folder that is trained on"));
  fs::remove(root() / "other");
  spec_.set_train_folder("train");
  spec_.clear_test_folder();
  EXPECT_NO_THROW(CheckDatasetFiles(spec_));
  fs::remove_all(root() / "val");
  fs::remove_all(root() / "test");
  EXPECT_THAT(Refusal(ErrorCode::kNotFound),
              HasSubstr("has none of the folders val, valid, validation and test"));
  spec_.set_train_folder("learn");
  EXPECT_THAT(Refusal(ErrorCode::kNotFound),
              HasSubstr("learn: no such folder (data.train_folder)"));
}

TEST_F(ImageFolderTest, ClassesWithoutImagesAndOnesThatAreNotTrainedOnAreNamed) {
  fs::create_directories(root() / "train/bird");
  Write("train/bird/notes.txt", "no image");
  EXPECT_THAT(Refusal(ErrorCode::kInvalidArgument),
              HasSubstr("has classes without an image (JPEG, PNG or WebP): bird"));
  fs::remove_all(root() / "train/bird");
  Add("val/fox/1.png", 1);
  EXPECT_THAT(Refusal(ErrorCode::kInvalidArgument),
              HasSubstr("has classes that are not trained on: fox"));
  fs::remove_all(root() / "val/fox");
  fs::create_directories(root() / "train/na\xefve");
  EXPECT_THAT(Refusal(ErrorCode::kInvalidArgument), HasSubstr("not UTF-8"));
}

TEST_F(ImageFolderTest, DamagedFilesAreNamedBeforeTrainingOrLeftOut) {
  const std::string jpeg = ReadFile(root() / "train/cat/0.jpg"),
                    png = ReadFile(root() / "train/dog/0.png"),
                    webp = ReadFile(root() / "val/cat/a.webp");
  Write("train/cat/empty.jpg", "");
  Write("train/cat/cut.jpg", jpeg.substr(0, jpeg.size() / 2));
  Write("train/cat/filled.jpg", jpeg.substr(0, jpeg.size() / 2) + std::string(5000, '\0'));
  Write("train/cat/text.jpg", "<html>404</html>");
  Write("train/cat/header.jpg", jpeg.substr(0, 20));
  Write("train/dog/cut.png", png.substr(0, png.size() - 20));
  Write("train/dog/cut.webp", webp.substr(0, webp.size() / 2));
  fs::create_symlink("nowhere", root() / "train/dog/lost.png");
  // What is behind the end of an image is no damage.
  Write("train/cat/more.jpg", jpeg + std::string(3000, 'x'));
  const std::string text = Refusal(ErrorCode::kDataLoss);
  EXPECT_THAT(text, HasSubstr("8 of 21 files in " + (root() / "train").string() +
                              " are damaged or no images:\n"));
  for (const char* line :
       {"cat/empty.jpg is damaged: it is empty\n", "cat/cut.jpg is damaged: Premature end of JPEG",
        "cat/filled.jpg is damaged: ", "cat/header.jpg is damaged: ",
        "cat/text.jpg is neither a JPEG nor a PNG nor a WebP\n", "dog/cut.png is damaged: ",
        "dog/cut.webp is damaged: ", "dog/lost.png is a link that leads nowhere"}) {
    EXPECT_THAT(text, HasSubstr("  " + (root() / "train").string() + "/" + line));
  }
  EXPECT_THAT(text, HasSubstr("set data.damaged_files to leave_out"));
  spec_.set_damaged_files(v1::DAMAGED_FILES_LEAVE_OUT);
  const DatasetPair pair = OpenImageFolder(spec_);
  EXPECT_EQ(pair.train->size(), 13);
  ASSERT_THAT(pair.train->notes(), SizeIs(1));
  EXPECT_THAT(pair.train->notes()[0], AllOf(HasSubstr("8 of 21 files"), HasSubstr("left out")));
  EXPECT_THAT(pair.train->Damaged(), IsEmpty());
}

TEST_F(ImageFolderTest, OfManyDamagedFilesTheFirstAreNamedAndAllAreCounted) {
  for (int i = 0; i < 30; ++i) Write("train/cat/bad" + std::to_string(i) + ".png", "?");
  EXPECT_THAT(Refusal(ErrorCode::kDataLoss),
              AllOf(HasSubstr("30 of 42 files"), HasSubstr("\n  and 10 more")));
}

// Its beginning and its end are whole.
TEST_F(ImageFolderTest, DamageInTheMiddleShowsWhenAFileIsDecodedAndIsNamed) {
  std::string png = ReadFile(root() / "train/dog/0.png");
  png[png.size() / 2] = static_cast<char>(png[png.size() / 2] ^ 0x55);
  for (const char* name : {"cat", "dog"}) fs::remove_all(root() / "train" / name);
  Add("train/cat/whole.png", 3);
  fs::create_directories(root() / "train/dog");
  Write("train/dog/crc.png", png);
  std::vector<uint8_t> pixels(16 * 16 * 3);
  const auto write_all = [&](const Dataset& dataset) {
    for (int64_t i = 0; i < dataset.size(); ++i) dataset.Write(i, {}, pixels);
  };
  const DatasetPair strict = OpenImageFolder(spec_);
  try {
    write_all(*strict.train);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kDataLoss);
    EXPECT_THAT(error.message(), AllOf(HasSubstr("train/dog/crc.png is damaged: "),
                                       HasSubstr("data.damaged_files")));
  }
  spec_.set_damaged_files(v1::DAMAGED_FILES_LEAVE_OUT);
  const DatasetPair lenient = OpenImageFolder(spec_);
  write_all(*lenient.train);
  write_all(*lenient.train);
  ASSERT_THAT(lenient.train->Damaged(), SizeIs(1)) << "counted once";
  EXPECT_THAT(lenient.train->Damaged()[0], HasSubstr("crc.png is damaged: "));
  const int64_t dog = lenient.train->Label(0) == 1 ? 0 : 1;
  lenient.train->Write(dog, {}, pixels);
  EXPECT_EQ(pixels, std::vector<uint8_t>(pixels.size(), 128));
}

// What a header says is known before training: the scan passes nothing that decoding refuses.
TEST_F(ImageFolderTest, WhatAHeaderSaysIsKnownBeforeTraining) {
  const std::string jpeg = ReadFile(root() / "train/cat/0.jpg"),
                    png = ReadFile(root() / "train/dog/0.png");
  Write("train/cat/deep.jpg", WithFrame(jpeg, 0, 12));
  // Behind a preview that is longer than what is read of the beginning.
  std::string behind = WithFrame(jpeg, 0, 12);
  behind.insert(2, std::string("\xff\xe1\xea\x60", 4) + std::string(0xea60 - 2, 'x'));
  Write("train/cat/behind.jpg", behind);
  std::string whole = jpeg;
  whole.insert(2, std::string("\xff\xe1\xea\x60", 4) + std::string(0xea60 - 2, 'x'));
  Write("train/cat/preview.jpg", whole);
  Write("train/cat/huge.jpg", WithFrame(WithFrame(jpeg, 1, 65500), 3, 65500));
  std::string checksum = png;
  checksum.at(24) = 4;  // bits of a sample
  Write("train/dog/header.png", checksum);
  const std::string text = Refusal(ErrorCode::kDataLoss);
  EXPECT_THAT(text, HasSubstr("4 of 17 files"));
  for (const char* line :
       {"cat/deep.jpg is a JPEG that is not decoded: Unsupported JPEG data precision 12",
        "cat/behind.jpg is a JPEG that is not decoded", "cat/huge.jpg has 65500 x 65500 pixels",
        "dog/header.png is damaged: "}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

TEST_F(ImageFolderTest, WhatIsNoFileIsNamedAndNotWaitedFor) {
  ASSERT_EQ(::mkfifo((root() / "train/cat/pipe.jpg").c_str(), 0600), 0);
  EXPECT_THAT(Refusal(ErrorCode::kDataLoss), HasSubstr("cat/pipe.jpg is a pipe, not a file"));
  spec_.set_damaged_files(v1::DAMAGED_FILES_LEAVE_OUT);
  const DatasetPair pair = OpenImageFolder(spec_);
  EXPECT_EQ(pair.train->size(), 12);
  // One that has become a pipe since.
  fs::remove(root() / "train/cat/0.jpg");
  ASSERT_EQ(::mkfifo((root() / "train/cat/0.jpg").c_str(), 0600), 0);
  std::vector<uint8_t> pixels(16 * 16 * 3);
  for (int64_t i = 0; i < pair.train->size(); ++i) pair.train->Write(i, {}, pixels);
  ASSERT_THAT(pair.train->Damaged(), SizeIs(1));
  EXPECT_THAT(pair.train->Damaged()[0], HasSubstr("cat/0.jpg is a pipe, not a file"));
}

// So that no run goes on upon grey images because a disk is gone.
TEST_F(ImageFolderTest, WhatCannotBeReadIsNotDamagedAndEndsARunThatLeavesDamageOut) {
  spec_.set_damaged_files(v1::DAMAGED_FILES_LEAVE_OUT);
  const DatasetPair pair = OpenImageFolder(spec_);
  std::vector<uint8_t> pixels(16 * 16 * 3);
  const auto refusal = [&](ErrorCode code) -> std::string {
    try {
      for (int64_t i = 0; i < pair.train->size(); ++i) pair.train->Write(i, {}, pixels);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.message();
      return error.message();
    }
    return "";
  };
  // No file can be opened any more.
  struct rlimit limit {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const struct rlimit none { .rlim_cur = 0, .rlim_max = limit.rlim_max };
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const std::string many = refusal(ErrorCode::kResourceExhausted);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_THAT(many, AllOf(HasSubstr("cannot open " + (root() / "train").string()),
                          HasSubstr("Too many open files")));
  fs::remove(root() / "train/cat/0.jpg");
  EXPECT_THAT(refusal(ErrorCode::kNotFound), HasSubstr("cat/0.jpg: No such file"));
  EXPECT_THAT(pair.train->Damaged(), IsEmpty());
}

// Unless the links are those of a folder with itself.
TEST_F(ImageFolderTest, FoldersThatAreNotTakenInAgainAreTold) {
  fs::create_directory_symlink("..", root() / "train/cat/loop");
  const DatasetPair pair = OpenImageFolder(spec_);
  EXPECT_EQ(pair.train->size(), 12);
  ASSERT_THAT(pair.train->notes(), SizeIs(1));
  EXPECT_THAT(pair.train->notes()[0],
              AllOf(HasSubstr("1 folder in "), HasSubstr("is not taken in a second time:\n  "
                                                         "cat/loop leads back to a folder that "
                                                         "it lies in")));
}

TEST_F(ImageFolderTest, TheDigestIsThatOfNamesLabelsAndContents) {
  const Digest before = TrainDigest();
  EXPECT_EQ(TrainDigest(), before);
  // A copy elsewhere, with other times.
  const TempFolder copy;
  fs::copy(root() / "train", copy.path() / "train", fs::copy_options::recursive);
  fs::copy(root() / "val", copy.path() / "val", fs::copy_options::recursive);
  const std::string path = spec_.path();
  spec_.set_path(copy.path().string());
  EXPECT_EQ(TrainDigest(), before);
  spec_.set_path(path);
  Add("train/dog/3.png", 77);
  const Digest changed = TrainDigest();
  EXPECT_NE(changed, before) << "other pixels";
  fs::rename(root() / "train/dog/3.png", root() / "train/cat/3.png");
  EXPECT_NE(TrainDigest(), changed) << "another label";
  spec_.set_image_size(14);
  EXPECT_NE(TrainDigest(), changed) << "another size";
}

// rsync --inplace, cp over: of that no folder tells.
TEST_F(ImageFolderTest, FilesThatAreWrittenAgainInTheirPlacesAreOtherData) {
  SettleFolder(root());
  const Digest before = TrainDigest();
  ASSERT_EQ(TrainDigest(), before);
  const auto times = [&] {
    return std::pair(fs::last_write_time(root() / "train/cat"),
                     fs::last_write_time(root() / "train/dog"));
  };
  const auto settled = times();
  for (int i = 0; i < 6; ++i) {
    Add("train/cat/" + std::to_string(i) + ".jpg", 70 + i);
    Add("train/dog/" + std::to_string(i) + ".png", 90 + i);
  }
  ASSERT_EQ(times(), settled);
  EXPECT_NE(TrainDigest(), before);
}

TEST_F(ImageFolderTest, FilesThatAreCutOffInTheirPlacesAreNamedBeforeTraining) {
  SettleFolder(root());
  OpenImageFolder(spec_);
  for (const auto& entry : fs::recursive_directory_iterator(root() / "train")) {
    if (entry.is_regular_file()) fs::resize_file(entry, 0);
  }
  EXPECT_THAT(Refusal(ErrorCode::kDataLoss),
              AllOf(HasSubstr("12 of 12 files in " + (root() / "train").string() +
                              " are damaged or no images:\n"),
                    HasSubstr("dog/5.png is damaged: it is empty")));
}

TEST_F(ImageFolderTest, AFileThatChangesWhileItIsTrainedOnIsNamed) {
  // Whatever is said of damaged ones.
  spec_.set_damaged_files(v1::DAMAGED_FILES_LEAVE_OUT);
  const DatasetPair pair = OpenImageFolder(spec_);
  const fs::path dog = root() / "train/dog/3.png";
  const std::string was = std::to_string(fs::file_size(dog));
  fs::resize_file(dog, 0);
  std::vector<uint8_t> pixels(16 * 16 * 3);
  try {
    for (int64_t i = 0; i < pair.train->size(); ++i) pair.train->Write(i, {}, pixels);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kFailedPrecondition);
    EXPECT_THAT(error.message(),
                HasSubstr("dog/3.png was changed since the images were looked at: it has 0 bytes, "
                          "and had " +
                          was + ";"));
  }
  EXPECT_THAT(pair.train->Damaged(), IsEmpty());
}

// Of the scan, of loading, of what cannot be read, of classes.
TEST_F(ImageFolderTest, NamesAreShownOnOneLine) {
  const auto all = [&](const Dataset& dataset) -> std::string {
    std::vector<uint8_t> pixels(16 * 16 * 3);
    try {
      for (int64_t i = 0; i < dataset.size(); ++i) dataset.Write(i, {}, pixels);
    } catch (const Error& error) {
      return error.message();
    }
    return "";
  };
  const fs::path odd = root() / "train/new\nline/4\033x.png";
  Add("train/new\nline/4\033x.png", 30);
  std::string png = ReadFile(odd);
  png[png.size() / 2] = static_cast<char>(png[png.size() / 2] ^ 0x55);
  Write("train/new\nline/4\033x.png", png);
  const DatasetPair pair = OpenImageFolder(spec_);
  EXPECT_THAT(all(*pair.train), AllOf(HasSubstr("train/new line/4 x.png is damaged: "),
                                      HasSubstr("data.damaged_files"), Not(HasSubstr("\n"))));
  EXPECT_THAT(pair.test->notes(), ElementsAre(HasSubstr("trained on: new line;")));
  fs::resize_file(odd, 1);
  EXPECT_THAT(all(*pair.train), HasSubstr("train/new line/4 x.png was changed"));
  fs::remove(odd);
  EXPECT_THAT(all(*pair.train), HasSubstr("cannot open " + root().string() +
                                          "/train/new line/4 x.png: No such file"));
  EXPECT_THAT(Refusal(ErrorCode::kInvalidArgument),
              HasSubstr("without an image (JPEG, PNG or WebP): new line;"));
}

TEST_F(ImageFolderTest, OneClassAndClassesThatAreNotEvaluatedAreWarnedOf) {
  fs::remove_all(root() / "val/cat");
  fs::create_directories(root() / "val/cat");
  const DatasetPair pair = OpenImageFolder(spec_);
  EXPECT_THAT(pair.train->notes(), IsEmpty());
  EXPECT_THAT(pair.test->notes(),
              ElementsAre((root() / "val").string() +
                          " has no images of 1 of the 2 classes that are trained on: cat; an "
                          "evaluation says nothing of it"));
  fs::remove_all(root() / "val/cat");
  Add("train/ape/0.png", 1);
  EXPECT_THAT(OpenImageFolder(spec_).test->notes(),
              ElementsAre(HasSubstr("2 of the 3 classes that are trained on: ape, cat; an "
                                    "evaluation says nothing of them")));
  fs::remove_all(root() / "train/ape");
  fs::remove_all(root() / "train/cat");
  const DatasetPair one = OpenImageFolder(spec_);
  EXPECT_THAT(one.train->notes(),
              ElementsAre((root() / "train").string() +
                          " has one class only, dog: there is nothing to tell it from"));
  EXPECT_THAT(one.test->notes(), IsEmpty());
}

TEST_F(ImageFolderTest, EvaluatesTheMiddleOfTheResizedImage) {
  const DatasetPair pair = OpenImageFolder(spec_);
  std::vector<uint8_t> pixels(16 * 16 * 3);
  for (int64_t i = 0; i < 2; ++i) {
    pair.test->Write(i, {}, pixels);
    const char* name = pair.test->Label(i) == 0 ? "val/cat/a.webp" : "val/dog/b.png";
    const Image middle =
        Middle(ReadImage(root() / name), {.shorter_side = 18, .height = 16, .width = 16});
    EXPECT_EQ(pixels, middle.pixels);
  }
}

TEST_F(ImageFolderTest, TrainsOnTheSamplesOwnCropAndColours) {
  v1::RunSpec run;
  run.set_seed(3);
  *run.mutable_data() = spec_;
  v1::AugmentSpec& augment = *run.mutable_data()->mutable_augment();
  augment.set_horizontal_flip(true);
  for (const double scale : {0.2, 1.0}) augment.mutable_random_resized_crop()->add_scale(scale);
  for (const double ratio : {0.75, 1.33}) augment.mutable_random_resized_crop()->add_ratio(ratio);
  augment.mutable_color_jitter()->set_brightness(0.4);
  augment.mutable_color_jitter()->set_hue(0.1);
  DatasetCache cache;
  const auto data = cache.Get(run.data(), run.seed());
  const BatchMaker maker(data->train(), BatchMaker::Options::ForTraining(run, {}));
  const std::vector<uint64_t> ids = {4, 0, 9}, others = {9, 4};
  const auto bytes = [](const Batch& batch, int64_t i) {
    const std::span<const float> all = batch.images.Span<float>();
    return std::vector<float>(all.begin() + i * 768, all.begin() + (i + 1) * 768);
  };
  const Batch first = maker.Make(ids, 5), again = maker.Make(others, 5), next = maker.Make(ids, 6);
  EXPECT_EQ(bytes(first, 0), bytes(again, 1)) << "wherever it lies";
  EXPECT_EQ(bytes(first, 2), bytes(again, 0));
  EXPECT_NE(bytes(first, 0), bytes(next, 0)) << "anew in each epoch";
  // By hand.
  const RandomKey key = AugmentKey(3, 5, 4);
  const AugmentOptions options = AugmentOptions::From(augment);
  std::vector<uint8_t> pixels(768);
  data->train().Write(
      4, [&](int64_t h, int64_t w) { return DrawResizedCrop(*options.resized_crop, key, h, w); },
      pixels);
  for (const ColorChange& change : DrawColorChanges(options.color_jitter, key)) {
    ChangeColor(change, 3, pixels);
  }
  const bool flip = DrawChange(options, key, 16, 16).flip;
  const std::vector<float> made = bytes(first, 0);
  for (size_t y = 0; y < 16; ++y) {
    for (size_t x = 0; x < 16; ++x) {
      for (size_t c = 0; c < 3; ++c) {
        const float expected = static_cast<float>(pixels[(y * 16 + x) * 3 + c] / 255.0);
        ASSERT_EQ(made[(y * 16 + (flip ? 15 - x : x)) * 3 + c], expected);
      }
    }
  }
}

TEST_F(ImageFolderTest, OtherDataSetsAreCroppedAndColouredAlike) {
  v1::RunSpec run;
  v1::AugmentSpec& augment = *run.mutable_data()->mutable_augment();
  for (const double scale : {0.5, 0.5}) augment.mutable_random_resized_crop()->add_scale(scale);
  for (const double ratio : {1, 1}) augment.mutable_random_resized_crop()->add_ratio(ratio);
  const Image image = Ramp(16, 16, 3);
  const Dataset dataset({.name = "one",
                         .split = Split::kTrain,
                         .image = image.shape,
                         .classes = 1,
                         .images = image.pixels,
                         .labels = {0}});
  const std::vector<uint64_t> ids = {0};
  const Batch batch = BatchMaker(dataset, BatchMaker::Options::ForTraining(run, {})).Make(ids, 0);
  // 11 of 16 pixels in each direction: the ramp rises by 3 * 10 in place of 3 * 15.
  const std::span<const float> made = batch.images.Span<float>();
  EXPECT_NEAR(made[15 * 3] - made[0], 30 / 255.0, 2 / 255.0);
}

}  // namespace
}  // namespace syncbn::data
