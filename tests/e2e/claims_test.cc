// The studies of configs/claims: that each can be planned, and in its quick form run, on data of
// the right shape.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "base/file.h"
#include "tests/support/process.h"
#include "tests/support/temp_folder.h"

namespace syncbn {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::vector<std::string> Claims() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(SYNCBN_SOURCE "/configs/claims")) {
    if (entry.path().extension() == ".yaml") names.push_back(entry.path().stem());
  }
  std::ranges::sort(names);
  return names;
}

void AppendNumber(std::string& bytes, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift);
}

// Images of noise whose mean says a little of their class.
void WriteMnist(const fs::path& folder, const std::string& split, uint32_t count) {
  std::mt19937 random(count);
  std::string images, labels;
  AppendNumber(images, 0x803);
  AppendNumber(images, count);
  AppendNumber(images, 28);
  AppendNumber(images, 28);
  AppendNumber(labels, 0x801);
  AppendNumber(labels, count);
  for (uint32_t i = 0; i < count; ++i) {
    for (int pixel = 0; pixel < 28 * 28; ++pixel) {
      images += static_cast<char>(random() % 100 + 10 * (i % 10));
    }
    labels += static_cast<char>(i % 10);
  }
  WriteFileAtomically(folder / (split + "-images-idx3-ubyte"), images);
  WriteFileAtomically(folder / (split + "-labels-idx1-ubyte"), labels);
}

void WriteCifar10(const fs::path& folder, const std::string& file, uint32_t count) {
  std::mt19937 random(count);
  std::string records;
  for (uint32_t i = 0; i < count; ++i) {
    records += static_cast<char>(i % 10);
    for (int byte = 0; byte < 3072; ++byte) {
      records += static_cast<char>(random() % 100 + 10 * (i % 10));
    }
  }
  WriteFileAtomically(folder / file, records);
  fs::resize_file(folder / file, 10'000 * 3073);  // zeros: no study looks at them
}

class ClaimsTest : public testing::TestWithParam<std::string> {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TempFolder>();
    const fs::path mnist = folder_->path() / "data/mnist";
    const fs::path cifar = folder_->path() / "data/cifar-10-batches-bin";
    fs::create_directories(mnist);
    fs::create_directories(cifar);
    WriteMnist(mnist, "train", 2048);
    WriteMnist(mnist, "t10k", 256);
    for (int i = 1; i <= 5; ++i) {
      WriteCifar10(cifar, "data_batch_" + std::to_string(i) + ".bin", 512);
    }
    WriteCifar10(cifar, "test_batch.bin", 256);
  }
  static void TearDownTestSuite() { folder_.reset(); }

  static ProcessOptions Study(std::vector<std::string> more) {
    std::vector<std::string> argv = {SyncbnProgram(), "study"};
    argv.insert(argv.end(), more.begin(), more.end());
    return {.argv = std::move(argv), .working_folder = folder_->path().string()};
  }

  static std::string File(const std::string& name) {
    return SYNCBN_SOURCE "/configs/claims/" + name + ".yaml";
  }

  static std::unique_ptr<TempFolder> folder_;
};
std::unique_ptr<TempFolder> ClaimsTest::folder_;

TEST_P(ClaimsTest, SaysBeforehandByWhatEachVerdictIsDecided) {
  const ProcessResult plan = RunProcess(Study({"plan", File(GetParam()), "--no-estimate"}));
  ASSERT_EQ(plan.status, 0) << plan.err;
  EXPECT_THAT(plan.out, HasSubstr("supported where "));
  EXPECT_THAT(plan.out, HasSubstr("control, must be ")) << "a study without a negative control";
}

TEST_P(ClaimsTest, RunsInItsQuickFormAndGivesNoVerdict) {
  const ProcessResult run =
      RunProcess(Study({"run", File(GetParam()), "--form", "quick", "--quiet"}));
  ASSERT_EQ(run.status, 0) << run.err << run.out;
  EXPECT_THAT(run.out, HasSubstr("too small for verdicts"));
  const fs::path out = folder_->path() / "studies";
  int folders = 0;
  for (const auto& entry : fs::directory_iterator(out)) {
    if (!entry.path().filename().string().starts_with(GetParam())) continue;
    ++folders;
    EXPECT_TRUE(entry.path().filename().string().ends_with("-quick"));
    EXPECT_TRUE(fs::exists(entry.path() / "report.html"));
    const std::string csv = ReadFile(entry.path() / "trials.csv");
    EXPECT_EQ(csv.find(",failed,"), std::string::npos) << csv;
  }
  EXPECT_GE(folders, 1);
}

// launch/claims: what it would run.
TEST(LaunchClaims, PlansEveryStudyAndRefusesOneThatIsNotThere) {
  ProcessOptions options{.argv = {SYNCBN_SOURCE "/launch/claims", "--plan"}};
  options.environment = {{"SYNCBN", SyncbnProgram()}};
  const ProcessResult plan = RunProcess(options);
  ASSERT_EQ(plan.status, 0) << plan.err;
  EXPECT_THAT(plan.out, HasSubstr("c01-learning-rate: "));
  EXPECT_THAT(plan.out, HasSubstr("c17-overhead: "));
  options.argv = {SYNCBN_SOURCE "/launch/claims", "c99"};
  const ProcessResult unknown = RunProcess(options);
  EXPECT_EQ(unknown.status, 2);
  EXPECT_THAT(unknown.err, HasSubstr("there is no study c99 in configs/claims"));
}

INSTANTIATE_TEST_SUITE_P(All, ClaimsTest, testing::ValuesIn(Claims()), [](const auto& info) {
  std::string name = info.param;
  std::ranges::replace(name, '-', '_');
  return name;
});

}  // namespace
}  // namespace syncbn
