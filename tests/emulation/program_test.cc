// The program that trains on GPUs, on the emulated one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

TEST(EmulatedProgram, TrainsOnTheGpuWithEqualBitsOn1To4Processes) {
  TempFolder folder;
  const auto run = folder.path() / "run.yaml";
  WriteFileAtomically(run, kRun);
  std::string digest;
  for (int processes = 1; processes <= 4; ++processes) {
    const auto out = folder.path() / std::to_string(processes);
    // --backend auto, the default: there is a GPU.
    const ProcessResult result =
        RunProcess(UnderMpirun(processes, {SYNCBN_EMULATED_PROGRAM, "train", run.string(), "--out",
                                           out.string(), "--quiet"}));
    ASSERT_EQ(result.status, 0) << result.err;
    const auto summary = nlohmann::json::parse(ReadFile(out / "summary.json"));
    if (processes == 1) digest = summary.at("digest");
    EXPECT_EQ(summary.at("digest"), digest) << processes << " processes";
  }
  const ProcessResult cpu =
      RunProcess({.argv = {SYNCBN_EMULATED_PROGRAM, "train", run.string(), "--out",
                           (folder.path() / "cpu").string(), "--quiet", "--backend", "cpu"}});
  ASSERT_EQ(cpu.status, 0) << cpu.err;
  EXPECT_NE(nlohmann::json::parse(ReadFile(folder.path() / "cpu" / "summary.json")).at("digest"),
            digest)
      << "it was the CPU that trained";
}

TEST(EmulatedProgram, InfoNamesTheGpu) {
  const ProcessResult result = RunProcess({.argv = {SYNCBN_EMULATED_PROGRAM, "info"}});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("Emulated, compute capability 9.0, 4.0 GiB, GPU-00000000"));
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
