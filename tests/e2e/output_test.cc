// What becomes of a run's output folder, and of its output, when others interfere.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <fstream>

#include "base/file.h"
#include "tests/support/process.h"
#include "tests/support/small_run.h"
#include "tests/support/temp_folder.h"
#include "train/checkpoint_store.h"
#include "train/metrics.h"

namespace syncbn {
namespace {

namespace fs = std::filesystem;

// For anything that takes a moment, on a busy machine.
constexpr std::chrono::seconds kPatience{60};

class OutputTest : public testing::Test {
 protected:
  OutputTest() {
    WriteFileAtomically(run_file_, SmallRun(8, 4, "global"));
  }
  std::vector<std::string> Command(std::vector<std::string> more = {}) const {
    std::vector<std::string> command = {SyncbnProgram(), "train",     run_file_.string(),
                                        "--out",         out_.string(), "--no-evaluation"};
    command.insert(command.end(), more.begin(), more.end());
    return command;
  }
  // Goes on for ever, with a checkpoint every ten steps.
  std::vector<std::string> Endless(std::vector<std::string> more = {}) const {
    std::vector<std::string> command = Command(
        {"--set", "train.max_steps=1000000", "--set", "train.epochs=1000000", "--set",
         "train.checkpoint.every_steps=10", "--set", "train.checkpoint.every_epochs=0"});
    command.insert(command.end(), more.begin(), more.end());
    return command;
  }
  bool WaitForCheckpoint() const {
    const train::CheckpointStore store({.out = out_});
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (store.Steps().empty() && std::chrono::steady_clock::now() < end) ::usleep(10'000);
    return !store.Steps().empty();
  }

  TempFolder folder_;
  fs::path run_file_ = folder_.path() / "small.yaml";
  fs::path out_ = folder_.path() / "out";
};

TEST_F(OutputTest, AClosedStandardOutputDoesNotEndUpInTheRunsFiles) {
  std::string line;
  for (const std::string& word : Command({"--set", "train.max_steps=3"})) line += word + " ";
  const ProcessResult result = RunProcess({.argv = {"/bin/sh", "-c", line + ">&-"}});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(train::ReadMetrics(out_ / "metrics.jsonl").size(), 3u);
}

TEST_F(OutputTest, TheFileForTensorBoardCanBeLeftOutAndChangesNothing) {
  const auto train = [&](const char* out, std::vector<std::string> more) {
    std::vector<std::string> command = {
        SyncbnProgram(), "train", run_file_.string(),  "--out", (folder_.path() / out).string(),
        "--quiet",       "--set", "train.max_steps=3", "--set", "output.digests=true"};
    command.insert(command.end(), more.begin(), more.end());
    const ProcessResult result = RunProcess({.argv = command});
    EXPECT_EQ(result.status, 0) << result.err;
  };
  const auto events = [&](const char* out) {
    return std::ranges::count_if(
        fs::directory_iterator(folder_.path() / out), [](const auto& entry) {
          return entry.path().filename().string().starts_with("events.out.tfevents.");
        });
  };
  const auto last = [&](const char* out) {
    return train::ReadMetrics(folder_.path() / out / "metrics.jsonl").back().digest;
  };
  train("with", {});
  train("without", {"--set", "output.event_files=false"});
  EXPECT_EQ(events("with"), 1);
  EXPECT_EQ(events("without"), 0);
  EXPECT_EQ(last("with"), last("without"));
}

TEST_F(OutputTest, OverwritingALiveRunEndsItAndLeavesTheNewOneWhole) {
  Process first({.argv = Endless(), .timeout = kPatience * 3});
  ASSERT_TRUE(WaitForCheckpoint());
  const ProcessResult second = RunProcess(
      {.argv = Command({"--overwrite", "--set", "seed=2", "--set", "train.max_steps=3"})});
  EXPECT_EQ(second.status, 0) << second.out << second.err;
  const ProcessResult ended = first.Wait();
  EXPECT_FALSE(ended.timed_out);
  EXPECT_NE(ended.err.find("has taken over"), std::string::npos) << ended.err;
  EXPECT_EQ(train::CheckpointStore({.out = out_}).Steps(), std::vector<int64_t>{3});
  EXPECT_EQ(train::ReadMetrics(out_ / "metrics.jsonl").size(), 3u);
  EXPECT_TRUE(fs::exists(out_ / "summary.json"));
}

TEST_F(OutputTest, AStopWithoutItsCheckpointSaysSo) {
  Process process({.argv = Endless(), .timeout = kPatience * 3});
  ASSERT_TRUE(WaitForCheckpoint());
  // In one operation: the run may be about to write one.
  const fs::path file = folder_.path() / "in-the-way";
  std::ofstream(file) << "a file";
  ASSERT_EQ(::renameat2(AT_FDCWD, file.c_str(), AT_FDCWD, (out_ / "checkpoints").c_str(), RENAME_EXCHANGE),
            0);
  ASSERT_TRUE(process.WaitForText("was not written", kPatience)) << process.Err();
  process.Signal(SIGTERM);
  const ProcessResult result = process.Wait();
  EXPECT_EQ(result.status, 13) << result.err;
  EXPECT_NE(result.err.find("WITHOUT a checkpoint of it"), std::string::npos) << result.err;
}

TEST_F(OutputTest, AnOutputFolderThatVanishesIsReported) {
  Process process({.argv = Endless(), .timeout = kPatience * 3});
  ASSERT_TRUE(WaitForCheckpoint());
  fs::rename(out_, folder_.path() / "elsewhere");
  EXPECT_TRUE(process.WaitForText("is no longer there", kPatience)) << process.Err();
  process.Signal(SIGTERM);
  EXPECT_EQ(process.Wait().status, 13);
  EXPECT_FALSE(fs::exists(out_ / "checkpoints"));
}

TEST_F(OutputTest, WhatContradictsItselfIsRefused) {
  const ProcessResult both = RunProcess({.argv = Command({"--resume", "--overwrite"})});
  EXPECT_EQ(both.status, 2) << both.err;
  const ProcessResult empty = RunProcess(
      {.argv = {SyncbnProgram(), "train", run_file_.string(), "--out", ""}});
  EXPECT_EQ(empty.status, 2) << empty.err;
  EXPECT_NE(empty.err.find("--out: the value is empty"), std::string::npos) << empty.err;
  const ProcessResult one = RunProcess(
      {.argv = {SyncbnProgram(), "verify", run_file_.string(), "--processes", "2"}});
  EXPECT_EQ(one.status, 2) << one.err;
}

TEST_F(OutputTest, UnderMpirunAnErrorIsSaidOnceAndMpirunDoesNotExplainIt) {
  auto run = [&](const std::string& setting) {
    return RunProcess(UnderMpirun(2, Command({"--set", setting})));
  };
  // Of the run file, before MPI is used.
  const ProcessResult early = run("train.epochs=-1");
  EXPECT_EQ(early.status, 2) << early.err;
  const size_t first = early.err.find("train.epochs");
  EXPECT_NE(first, std::string::npos) << early.err;
  EXPECT_EQ(early.err.find("-----"), std::string::npos) << early.err;
  // And when it is.
  WriteFileAtomically(out_, "in the way");
  const ProcessResult late = run("seed=2");
  EXPECT_NE(late.status, 0);
  EXPECT_NE(late.err.find(out_.string()), std::string::npos) << late.err;
  EXPECT_EQ(late.err.find("-----"), std::string::npos) << late.err;
}

TEST_F(OutputTest, AFullStandardOutputIsAnErrorWhereItIsTheProduct) {
  const std::string line = SyncbnProgram() + " check --print " + run_file_.string() + " >/dev/full";
  const ProcessResult result = RunProcess({.argv = {"/bin/sh", "-c", line}});
  EXPECT_EQ(result.status, 13);
  EXPECT_NE(result.err.find("standard output could not be written"), std::string::npos);
}

}  // namespace
}  // namespace syncbn
