// launch/get-data against a mirror in a folder (file://), with small archives and sums of their
// own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "base/check.h"
#include "base/file.h"
#include "data/dataset.h"
#include "tests/data/data_files.h"
#include "tests/support/temp_folder.h"

namespace syncbn::data {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

struct Outcome {
  int exit_code = 0;
  std::string output;  // of both streams
};

Outcome Shell(const std::string& command) {
  FILE* pipe = ::popen(("exec 2>&1; " + command).c_str(), "r");
  SYNCBN_CHECK(pipe != nullptr) << command;
  Outcome outcome;
  std::array<char, 4096> buffer;
  while (const size_t count = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    outcome.output.append(buffer.data(), count);
  }
  const int status = ::pclose(pipe);
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  return outcome;
}

class GetData : public ::testing::Test {
 protected:
  void SetUp() override {
    if (Shell("command -v curl").exit_code != 0) GTEST_SKIP() << "curl is not installed";
    fs::create_directory(mirror());
  }

  fs::path mirror() const { return folder_.path() / "mirror"; }
  fs::path target() const { return folder_.path() / "data"; }
  fs::path sums() const { return folder_.path() / "sums"; }

  Outcome Run(const std::string& dataset) const {
    return Shell("SYNCBN_MIRROR=file://" + mirror().string() + " SYNCBN_MD5SUMS=" +
                 sums().string() + " " GET_DATA " " + dataset + " " + target().string());
  }

  // The four files of MNIST's layout, gzipped, and their sums.
  void MakeMnistMirror() const {
    IdxFolder{mirror()}.Write();
    ASSERT_EQ(
        Shell("cd " + mirror().string() + " && gzip -n *-ubyte && md5sum *.gz > " + sums().string())
            .exit_code,
        0);
  }

  // Names in the target folder, hidden ones too.
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(target())) {
      names.push_back(entry.path().filename());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  TempFolder folder_;
};

TEST_F(GetData, WhatItFetchesCanBeRead) {
  MakeMnistMirror();
  const Outcome outcome = Run("mnist");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("data: {dataset: mnist, path: " + target().string() + "}"));
  EXPECT_EQ(Names(), (std::vector<std::string>{"checksums.md5", "t10k-images-idx3-ubyte",
                                               "t10k-labels-idx1-ubyte", "train-images-idx3-ubyte",
                                               "train-labels-idx1-ubyte"}));
  const DatasetPair pair = MakeFromText("dataset: DATASET_MNIST path: '" + target().string() + "'");
  EXPECT_EQ(pair.train->size(), 6);
}

TEST_F(GetData, ASecondCallDoesNothingUntilAFileIsDamaged) {
  MakeMnistMirror();
  ASSERT_EQ(Run("mnist").exit_code, 0);
  Outcome outcome = Run("mnist");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.output, "mnist is complete in " + target().string() + "\n");
  const fs::path file = target() / "train-labels-idx1-ubyte";
  const Bytes whole = ReadBytes(file);
  Bytes damaged = whole;
  damaged.back() ^= 1;
  WriteBytes(file, damaged);
  outcome = Run("mnist");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.output, HasSubstr("fetching "));
  EXPECT_EQ(ReadBytes(file), whole);
}

TEST_F(GetData, CifarArchivesAreUnpackedIntoTheFolder) {
  const std::string make =
      "cd " + mirror().string() +
      " && mkdir cifar-10-batches-bin && cd cifar-10-batches-bin"
      " && touch data_batch_{1,2,3,4,5}.bin test_batch.bin batches.meta.txt readme.html"
      " && cd .. && tar czf cifar-10-binary.tar.gz cifar-10-batches-bin && md5sum *.gz > " +
      sums().string();
  ASSERT_EQ(Shell("bash -c '" + make + "'").exit_code, 0);
  const Outcome outcome = Run("cifar10");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_EQ(Names(),
            (std::vector<std::string>{"batches.meta.txt", "checksums.md5", "data_batch_1.bin",
                                      "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
                                      "data_batch_5.bin", "test_batch.bin"}));
}

TEST_F(GetData, AFolderMayBeNamedFromTheWorkingFolder) {
  MakeMnistMirror();
  const Outcome outcome =
      Shell("cd " + folder_.path().string() + " && SYNCBN_MIRROR=file://" + mirror().string() +
            " SYNCBN_MD5SUMS=sums " GET_DATA " mnist data");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_EQ(Names().size(), 5u);
}

TEST_F(GetData, NothingIsLeftOfADownloadThatFails) {
  MakeMnistMirror();
  fs::remove(mirror() / "t10k-labels-idx1-ubyte.gz");
  const Outcome outcome = Run("mnist");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.output, HasSubstr("get-data: no mirror has t10k-labels-idx1-ubyte.gz:"));
  EXPECT_THAT(outcome.output, HasSubstr("/t10k-labels-idx1-ubyte.gz: could not be downloaded"));
  EXPECT_THAT(outcome.output, HasSubstr("SYNCBN_MIRROR=URL"));
  EXPECT_TRUE(Names().empty());
}

TEST_F(GetData, AFileWithAnotherSumIsRefused) {
  MakeMnistMirror();
  WriteBytes(mirror() / "train-images-idx3-ubyte.gz", GzipBytes(Bytes{1, 2, 3}));
  const Outcome outcome = Run("mnist");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.output, HasSubstr("train-images-idx3-ubyte.gz: MD5 sum "));
  EXPECT_THAT(outcome.output, HasSubstr(", expected "));
  EXPECT_TRUE(Names().empty());
}

TEST_F(GetData, TheBuiltInSumsAreUsedUnlessOthersAreGiven) {
  MakeMnistMirror();
  const Outcome outcome = Shell("SYNCBN_MIRROR=file://" + mirror().string() +
                                " " GET_DATA " mnist " + target().string());
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.output, HasSubstr("expected f68b3c2dcbeaaa9fbdd348bbdeb94873"));
}

TEST_F(GetData, WrongArgumentsAreExplained) {
  Outcome outcome = Run("imagenet");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_EQ(
      outcome.output,
      "get-data: there is no data set \"imagenet\"; expected mnist, fashion_mnist, cifar10 or "
      "cifar100\n");
  EXPECT_FALSE(fs::exists(target()));
  EXPECT_EQ(Shell(GET_DATA " mnist").exit_code, 2);
  outcome = Shell(GET_DATA " --help");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.output, HasSubstr("usage: get-data"));
  WriteBytes(target(), Bytes{1});
  outcome = Run("mnist");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.output, HasSubstr("get-data: cannot create the folder"));
}

}  // namespace
}  // namespace syncbn::data
