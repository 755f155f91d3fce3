// The program that trains on GPUs, on the emulated one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "base/file.h"
#include "tests/support/process.h"
#include "tests/support/temp_folder.h"

namespace syncbn {
namespace {

using ::testing::HasSubstr;

constexpr const char* kRun =
    "data: {dataset: shapes, shapes: {train_samples: 64, test_samples: 16}}\n"
    "model: {architecture: resnet20, width: 0.25}\n"
    "cluster: {replicas: 4, batch_per_replica: [5, 4, 0, 3]}\n"
    "train: {max_steps: 3}\n";

nlohmann::json SummaryOf(const std::filesystem::path& out) {
  return nlohmann::json::parse(ReadFile(out / "summary.json"));
}

TEST(EmulatedProgram, TrainsOnTheGpuWithEqualBitsOn1To4ProcessesOverNccl) {
  TempFolder folder;
  const auto run = folder.path() / "run.yaml";
  WriteFileAtomically(run, kRun);
  std::string digest;
  for (int processes = 1; processes <= 4; ++processes) {
    const auto out = folder.path() / std::to_string(processes);
    // --backend auto, the default: there is a GPU.
    const ProcessResult result = RunProcess(UnderMpirun(
        processes, {SYNCBN_EMULATED_PROGRAM, "train", run.string(), "--out", out.string()}));
    ASSERT_EQ(result.status, 0) << result.err;
    EXPECT_EQ(result.out.find("between processes: NCCL ") != std::string::npos, processes > 1)
        << result.out;
    const auto summary = SummaryOf(out);
    if (processes == 1) digest = summary.at("digest");
    EXPECT_EQ(summary.at("digest"), digest) << processes << " processes";
  }
  // Processes that share a GPU.
  ProcessOptions shared = UnderMpirun(3, {SYNCBN_EMULATED_PROGRAM, "train", run.string(), "--out",
                                          (folder.path() / "staged").string()});
  shared.environment["SYNCBN_EMULATED_DEVICES"] = "2";
  const ProcessResult staged = RunProcess(shared);
  ASSERT_EQ(staged.status, 0) << staged.err;
  EXPECT_THAT(staged.out,
              HasSubstr("between processes: messages over MPI, staged through the host: rank 0 and "
                        "rank 2 share a GPU, which NCCL refuses"));
  EXPECT_THAT(staged.out, HasSubstr("rank 0 on cuda:0, rank 1 on cuda:1, rank 2 on cuda:0"));
  EXPECT_EQ(SummaryOf(folder.path() / "staged").at("digest"), digest);
  const ProcessResult cpu =
      RunProcess({.argv = {SYNCBN_EMULATED_PROGRAM, "train", run.string(), "--out",
                           (folder.path() / "cpu").string(), "--quiet", "--backend", "cpu"}});
  ASSERT_EQ(cpu.status, 0) << cpu.err;
  EXPECT_NE(nlohmann::json::parse(ReadFile(folder.path() / "cpu" / "summary.json")).at("digest"),
            digest)
      << "it was the CPU that trained";
}

class EmulatedNccl : public ::testing::Test {
 protected:
  // Three ranks, the second of which NCCL fails at its 40th launch.
  ProcessResult TrainAndFail(const std::string& how, const std::vector<std::string>& more = {}) {
    const auto run = folder_.path() / "run.yaml";
    WriteFileAtomically(run, kRun);
    std::vector<std::string> command = {
        SYNCBN_EMULATED_PROGRAM,          "train", run.string(), "--quiet", "--out",
        (folder_.path() / "out").string()};
    command.insert(command.end(), more.begin(), more.end());
    ProcessOptions options = UnderMpirun(3, command);
    if (!how.empty()) options.environment["SYNCBN_EMULATION_BREAK_NCCL"] = "1:40:" + how;
    options.timeout = std::chrono::seconds(120);
    const ProcessResult result = RunProcess(options);
    EXPECT_FALSE(result.timed_out);
    EXPECT_THAT(ProcessesNaming(folder_.path()), ::testing::IsEmpty());
    return result;
  }
  TempFolder folder_;
};

TEST_F(EmulatedNccl, WhatItSaysThatFailedEndsTheRunOnAllRanks) {
  const ProcessResult result = TrainAndFail("error");
  EXPECT_EQ(result.status, 6) << result.err;
  EXPECT_THAT(result.err, HasSubstr("rank 1 on "));
  EXPECT_THAT(result.err, HasSubstr("unhandled system error"));
  EXPECT_THAT(result.err, HasSubstr(", reduction "));
}

TEST_F(EmulatedNccl, AWaitWithoutEndOnTheDevicesIsAStallThatNamesTheReduction) {
  const ProcessResult result = TrainAndFail("hang", {"--set", "cluster.stall_timeout=3"});
  EXPECT_EQ(result.status, 5) << result.err;
  EXPECT_THAT(result.err, HasSubstr(", which the device was given"));
  EXPECT_THAT(result.err, HasSubstr("of replicas 0..3"));
}

TEST_F(EmulatedNccl, AKilledRankEndsAll) {
  const ProcessResult result = TrainAndFail("", {"--fault", "kill@step=1,replica=2"});
  EXPECT_EQ(result.status, 128 + SIGKILL) << result.err;
}

TEST_F(EmulatedNccl, ReducesNativelyToo) {
  EXPECT_EQ(TrainAndFail("", {"--set", "cluster.reduction=native"}).status, 0);
}

TEST_F(EmulatedNccl, IsForGpusAlone) {
  const ProcessResult result = TrainAndFail("", {"--exchange", "nccl", "--backend", "cpu"});
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(
      result.err,
      HasSubstr("--exchange nccl moves tensors of GPUs, and the cpu back end has none: --backend "
                "cuda, or --exchange mpi"));
}

TEST(EmulatedProgram, InfoNamesTheGpu) {
  const ProcessResult result = RunProcess({.argv = {SYNCBN_EMULATED_PROGRAM, "info"}});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("Emulated, compute capability 9.0, 4.0 GiB, GPU-00000000"));
  EXPECT_THAT(result.out, HasSubstr("NCCL 2.28.0"));
}

// Where there is neither, the program that trains on the CPU says what is missing.
TEST(EmulatedProgram, TheOtherProgramSaysWhyThereIsNoGpu) {
  if (std::filesystem::exists("/dev/nvidiactl")) GTEST_SKIP() << "this machine has a GPU";
  TempFolder folder;
  const auto run = folder.path() / "run.yaml";
  WriteFileAtomically(run, kRun);
  const ProcessResult result =
      RunProcess({.argv = {SyncbnProgram(), "train", run.string(), "--backend", "cuda", "--out",
                           (folder.path() / "out").string()}});
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, ::testing::AnyOf(HasSubstr("no GPU can be used: "),
                                           HasSubstr("the CUDA back end is not there: ")));
  EXPECT_THAT(result.err, HasSubstr("--backend cpu needs none"));
}

}  // namespace
}  // namespace syncbn
