#include "train/manifest/listing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "tests/support/temp_folder.h"
#include "train/checkpoint_store.h"

namespace syncbn::train {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

class ListingTest : public testing::Test {
 protected:
  fs::path Save(int64_t step, Manifest manifest = {}) {
    manifest.counters.step = step;
    return CheckpointStore({.out = out_, .keep = 100})
        .Save(manifest, {.model = {{"w", Tensor({1000}, DType::kFloat32)}}});
  }
  static void Write(const fs::path& path, const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
  }
  CheckpointListing List(size_t most = 100) const { return ListCheckpoints(out_, most); }
  std::vector<int64_t> Steps(size_t most = 100) const {
    std::vector<int64_t> steps;
    for (const ListedCheckpoint& one : List(most).checkpoints) steps.push_back(one.step);
    return steps;
  }
  // What is said of the only one.
  std::string Damage() const {
    const CheckpointListing listing = List();
    if (listing.checkpoints.size() != 1) return "not one";
    EXPECT_EQ(listing.checkpoints[0].manifest.has_value(), listing.checkpoints[0].damage.empty());
    return listing.checkpoints[0].damage;
  }

  TempFolder folder_;
  fs::path out_ = folder_.path() / "out";
};

TEST_F(ListingTest, OfARunThatHasWrittenNoneIsEmpty) {
  EXPECT_THAT(List().checkpoints, IsEmpty());
  fs::create_directories(out_ / "checkpoints");
  EXPECT_THAT(List().checkpoints, IsEmpty());
}

TEST_F(ListingTest, HasWhatManifestsSayHighestStepFirst) {
  Save(9);
  Save(100, {.counters = {.epoch = 7},
             .test_accuracy = 0.75,
             .attempt = 3,
             .until_next = true,
             .created = "2026-01-31T12:34:56Z"});
  Save(20, {.attempt = 3});
  EXPECT_THAT(Steps(), ElementsAre(100, 20, 9));
  const ListedCheckpoint newest = List().checkpoints[0];
  EXPECT_EQ(newest.damage, "");
  ASSERT_TRUE(newest.manifest);
  EXPECT_EQ(newest.manifest->counters.epoch, 7);
  EXPECT_EQ(newest.manifest->test_accuracy, 0.75);
  EXPECT_EQ(newest.manifest->attempt, 3);
  EXPECT_TRUE(newest.manifest->until_next);
  EXPECT_EQ(newest.manifest->created, "2026-01-31T12:34:56Z");
  const fs::path folder = out_ / "checkpoints/step-00000100";
  EXPECT_EQ(newest.bytes, static_cast<int64_t>(fs::file_size(folder / "manifest.json") +
                                               fs::file_size(folder / "model.safetensors")));
  EXPECT_GT(newest.bytes, 4000);
}

TEST_F(ListingTest, SaysHowManyLowerOnesThereAre) {
  for (int64_t step : {1, 2, 3, 4, 5}) Save(step);
  EXPECT_THAT(Steps(2), ElementsAre(5, 4));
  EXPECT_EQ(List(2).left_out, 3);
  EXPECT_EQ(List(5).left_out, 0);
}

TEST_F(ListingTest, HasNoneThatIsBeingWrittenOrRemoved) {
  Save(3);
  fs::create_directories(out_ / "checkpoints/.step-00000004.writing.17");
  fs::create_directories(out_ / "checkpoints/step-4");
  EXPECT_THAT(Steps(), ElementsAre(3));
}

TEST_F(ListingTest, SaysWhatIsWrongWithOne) {
  const fs::path step = Save(5), manifest = step / "manifest.json";
  EXPECT_EQ(Damage(), "");
  fs::remove(step / "model.safetensors");
  EXPECT_EQ(Damage(), "model.safetensors is missing, or no file");
  Write(manifest, "{");
  EXPECT_THAT(Damage(), StartsWith("manifest.json is damaged: it is not JSON"));
  fs::remove(manifest);
  EXPECT_EQ(Damage(), "manifest.json is missing");
}

// A job may write what it likes below its folder.
TEST_F(ListingTest, FollowsNoLinkAndWaitsForNoPipe) {
  const fs::path step = Save(5), manifest = step / "manifest.json";
  const fs::path elsewhere = folder_.path() / "elsewhere";
  fs::rename(step / "model.safetensors", elsewhere);
  fs::create_symlink(elsewhere, step / "model.safetensors");
  EXPECT_EQ(Damage(), "model.safetensors is missing, or no file");
  fs::rename(manifest, folder_.path() / "manifest");
  fs::create_symlink(folder_.path() / "manifest", manifest);
  EXPECT_EQ(Damage(), "manifest.json is a link");
  fs::remove(manifest);
  ASSERT_EQ(::mkfifo(manifest.c_str(), 0666), 0);
  EXPECT_EQ(Damage(), "manifest.json is a pipe, not a file");
  fs::rename(step, folder_.path() / "step");
  fs::create_directory_symlink(folder_.path() / "step", step);
  EXPECT_EQ(Damage(), "it is no folder, or a link");
  fs::rename(out_ / "checkpoints", folder_.path() / "checkpoints");
  fs::create_directory_symlink(folder_.path() / "checkpoints", out_ / "checkpoints");
  try {
    List();
    FAIL() << "a link was followed";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kFailedPrecondition);
    EXPECT_THAT(error.message(), HasSubstr("/out/checkpoints is no folder, or a link"));
  }
}

TEST_F(ListingTest, IsNotTakenInByManifestsThatAreMadeToCostMuch) {
  const fs::path manifest = Save(5) / "manifest.json";
  fs::resize_file(manifest, uint64_t{1} << 40);  // a hole
  EXPECT_EQ(Damage(), "manifest.json has 1099511627776 bytes, more than a manifest has");
  std::string deep = R"({"format":"syncbn checkpoint 2","manifest_digest":"","a":)";
  deep += std::string(900'000, '[') + std::string(900'000, ']') + "}";
  Write(manifest, deep);
  EXPECT_EQ(Damage(),
            "manifest.json is damaged: it is nested too deeply: more than 100 levels of objects and "
            "lists (at byte 157)");
  std::string wide = R"({"format":"syncbn checkpoint 2")";
  for (int i = 0; i < 150'000; ++i) wide += ",\"" + std::to_string(i) + "\":0";
  Write(manifest, wide + "}");
  EXPECT_EQ(Damage(), "manifest.json is damaged: it has more than 10000 keys");
  Write(manifest, R"({"format":")" + std::string(100'000, 'x') + "\"}");
  EXPECT_LE(Damage().size(), 300u);
}

}  // namespace
}  // namespace syncbn::train
