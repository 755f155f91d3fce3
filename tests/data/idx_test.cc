#include "data/idx.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>

#include "tests/data/data_files.h"
#include "tests/support/temp_folder.h"

namespace syncbn::data {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string Spec(const TempFolder& folder, const std::string& dataset = "DATASET_MNIST") {
  return "dataset: " + dataset + " path: '" + folder.path().string() + "'";
}

void Gzip(const std::filesystem::path& path) {
  WriteBytes(path.string() + ".gz", GzipBytes(ReadBytes(path)));
  std::filesystem::remove(path);
}

TEST(Idx, ReadsPlainFiles) {
  TempFolder folder;
  IdxFolder{folder.path()}.Write();
  const DatasetPair pair = MakeFromText(Spec(folder));
  EXPECT_EQ(pair.train->name(), "mnist");
  EXPECT_EQ(pair.train->split(), Split::kTrain);
  EXPECT_EQ(pair.test->split(), Split::kTest);
  EXPECT_EQ(pair.train->image_shape(), (ImageShape{28, 28, 1}));
  EXPECT_EQ(pair.train->classes(), 10);
  ASSERT_EQ(pair.train->size(), 6);
  ASSERT_EQ(pair.test->size(), 4);
  for (int64_t i = 0; i < 6; ++i) {
    EXPECT_EQ(pair.train->Label(i), i);
    EXPECT_EQ(pair.train->Image(i)[0], 7 * i);
    EXPECT_EQ(pair.train->Image(i)[783], static_cast<uint8_t>(7 * i + 783));
  }
}

TEST(Idx, GzipHoldsTheSameAsPlain) {
  TempFolder folder;
  IdxFolder{folder.path()}.Write();
  const Digest plain = MakeFromText(Spec(folder)).train->ComputeDigest();
  for (const char* name : {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                           "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"}) {
    Gzip(folder.path() / name);
  }
  EXPECT_EQ(MakeFromText(Spec(folder)).train->ComputeDigest(), plain);
}

TEST(Idx, GzipOfSeveralMembersIsJoined) {
  TempFolder folder;
  IdxFolder{folder.path()}.Write();
  const std::filesystem::path path = folder.path() / "train-images-idx3-ubyte";
  const Bytes whole = ReadBytes(path);
  Bytes packed = GzipBytes(std::span(whole).first(1000));
  const Bytes second = GzipBytes(std::span(whole).subspan(1000));
  packed.insert(packed.end(), second.begin(), second.end());
  const Digest plain = MakeFromText(Spec(folder)).train->ComputeDigest();
  WriteBytes(path, packed);
  EXPECT_EQ(MakeFromText(Spec(folder)).train->ComputeDigest(), plain);
}

TEST(Idx, NamesWithADotAreFound) {
  TempFolder folder;
  IdxFolder{folder.path()}.Write();
  std::filesystem::rename(folder.path() / "t10k-labels-idx1-ubyte",
                          folder.path() / "t10k-labels.idx1-ubyte");
  EXPECT_EQ(MakeFromText(Spec(folder)).test->size(), 4);
}

TEST(Idx, LimitsKeepTheFirstSamples) {
  TempFolder folder;
  IdxFolder{folder.path()}.Write();
  const DatasetPair pair = MakeFromText(Spec(folder) + " train_limit: 3 test_limit: 100");
  EXPECT_EQ(pair.train->size(), 3);
  EXPECT_EQ(pair.train->Label(2), 2);
  EXPECT_EQ(pair.test->size(), 4);
}

TEST(Idx, GenericFilesHaveAnySizeAndAsManyClassesAsTheTrainingLabels) {
  TempFolder folder;
  IdxFolder{.path = folder.path(), .train = 6, .side = 5}.Write();
  const DatasetPair pair = MakeFromText(Spec(folder, "DATASET_IDX") + " train_limit: 2");
  EXPECT_EQ(pair.train->image_shape(), (ImageShape{5, 5, 1}));
  EXPECT_EQ(pair.train->classes(), 6);
  EXPECT_EQ(pair.test->classes(), 6);
}

// Every way in which a folder can be wrong, with what must be said about it.
struct Damage {
  std::string what;
  std::function<void(const std::filesystem::path& folder)> apply;
  ErrorCode code;
  std::string file;     // that the message begins with
  std::string message;  // that it contains
};

void Change(const std::filesystem::path& path, const std::function<void(Bytes&)>& change) {
  Bytes bytes = ReadBytes(path);
  change(bytes);
  WriteBytes(path, bytes);
}

const std::string kImages = "train-images-idx3-ubyte", kLabels = "train-labels-idx1-ubyte";

std::vector<Damage> AllDamage() {
  const auto change = [](const std::string& file, std::function<void(Bytes&)> how) {
    return [=](const std::filesystem::path& folder) { Change(folder / file, how); };
  };
  const auto packed = [](std::function<void(Bytes&)> how) {
    return [=](const std::filesystem::path& folder) {
      Gzip(folder / kImages);
      Change(folder / (kImages + ".gz"), how);
    };
  };
  return {
      {"no file", [](const auto& folder) { std::filesystem::remove(folder / kImages); },
       ErrorCode::kNotFound, kImages,
       "no such file, nor train-images.idx3-ubyte, train-images-idx3-ubyte.gz or "
       "train-images.idx3-ubyte.gz"},
      {"no test labels",
       [](const auto& folder) { std::filesystem::remove(folder / "t10k-labels-idx1-ubyte"); },
       ErrorCode::kNotFound, "t10k-labels-idx1-ubyte", "no such file"},
      {"files one folder below",
       [](const auto& folder) {
         std::filesystem::create_directory(folder / "raw");
         std::filesystem::rename(folder / kImages, folder / "raw" / kImages);
       },
       ErrorCode::kNotFound, kImages, "/raw has one: data.path may be meant to be that"},
      {"empty file", change(kImages, [](Bytes& b) { b.clear(); }), ErrorCode::kDataLoss, kImages,
       "truncated: 0 bytes found, fewer than the header of an IDX file has"},
      {"a web page",
       change(kImages,
              [](Bytes& b) {
                b = {'<', '!', 'D', 'O', 'C'};
              }),
       ErrorCode::kDataLoss, kImages,
       "begins with the bytes 3c 21 44 4f; expected an IDX file (00 00 08 03) or gzip (1f 8b)"},
      {"floats", change(kImages, [](Bytes& b) { b[2] = 0x0d; }), ErrorCode::kInvalidArgument,
       kImages, "holds elements of type 0x0d; expected unsigned bytes (0x08)"},
      {"labels in place of images",
       [](const auto& folder) {
         std::filesystem::copy_file(folder / kLabels, folder / kImages,
                                    std::filesystem::copy_options::overwrite_existing);
       },
       ErrorCode::kInvalidArgument, kImages, "has 1 dimension; expected 3 (images, height, width)"},
      {"images in place of labels",
       [](const auto& folder) {
         std::filesystem::copy_file(folder / kImages, folder / kLabels,
                                    std::filesystem::copy_options::overwrite_existing);
       },
       ErrorCode::kInvalidArgument, kLabels, "has 3 dimensions; expected 1 (labels)"},
      {"half a header", change(kImages, [](Bytes& b) { b.resize(10); }), ErrorCode::kDataLoss,
       kImages, "truncated: 10 bytes found, its header alone has 16"},
      {"cut off", change(kImages, [](Bytes& b) { b.pop_back(); }), ErrorCode::kDataLoss, kImages,
       "truncated: its header promises 6 x 28 x 28 = 4704 bytes, found 4703"},
      {"labels cut off", change(kLabels, [](Bytes& b) { b.pop_back(); }), ErrorCode::kDataLoss,
       kLabels, "truncated: its header promises 6 = 6 bytes, found 5"},
      {"one byte more", change(kImages, [](Bytes& b) { b.push_back(0); }), ErrorCode::kDataLoss,
       kImages, "1 byte after the end: its header promises 6 x 28 x 28 = 4704 bytes, found 4705"},
      {"a header of nonsense", change(kImages, [](Bytes& b) { b[8] = b[9] = 0xff; }),
       ErrorCode::kDataLoss, kImages,
       "its header gives 4294901788 as the height of an image; expected 1 to 16384"},
      {"images of width 0", change(kImages, [](Bytes& b) { b[15] = 0; }), ErrorCode::kDataLoss,
       kImages, "its header gives 0 as the width of an image"},
      {"images of another size",
       [](const auto& folder) { IdxFolder{.path = folder, .side = 32}.Write(); },
       ErrorCode::kInvalidArgument, kImages,
       "images of 32 x 32 pixels; mnist has 28 x 28 (data.dataset idx reads images of any size)"},
      {"fewer labels than images",
       [](const auto& folder) { WriteBytes(folder / kLabels, IdxBytes({5}, Bytes(5))); },
       ErrorCode::kDataLoss, kImages, "6 images, but "},
      {"no images",
       [](const auto& folder) {
         WriteBytes(folder / kImages, IdxBytes({0, 28, 28}, {}));
         WriteBytes(folder / kLabels, IdxBytes({0}, {}));
       },
       ErrorCode::kDataLoss, kImages, "holds no images"},
      {"label out of range", change(kLabels, [](Bytes& b) { b[8 + 3] = 10; }), ErrorCode::kDataLoss,
       kLabels, "label 10 of sample 3 is out of range; expected 0 to 9"},
      {"gzip cut off", packed([](Bytes& b) { b.resize(b.size() / 2); }), ErrorCode::kDataLoss,
       kImages + ".gz", "truncated gzip data: the file ends after "},
      {"gzip checksum cut off", packed([](Bytes& b) { b.resize(b.size() - 8); }),
       ErrorCode::kDataLoss, kImages + ".gz", "truncated gzip data"},
      {"gzip checksum wrong", packed([](Bytes& b) { b[b.size() - 8] ^= 1; }), ErrorCode::kDataLoss,
       kImages + ".gz", "damaged gzip data near byte "},
      {"gzip length wrong", packed([](Bytes& b) { b[b.size() - 1] ^= 1; }), ErrorCode::kDataLoss,
       kImages + ".gz", "(incorrect length check)"},
      {"gzip data changed", packed([](Bytes& b) { b[b.size() / 2] ^= 0x55; }), ErrorCode::kDataLoss,
       kImages + ".gz", "damaged gzip data near byte "},
      {"bytes after the gzip data", packed([](Bytes& b) {
         b.insert(b.end(), {1, 2, 3});
       }),
       ErrorCode::kDataLoss, kImages + ".gz", "3 bytes follow the end of the gzip data"},
  };
}

TEST(Idx, EveryDamageIsAnErrorThatNamesTheFileAndTheRemedy) {
  for (const Damage& damage : AllDamage()) {
    SCOPED_TRACE(damage.what);
    TempFolder folder;
    IdxFolder{folder.path()}.Write();
    damage.apply(folder.path());
    const Error error = ErrorOf(Spec(folder));
    EXPECT_EQ(error.code(), damage.code) << error.message();
    EXPECT_THAT(
        error.message(),
        AllOf(StartsWith((folder.path() / damage.file).string() + ": "), HasSubstr(damage.message),
              HasSubstr("; get it with: launch/get-data mnist " + folder.path().string())));
  }
}

TEST(Idx, TestLabelsMustBeAmongTheTrainingLabels) {
  TempFolder folder;
  IdxFolder{.path = folder.path(), .train = 3, .test = 4, .side = 4}.Write();
  const Error error = ErrorOf(Spec(folder, "DATASET_IDX"));
  EXPECT_EQ(error.code(), ErrorCode::kDataLoss);
  EXPECT_THAT(error.message(), HasSubstr("t10k-labels-idx1-ubyte: label 3 of sample 3 is out of "
                                         "range; expected 0 to 2, the labels of the training "
                                         "split; check how it was written"));
}

TEST(Idx, TestImagesMustHaveTheSizeOfTheTrainingImages) {
  TempFolder folder;
  IdxFolder{.path = folder.path(), .side = 4}.Write();
  const Bytes pixels(4 * 5 * 5);
  WriteBytes(folder.path() / "t10k-images-idx3-ubyte", IdxBytes({4, 5, 5}, pixels));
  const Error error = ErrorOf(Spec(folder, "DATASET_IDX"));
  EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
  EXPECT_THAT(error.message(),
              HasSubstr("test images of 5 x 5 x 1, but training images of 4 x 4 x 1"));
}

TEST(Idx, AFolderThatIsNotThereIsAnError) {
  Error error = ErrorOf("dataset: DATASET_FASHION_MNIST path: '/no/such/folder'");
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_EQ(error.message(),
            "/no/such/folder: no such folder (data.path); get it with: launch/get-data "
            "fashion_mnist /no/such/folder");
  error = ErrorOf("dataset: DATASET_MNIST");
  EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(error.message(),
            "data.path is not given, and data.dataset mnist needs the folder that holds its files; "
            "get it with: launch/get-data mnist FOLDER");
}

TEST(Idx, AFileInPlaceOfTheFolderIsAnError) {
  TempFolder folder;
  WriteBytes(folder.path() / "file", Bytes{1});
  const Error error =
      ErrorOf("dataset: DATASET_MNIST path: '" + (folder.path() / "file").string() + "'");
  EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
  EXPECT_THAT(error.message(),
              HasSubstr("/file: a file; data.path is the folder that holds the files of mnist"));
}

}  // namespace
}  // namespace syncbn::data
