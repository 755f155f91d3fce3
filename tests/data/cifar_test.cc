#include "data/cifar.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <fstream>
#include <span>

#include "tests/data/data_files.h"
#include "tests/support/temp_folder.h"

namespace syncbn::data {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr int64_t kRecord = 3073;

std::string Spec(const TempFolder& folder, const std::string& dataset) {
  return "dataset: " + dataset + " path: '" + folder.path().string() + "'";
}

// A file of zeros (label 0, black) that takes no disk.
void WriteZeros(const std::filesystem::path& path, int64_t bytes) {
  WriteBytes(path, {});
  std::filesystem::resize_file(path, static_cast<uintmax_t>(bytes));
}

// Overwrites the bytes at `offset` of a file.
void Patch(const std::filesystem::path& path, int64_t offset, std::span<const uint8_t> bytes) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(offset);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  ASSERT_TRUE(file.flush().good()) << path;
}

void WriteEmptyCifar10(const std::filesystem::path& folder) {
  for (int i = 1; i <= 5; ++i) {
    WriteZeros(folder / ("data_batch_" + std::to_string(i) + ".bin"), 10000 * kRecord);
  }
  WriteZeros(folder / "test_batch.bin", 10000 * kRecord);
}

void ExpectError(const Error& error, ErrorCode code, const std::filesystem::path& file,
                 const std::string& message) {
  EXPECT_EQ(error.code(), code) << error.message();
  EXPECT_THAT(error.message(), AllOf(StartsWith(file.string() + ": "), HasSubstr(message)));
}

TEST(CifarBinary, PlanesBecomePixels) {
  TempFolder folder;
  WriteBytes(folder.path() / "a.bin", CifarRecords(2, 3));
  WriteBytes(folder.path() / "test.bin", CifarRecords(1, 0));
  const DatasetPair pair = MakeFromText(Spec(folder, "DATASET_CIFAR_BINARY"));
  EXPECT_EQ(pair.train->image_shape(), (ImageShape{32, 32, 3}));
  ASSERT_EQ(pair.train->size(), 2);
  EXPECT_EQ(pair.train->classes(), 5);
  EXPECT_EQ(pair.train->Label(1), 4);
  const auto image = pair.train->Image(1);
  for (int p = 0; p < 1024; ++p) {
    for (int c = 0; c < 3; ++c) {
      ASSERT_EQ(image[static_cast<size_t>(3 * p + c)], static_cast<uint8_t>(40 + p + c)) << p;
    }
  }
}

TEST(CifarBinary, FilesAreJoinedInTheOrderOfTheirNames) {
  TempFolder folder;
  WriteBytes(folder.path() / "b.bin", CifarRecords(1, 2));
  WriteBytes(folder.path() / "a.bin", CifarRecords(2, 0));
  WriteBytes(folder.path() / "notes.txt", Bytes{1, 2, 3});
  WriteBytes(folder.path() / "test_2.bin", CifarRecords(1, 2));
  WriteBytes(folder.path() / "test_1.bin", CifarRecords(1, 1));
  const DatasetPair pair = MakeFromText(Spec(folder, "DATASET_CIFAR_BINARY"));
  ASSERT_EQ(pair.train->size(), 3);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(pair.train->Label(i), i);
  ASSERT_EQ(pair.test->size(), 2);
  EXPECT_EQ(pair.test->Label(0), 1);
  EXPECT_EQ(pair.test->Label(1), 2);
}

TEST(CifarBinary, WrongFilesAreErrors) {
  TempFolder folder;
  const std::string spec = Spec(folder, "DATASET_CIFAR_BINARY");
  const std::filesystem::path train = folder.path() / "train.bin",
                              test = folder.path() / "test.bin";
  ExpectError(ErrorOf(spec), ErrorCode::kNotFound, folder.path(),
              "no training file: expected *.bin with a name that does not start with \"test\"");
  WriteBytes(train, CifarRecords(2, 0));
  ExpectError(ErrorOf(spec), ErrorCode::kNotFound, folder.path(),
              "no test file: expected *.bin with a name that starts with \"test\"");
  WriteBytes(test, CifarRecords(3, 0));
  ExpectError(
      ErrorOf(spec), ErrorCode::kDataLoss, test,
      "label 2 of record 2 is out of range; expected 0 to 1, the labels of the training split");
  WriteBytes(test, CifarRecords(2, 0));
  EXPECT_EQ(MakeFromText(spec).test->size(), 2);

  Bytes damaged = CifarRecords(2, 0);
  damaged.pop_back();
  WriteBytes(train, damaged);
  ExpectError(ErrorOf(spec), ErrorCode::kDataLoss, train,
              "6145 bytes found, expected a multiple of 3073 (records of 1 label byte and "
              "32 x 32 x 3 pixels); check how it was written");
  damaged.insert(damaged.end(), {1, 2});
  WriteBytes(train, damaged);
  ExpectError(ErrorOf(spec), ErrorCode::kDataLoss, train, "6147 bytes found");
  WriteBytes(train, {});
  ExpectError(ErrorOf(spec), ErrorCode::kDataLoss, train, "0 bytes found");
}

TEST(Cifar10, TheSixFilesMakeTheTwoSplits) {
  TempFolder folder;
  WriteEmptyCifar10(folder.path());
  WriteZeros(folder.path() / "data_batch_6.bin", 5);  // none of its files
  const DatasetPair pair = MakeFromText(Spec(folder, "DATASET_CIFAR10") + " test_limit: 7");
  EXPECT_EQ(pair.train->size(), 50000);
  EXPECT_EQ(pair.test->size(), 7);
  EXPECT_EQ(pair.train->classes(), 10);
}

TEST(Cifar10, EveryDamageIsAnErrorThatNamesTheFileAndTheRemedy) {
  TempFolder folder;
  const std::string spec = Spec(folder, "DATASET_CIFAR10");
  const std::string remedy = "; get it with: launch/get-data cifar10 " + folder.path().string();
  const std::filesystem::path second = folder.path() / "data_batch_2.bin";
  WriteEmptyCifar10(folder.path());

  std::filesystem::remove(second);
  ExpectError(ErrorOf(spec), ErrorCode::kNotFound, second, "no such file" + remedy);
  // Cut at the end of a record: only the count tells.
  WriteZeros(second, 9999 * kRecord);
  ExpectError(
      ErrorOf(spec), ErrorCode::kDataLoss, second,
      "truncated: 30726927 bytes found, expected 30730000 (10000 records of 3073)" + remedy);
  WriteZeros(second, 10000 * kRecord + 1);
  ExpectError(ErrorOf(spec), ErrorCode::kDataLoss, second,
              "bytes after the end: 30730001 bytes found, expected 30730000");
  WriteZeros(second, 10000 * kRecord);
  Patch(second, 77 * kRecord, Bytes{10});
  ExpectError(ErrorOf(spec), ErrorCode::kDataLoss, second,
              "label 10 of record 77 is out of range; expected 0 to 9" + remedy);
}

TEST(Cifar10, TheFolderOfTheArchiveIsSuggested) {
  TempFolder folder;
  std::filesystem::create_directory(folder.path() / "cifar-10-batches-bin");
  WriteEmptyCifar10(folder.path() / "cifar-10-batches-bin");
  ExpectError(ErrorOf(Spec(folder, "DATASET_CIFAR10")), ErrorCode::kNotFound,
              folder.path() / "data_batch_1.bin",
              "/cifar-10-batches-bin has one: data.path may be meant to be that");
}

TEST(Cifar100, FineLabelsAreLearned) {
  TempFolder folder;
  const std::array<uint8_t, 2> labels = {19, 99};  // coarse, fine
  const std::filesystem::path train = folder.path() / "train.bin";
  WriteZeros(train, 50000 * 3074);
  Patch(train, 3074, CifarRecord(labels, 5));
  WriteZeros(folder.path() / "test.bin", 10000 * 3074);
  const std::string spec = Spec(folder, "DATASET_CIFAR100");
  const DatasetPair pair = MakeFromText(spec + " train_limit: 2 test_limit: 1");
  EXPECT_EQ(pair.train->classes(), 100);
  EXPECT_EQ(pair.train->Label(0), 0);
  EXPECT_EQ(pair.train->Label(1), 99);
  EXPECT_EQ(pair.train->Image(1)[0], 5);
  EXPECT_EQ(pair.train->Image(1)[3071], static_cast<uint8_t>(5 + 1023 + 2));

  Patch(train, 3074 + 1, Bytes{100});
  ExpectError(ErrorOf(spec), ErrorCode::kDataLoss, train,
              "label 100 of record 1 is out of range; expected 0 to 99");
}

}  // namespace
}  // namespace syncbn::data
