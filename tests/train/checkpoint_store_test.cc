#include "train/checkpoint_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <barrier>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/file.h"
#include "base/host.h"
#include "tests/support/full_disk.h"
#include "tests/support/temp_folder.h"
#include "tests/train/parts_support.h"
#include "train/safetensors.h"

namespace syncbn::train {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::IsEmpty;

class CheckpointStoreTest : public testing::Test {
 protected:
  CheckpointStore Store(int keep = 3) {
    return CheckpointStore(
        {.out = out_, .keep = keep, .on_warning = [this](const std::string& text) {
           warnings_.push_back(text);
         }});
  }
  // A checkpoint whose only tensor holds `value`.
  fs::path Save(CheckpointStore& store, int64_t step, std::optional<double> accuracy = {},
                int attempt = 1, float value = 0, int64_t elements = 4) {
    Tensor tensor({elements}, DType::kFloat32);
    std::ranges::fill(tensor.Span<float>(), value);
    return store.Save({.counters = {.step = step}, .test_accuracy = accuracy, .attempt = attempt},
                      {.model = {{"w", tensor}}});
  }
  static float ValueOf(const StoredCheckpoint& checkpoint) {
    return checkpoint.tensors.at(0).tensor.Span<float>()[0];
  }
  // Names in OUT/checkpoints, hidden ones too.
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(out_ / "checkpoints")) {
      names.push_back(entry.path().filename().string());
    }
    std::ranges::sort(names);
    return names;
  }
  // Inverts one byte of a file.
  static void Damage(const fs::path& path, std::streamoff offset) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(offset);
    const int byte = file.get();
    file.seekp(offset);
    file.put(static_cast<char>(~byte));
    ASSERT_TRUE(file.good()) << path;
  }

  TempFolder folder_;
  fs::path out_ = folder_.path() / "out";
  std::vector<std::string> warnings_;
};

TEST_F(CheckpointStoreTest, ACheckpointIsAFolderOfAModelAndAManifest) {
  CheckpointStore store = Store();
  EXPECT_EQ(Save(store, 1234), out_ / "checkpoints/step-00001234");
  EXPECT_THAT(Names(), ElementsAre("step-00001234"));
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(out_ / "checkpoints/step-00001234")) {
    files.push_back(entry.path().filename().string());
  }
  EXPECT_THAT(files, testing::UnorderedElementsAre("manifest.json", "model.safetensors"));
}

TEST_F(CheckpointStoreTest, AnEmptyRunHasNone) {
  EXPECT_FALSE(Store().Latest());
  fs::create_directories(out_ / "checkpoints");
  EXPECT_FALSE(Store().Latest());
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(CheckpointStoreTest, LatestIsTheOneOfTheHighestStep) {
  CheckpointStore store = Store();
  Save(store, 9, {}, 1, 9);
  Save(store, 100, {}, 1, 100);
  Save(store, 20, {}, 1, 20);
  const std::optional<StoredCheckpoint> latest = Store().Latest();
  ASSERT_TRUE(latest);
  EXPECT_EQ(latest->manifest.counters.step, 100);
  EXPECT_EQ(ValueOf(*latest), 100);
  EXPECT_EQ(latest->folder, out_ / "checkpoints/step-00000100");
}

TEST_F(CheckpointStoreTest, LatestUpToAStepIsWhatAReplayStartsFrom) {
  CheckpointStore store = Store();
  for (int64_t step : {10, 20, 30}) Save(store, step);
  EXPECT_EQ(store.Latest(29)->manifest.counters.step, 20);
  EXPECT_EQ(store.Latest(20)->manifest.counters.step, 20);
  EXPECT_FALSE(store.Latest(9));
}

TEST_F(CheckpointStoreTest, StepsPastEightDigitsAreFound) {
  CheckpointStore store = Store();
  Save(store, 99999999);
  EXPECT_EQ(Save(store, 1234567890).filename(), "step-1234567890");
  EXPECT_EQ(store.Latest()->manifest.counters.step, 1234567890);
}

TEST_F(CheckpointStoreTest, OtherNamesInTheFolderAreLeftAlone) {
  CheckpointStore store = Store(1);
  for (const char* name : {"step-", "step-12", "step-00000001.bak", "notes", "step--0000001"}) {
    fs::create_directories(out_ / "checkpoints" / name);
  }
  Save(store, 5);
  Save(store, 6);
  EXPECT_THAT(store.Steps(), ElementsAre(6));
  EXPECT_THAT(Names(), ElementsAre("notes", "step-", "step--0000001", "step-00000001.bak",
                                   "step-00000006", "step-12"));
}

TEST_F(CheckpointStoreTest, DamagedTensorsArePassedOver) {
  CheckpointStore store = Store();
  Save(store, 10, {}, 1, 1.5f);
  const fs::path newest = Save(store, 20) / "model.safetensors";
  Damage(newest, static_cast<std::streamoff>(fs::file_size(newest)) - 1);
  const std::optional<StoredCheckpoint> latest = store.Latest();
  ASSERT_TRUE(latest);
  EXPECT_EQ(latest->manifest.counters.step, 10);
  EXPECT_EQ(ValueOf(*latest), 1.5f);
  ASSERT_EQ(warnings_.size(), 1u);
  EXPECT_TRUE(warnings_[0].starts_with("the checkpoint of step 20 is passed over: " +
                                       newest.string() + " is damaged: its bytes have digest "))
      << warnings_[0];
}

TEST_F(CheckpointStoreTest, AnyDamageOfTheNewestIsPassedOver) {
  CheckpointStore store = Store();
  const fs::path older = Save(store, 10), newest = Save(store, 20);
  const fs::path saved = folder_.path() / "saved";
  fs::copy(newest, saved);
  const std::vector<std::function<void()>> damages{
      [&] { fs::remove(newest / "manifest.json"); },
      [&] { fs::remove(newest / "model.safetensors"); },
      [&] { fs::remove_all(newest), fs::create_directory(newest); },
      [&] { fs::resize_file(newest / "manifest.json", 0); },
      [&] { fs::resize_file(newest / "manifest.json", 100); },
      [&] { fs::resize_file(newest / "model.safetensors", 0); },
      [&] { fs::resize_file(newest / "model.safetensors", 1000); },
      [&] { Damage(newest / "manifest.json", 40); },
      [&] { Damage(newest / "model.safetensors", 0); },
      [&] { Damage(newest / "model.safetensors", 12); },
      [&] {
        fs::copy_file(older / "model.safetensors", newest / "model.safetensors",
                      fs::copy_options::overwrite_existing);
        Damage(newest / "model.safetensors", 90);
      },
  };
  for (size_t i = 0; i < damages.size(); ++i) {
    warnings_.clear();
    damages[i]();
    const std::optional<StoredCheckpoint> latest = store.Latest();
    ASSERT_TRUE(latest) << i;
    EXPECT_EQ(latest->manifest.counters.step, 10) << i;
    EXPECT_EQ(warnings_.size(), 1u) << i;
    fs::remove_all(newest);
    fs::copy(saved, newest);
  }
  EXPECT_EQ(store.Latest()->manifest.counters.step, 20);
}

TEST_F(CheckpointStoreTest, AllDamagedIsAnErrorAndNotANewRun) {
  CheckpointStore store = Store();
  const fs::path older = Save(store, 10), newer = Save(store, 20);
  fs::remove(older / "manifest.json");
  fs::resize_file(newer / "manifest.json", 0);
  EXPECT_EQ(ErrorOf([&] { store.Latest(); }),
            "DATA_LOSS: no checkpoint in " + (out_ / "checkpoints").string() + " can be used:\n  " +
                (newer / "manifest.json").string() +
                " is damaged: it is not JSON (at byte 1)\n  cannot open " +
                (older / "manifest.json").string() + ": No such file or directory");
}

TEST_F(CheckpointStoreTest, TheLastAndTheBestAreKept) {
  CheckpointStore store = Store(2);
  const double accuracies[] = {0.1, 0.9, 0.3, 0.5, 0.4, 0.2};
  for (int64_t step = 1; step <= 6; ++step) Save(store, step, accuracies[step - 1]);
  EXPECT_THAT(store.Steps(), ElementsAre(2, 5, 6));
  EXPECT_THAT(Names(), ElementsAre("step-00000002", "step-00000005", "step-00000006"));
}

TEST_F(CheckpointStoreTest, OfEquallyGoodOnesTheNewestIsTheBest) {
  CheckpointStore store = Store(1);
  Save(store, 1, 0.5);
  Save(store, 2, 0.5);
  Save(store, 3);
  EXPECT_THAT(store.Steps(), ElementsAre(2, 3));
}

TEST_F(CheckpointStoreTest, WithoutEvaluationTheLastAreKept) {
  CheckpointStore store = Store(2);
  for (int64_t step = 1; step <= 4; ++step) Save(store, step);
  EXPECT_THAT(store.Steps(), ElementsAre(3, 4));
}

TEST_F(CheckpointStoreTest, ADamagedNewerOneDoesNotPushOutWhatTheResumedRunWrites) {
  CheckpointStore store = Store(1);
  Save(store, 10);
  fs::path damaged = Save(store, 30);
  // The run fell back to step 10 (kept by hand here) and comes to step 20.
  fs::resize_file(damaged / "model.safetensors", 3);
  Save(store, 20);
  EXPECT_EQ(store.Latest()->manifest.counters.step, 20);
  Save(store, 30, {}, 1, 5);
  EXPECT_EQ(ValueOf(*store.Latest()), 5);
  EXPECT_THAT(store.Steps(), ElementsAre(30));
}

TEST_F(CheckpointStoreTest, TheSameStepAgainReplacesTheOldOne) {
  CheckpointStore store = Store();
  Save(store, 7, {}, 1, 1);
  Save(store, 7, {}, 2, 2);
  EXPECT_EQ(ValueOf(*store.Latest()), 2);
  EXPECT_EQ(store.Latest()->manifest.attempt, 2);
  EXPECT_THAT(Names(), ElementsAre("step-00000007"));
}

TEST_F(CheckpointStoreTest, AnOlderAttemptMayNotWriteAfterANewerOne) {
  CheckpointStore store = Store();
  Save(store, 10, {}, 2, 2);
  const std::string refusal = "ABORTED: attempt 2 of this run has taken over " + out_.string() +
                              ": attempt 1 must not write there any more";
  EXPECT_EQ(ErrorOf([&] { Save(store, 10, {}, 1, 1); }), refusal);
  EXPECT_EQ(ErrorOf([&] { Save(store, 20, {}, 1, 1); }), refusal);
  EXPECT_EQ(ValueOf(*store.Latest()), 2);
  EXPECT_THAT(Names(), ElementsAre("step-00000010"));
}

TEST_F(CheckpointStoreTest, AClaimStopsAnOlderAttemptBeforeTheNewerHasWritten) {
  CheckpointStore old_attempt = Store(), new_attempt = Store();
  EXPECT_EQ(old_attempt.HighestAttempt(), 0);
  old_attempt.Claim(1);
  Save(old_attempt, 10, {}, 1, 1);
  new_attempt.Claim(2);
  EXPECT_EQ(old_attempt.HighestAttempt(), 2);
  EXPECT_TRUE(ErrorOf([&] { Save(old_attempt, 20, {}, 1, 1); }).starts_with("ABORTED: attempt 2"));
  EXPECT_TRUE(ErrorOf([&] { old_attempt.Claim(1); }).starts_with("ABORTED: attempt 2"));
  Save(new_attempt, 10, {}, 2, 2);
  EXPECT_EQ(ValueOf(*new_attempt.Latest()), 2);
}

TEST_F(CheckpointStoreTest, AClaimRemovesWhatACrashLeft) {
  fs::create_directories(out_ / "checkpoints/.step-00000010.writing.99999");
  WriteFileAtomically(out_ / "checkpoints/.step-00000010.writing.99999/model.safetensors", "torn");
  CheckpointStore store = Store();
  EXPECT_FALSE(store.Latest());
  store.Claim(3);
  EXPECT_THAT(Names(), ElementsAre("attempt-3"));
}

TEST_F(CheckpointStoreTest, TheClaimOfAnOlderVersionCounts) {
  fs::create_directories(out_ / "checkpoints");
  WriteFileAtomically(out_ / "checkpoints/attempt", "3\n");
  CheckpointStore store = Store();
  EXPECT_EQ(store.HighestAttempt(), 3);
  EXPECT_EQ(store.Claim({}), 4);
  EXPECT_THAT(Names(), ElementsAre("attempt-4"));
}

TEST_F(CheckpointStoreTest, OfManyThatClaimAtOnceEachNumberHasOne) {
  std::vector<std::optional<CheckpointStore>> stores(8);
  std::vector<int> attempts(stores.size());
  {
    std::barrier together(static_cast<std::ptrdiff_t>(stores.size()));
    std::vector<std::jthread> threads;
    for (size_t i = 0; i < stores.size(); ++i) {
      threads.emplace_back([&, i] {
        stores[i].emplace(CheckpointStoreOptions{.out = out_});
        together.arrive_and_wait();
        try {
          attempts[i] = stores[i]->Claim({}, LivingOwner::kRespected);
        } catch (const Error& error) {
          EXPECT_TRUE(error.code() == ErrorCode::kAlreadyExists ||
                      error.code() == ErrorCode::kAborted)
              << error.what();
        }
      });
    }
  }
  // Who got none is told so; of those who got one, all but the last are superseded.
  std::erase(attempts, 0);
  ASSERT_FALSE(attempts.empty());
  std::ranges::sort(attempts);
  EXPECT_EQ(std::ranges::adjacent_find(attempts), attempts.end());
  EXPECT_EQ(Store().HighestAttempt(), attempts.back());
}

TEST_F(CheckpointStoreTest, ALivingOwnerIsRespectedOrReplacedAndADeadOneIsNeither) {
  std::optional<CheckpointStore> living(std::in_place, CheckpointStoreOptions{.out = out_});
  EXPECT_EQ(living->Claim({}), 1);
  EXPECT_EQ(ErrorOf([&] { Store().Claim({}, LivingOwner::kRespected); }),
            "ALREADY_EXISTS: a run is under way in " + out_.string() + " (attempt 1, process " +
                std::to_string(::getpid()) + " on " + HostName() +
                "): wait for its end, or end it with SIGTERM, which writes a checkpoint");
  EXPECT_EQ(Store().Claim({}, LivingOwner::kReplaced), 2);
  EXPECT_TRUE(ErrorOf([&] { living->CheckAttempt(1); }).starts_with("ABORTED: attempt 2"));
  EXPECT_EQ(Store().Claim({}, LivingOwner::kRespected), 3);
}

TEST_F(CheckpointStoreTest, TheOptimizersStateIsAFileOfItsOwnAndBothAreRead) {
  CheckpointStore store = Store();
  const Tensor weight = Tensor::Zeros({2}, DType::kFloat32),
               mean = Tensor::Zeros({3}, DType::kFloat32);
  const fs::path folder =
      store.Save({.counters = {.step = 1}},
                 {.model = {{"w", weight}}, .optimizer = {{"optimizer.mean.w", mean}}});
  const auto names = [](const std::vector<NamedTensor>& tensors) {
    std::vector<std::string> names;
    for (const NamedTensor& tensor : tensors) names.push_back(tensor.name);
    return names;
  };
  EXPECT_THAT(names(ReadSafetensors(folder / "model.safetensors").tensors), ElementsAre("w"));
  EXPECT_THAT(names(store.Latest()->tensors), ElementsAre("w", "optimizer.mean.w"));
  Damage(folder / "optimizer.safetensors",
         static_cast<std::streamoff>(fs::file_size(folder / "optimizer.safetensors")) - 1);
  EXPECT_TRUE(ErrorOf([&] { store.Latest(); }).starts_with("DATA_LOSS"));
}

TEST_F(CheckpointStoreTest, ACheckpointOfOneFileAsOlderVersionsWroteItIsRead) {
  CheckpointStore store = Store();
  const fs::path folder = store.FolderOf(5);
  fs::create_directories(folder);
  const Tensor weight = Tensor::Zeros({2}, DType::kFloat32);
  const std::vector<NamedTensor> tensors{{"w", weight}, {"optimizer.mean.w", weight}};
  const Digest digest = WriteSafetensors(folder / "tensors.safetensors", tensors, {});
  nlohmann::ordered_json json =
      nlohmann::ordered_json::parse(Manifest{.counters = {.step = 5}}.ToJson());
  for (const char* name : {"files", "until_next", "environment_changes", "manifest_digest"})
    json.erase(name);
  json["format"] = "syncbn checkpoint 1";
  json["tensors_digest"] = digest.Hex();
  const std::string text = json.dump();
  json["manifest_digest"] = DigestOf(std::as_bytes(std::span(text))).Hex();
  WriteFileAtomically(folder / "manifest.json", json.dump());
  const auto stored = store.Latest();
  ASSERT_TRUE(stored);
  EXPECT_EQ(stored->manifest.counters.step, 5);
  EXPECT_EQ(stored->tensors.size(), 2u);
}

TEST_F(CheckpointStoreTest, WhatAStopLeavesGoesWithTheNextAndIsNeverTheBest) {
  CheckpointStore store = Store(1);
  const auto stop = [&](int64_t step, double accuracy) {
    store.Save({.counters = {.step = step}, .test_accuracy = accuracy, .until_next = true},
               {.model = {{"w", Tensor::Zeros({1}, DType::kFloat32)}}});
  };
  Save(store, 10, 0.5);
  stop(15, 0.9);
  EXPECT_THAT(store.Steps(), ElementsAre(10, 15));
  stop(17, 0.9);
  EXPECT_THAT(store.Steps(), ElementsAre(10, 17));
  Save(store, 20, 0.6);
  EXPECT_THAT(store.Steps(), ElementsAre(20));
}

TEST_F(CheckpointStoreTest, AWriterKilledAtAnyMomentLeavesWholeCheckpoints) {
  for (int round = 0; round < 8; ++round) {
    int saved[2];
    ASSERT_EQ(::pipe(saved), 0);
    const pid_t writer = ::fork();
    ASSERT_GE(writer, 0);
    if (writer == 0) {
      CheckpointStore store = Store(2);
      // Each step twice, so that replacing is interrupted too.
      for (int64_t i = 0;; ++i) {
        Save(store, 1000 * round + i / 2, {}, 1, static_cast<float>(i), 1000);
        if (::write(saved[1], "s", 1) != 1) ::_exit(1);
      }
    }
    char byte;
    EXPECT_EQ(::read(saved[0], &byte, 1), 1);
    ::usleep(static_cast<useconds_t>(7919 * round));
    ::kill(writer, SIGKILL);
    EXPECT_EQ(::waitpid(writer, nullptr, 0), writer);
    int64_t complete = 1;
    ::close(saved[1]);
    while (::read(saved[0], &byte, 1) == 1) ++complete;
    ::close(saved[0]);

    // What Save had returned for is there, or a later one; nothing looks damaged.
    const std::optional<StoredCheckpoint> latest = Store().Latest();
    ASSERT_TRUE(latest);
    EXPECT_GE(ValueOf(*latest), static_cast<float>(complete - 1));
    EXPECT_EQ(latest->manifest.counters.step,
              1000 * round + static_cast<int64_t>(ValueOf(*latest)) / 2);
    EXPECT_THAT(warnings_, IsEmpty());
  }
  Store().Claim(2);
  EXPECT_FALSE(Names().empty());
  for (const std::string& name : Names()) EXPECT_FALSE(name.starts_with(".")) << name;
}

TEST_F(CheckpointStoreTest, AFullDiskLeavesThePreviousCheckpointAndNothingElse) {
  CheckpointStore store = Store(1);
  Save(store, 10, {}, 1, 1);
  // The limits fall into the header, the data and the last byte of the tensors.
  for (rlim_t limit : {0, 20, 4000, 4095}) {
    FileSizeLimit full(limit);
    EXPECT_EQ(ErrorOf([&] { Save(store, 20, {}, 1, 2, 1024); }),
              "RESOURCE_EXHAUSTED: cannot write " +
                  (out_ / "checkpoints" / (".step-00000020.writing." + std::to_string(::getpid())) /
                   "model.safetensors")
                      .string() +
                  ": File too large")
        << limit;
    EXPECT_THAT(Names(), ElementsAre("step-00000010")) << limit;
  }
  EXPECT_EQ(ValueOf(*store.Latest()), 1);
  // When there is room again, the next checkpoint is written.
  Save(store, 30, {}, 1, 3, 1024);
  EXPECT_EQ(ValueOf(*store.Latest()), 3);
  EXPECT_THAT(Names(), ElementsAre("step-00000030"));
}

TEST_F(CheckpointStoreTest, AFullDiskDoesNotHarmTheCheckpointThatWasToBeReplaced) {
  CheckpointStore store = Store();
  Save(store, 10, {}, 1, 1);
  {
    FileSizeLimit full(100);
    EXPECT_TRUE(
        ErrorOf([&] { Save(store, 10, {}, 1, 2, 1024); }).starts_with("RESOURCE_EXHAUSTED"));
  }
  EXPECT_EQ(ValueOf(*store.Latest()), 1);
}

TEST_F(CheckpointStoreTest, TheErrorOfAFailedSaveSaysThatEarlierOnesAreIntact) {
  CheckpointStore store = Store();
  FileSizeLimit full(0);
  try {
    Save(store, 10);
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_THAT(error.frames(), ElementsAre("writing the checkpoint of step 10; earlier "
                                            "checkpoints are intact"));
  }
}

TEST_F(CheckpointStoreTest, ADiskThatFillsUpForRealIsSurvived) {
  fs::create_directory(out_);
  SmallDisk disk(out_, 256);
  if (!disk.mounted()) GTEST_SKIP() << "this user may not mount file systems";
  CheckpointStore store = Store(2);
  Save(store, 10, {}, 1, 1, 20000);  // 80 kB
  Save(store, 20, {}, 1, 2, 20000);
  EXPECT_EQ(ErrorOf([&] { Save(store, 30, {}, 1, 3, 40000); }),
            "RESOURCE_EXHAUSTED: cannot write " +
                (out_ / "checkpoints" / (".step-00000030.writing." + std::to_string(::getpid())) /
                 "model.safetensors")
                    .string() +
                ": No space left on device");
  EXPECT_THAT(Names(), ElementsAre("step-00000010", "step-00000020"));
  EXPECT_EQ(ValueOf(*store.Latest()), 2);
  Save(store, 40, {}, 1, 4, 2000);
  EXPECT_EQ(ValueOf(*store.Latest()), 4);
}

TEST_F(CheckpointStoreTest, AFileWhereTheFolderShouldBeIsNamed) {
  WriteFileAtomically(out_, "a file where the output folder should be");
  CheckpointStore store = Store();
  EXPECT_EQ(ErrorOf([&] { Save(store, 1); }),
            "NOT_FOUND: cannot list " + (out_ / "checkpoints").string() + ": Not a directory");
}

}  // namespace
}  // namespace syncbn::train
