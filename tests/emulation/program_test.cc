// The program that trains on GPUs, on the emulated one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "base/file.h"
#include "tests/support/process.h"
#include "tests/support/temp_folder.h"

namespace syncbn {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

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
  // From NCCL 2.30 on they may, if they are told so.
  shared.argv.back() = (folder.path() / "shared").string();
  shared.environment["SYNCBN_EMULATED_NCCL"] = "23007";
  shared.environment["NCCL_MULTI_RANK_GPU_ENABLE"] = "1";
  const ProcessResult over_nccl = RunProcess(shared);
  ASSERT_EQ(over_nccl.status, 0) << over_nccl.err;
  EXPECT_THAT(over_nccl.out, HasSubstr("between processes: NCCL 2.30.7"));
  EXPECT_EQ(SummaryOf(folder.path() / "shared").at("digest"), digest);
  const ProcessResult cpu =
      RunProcess({.argv = {SYNCBN_EMULATED_PROGRAM, "train", run.string(), "--out",
                           (folder.path() / "cpu").string(), "--quiet", "--backend", "cpu"}});
  ASSERT_EQ(cpu.status, 0) << cpu.err;
  EXPECT_NE(nlohmann::json::parse(ReadFile(folder.path() / "cpu" / "summary.json")).at("digest"),
            digest)
      << "it was the CPU that trained";
}

// Bits are promised on GPUs of one model, with the same libraries.
TEST(EmulatedProgram, RanksOnGpusOfDifferentModelsAreRefusedAtTheStart) {
  TempFolder folder;
  const auto run = folder.path() / "run.yaml";
  WriteFileAtomically(run, kRun);
  const std::string train =
      "[ $OMPI_COMM_WORLD_RANK = 0 ] || export SYNCBN_EMULATED_MODEL='Emulated NVL'; exec \"$@\"";
  const ProcessResult result =
      RunProcess(UnderMpirun(3, {"sh", "-c", train, "sh", SYNCBN_EMULATED_PROGRAM, "train",
                                 run.string(), "--out", (folder.path() / "out").string()}));
  EXPECT_EQ(result.status, 2) << result.err;
  EXPECT_THAT(result.err,
              HasSubstr("the processes of this run differ in what its results depend on"));
  EXPECT_THAT(result.err, HasSubstr("on Emulated, compute capability 9.0, 4 multiprocessors, "
                                    "cuDNN 9.0.0, cuBLAS 13.0.0' on rank 0 on "));
  EXPECT_THAT(result.err, HasSubstr("on Emulated NVL, compute capability 9.0"));
  EXPECT_THAT(result.err, HasSubstr("GPUs of one kind"));
}

// What it says of a smaller batch holds: that one runs, and half as much again does not. (Models
// without a linear layer, whose products have a workspace of 32 MiB.)
TEST(EmulatedProgram, OutOfMemorySaysWhatAReplicaNeedsAndWhichBatchFits) {
  TempFolder folder;
  const auto run = folder.path() / "run.yaml";
  WriteFileAtomically(
      run,
      "data: {dataset: shapes, shapes: {train_samples: 256, test_samples: 1}}\n"
      "model: {layers: [{conv: {out: 32, padding: 1}}, norm, relu, {conv: {out: 10, "
      "padding: 1}}, global_average_pool], norm: {batch: global}}\n"
      "cluster: {replicas: 2, batch_per_replica: 24}\n"
      "train: {max_steps: 1}\n");
  const auto train = [&](int64_t batch) {
    ProcessOptions options{.argv = {SYNCBN_EMULATED_PROGRAM, "train", run.string(), "--quiet",
                                    "--no-evaluation", "--overwrite", "--out",
                                    (folder.path() / "out").string(), "--set",
                                    "cluster.batch_per_replica=" + std::to_string(batch)}};
    options.environment["SYNCBN_EMULATED_MIB"] = "12";
    return RunProcess(options);
  };
  const ProcessResult result = train(24);
  ASSERT_EQ(result.status, 4) << result.err;
  EXPECT_THAT(result.err, HasSubstr("cuda:0: out of memory: "));
  EXPECT_THAT(result.err, HasSubstr("A replica with a batch of 24 needs about "));
  EXPECT_THAT(result.err, HasSubstr(" whatever its batch, and "));
  EXPECT_THAT(result.err, HasSubstr("this process computes 2 replicas at a time"));
  EXPECT_THAT(result.err, HasSubstr("It can have 12.0 MiB: "));
  EXPECT_THAT(result.err, HasSubstr("(estimated by steps of 3 and 6 samples)"));
  const std::string key = "cluster.batch_per_replica: ";
  const size_t at = result.err.find(key);
  ASSERT_NE(at, std::string::npos) << result.err;
  const int64_t batch = std::atoll(result.err.c_str() + at + key.size());
  ASSERT_GE(batch, 2);
  ASSERT_LT(batch, 24);
  const ProcessResult fitting = train(batch);
  EXPECT_EQ(fitting.status, 0) << "batch " << batch << ": " << fitting.err;
  EXPECT_EQ(train(batch * 3 / 2 + 1).status, 4) << "far more would have fitted than " << batch;
}

// In a thread of the loader, before any step.
TEST(EmulatedProgram, OutOfMemoryForABatchThatIsPreparedAheadSaysTheSame) {
  TempFolder folder;
  const auto run = folder.path() / "run.yaml";
  WriteFileAtomically(run,
                      "data: {dataset: shapes, shapes: {train_samples: 1024, test_samples: 1}}\n"
                      "model: {layers: [{conv: {out: 10, stride: 4}}, global_average_pool]}\n"
                      "cluster: {replicas: 2, batch_per_replica: 512}\n"
                      "train: {max_steps: 1}\n");
  ProcessOptions options{.argv = {SYNCBN_EMULATED_PROGRAM, "train", run.string(), "--quiet",
                                  "--out", (folder.path() / "out").string()}};
  options.environment["SYNCBN_EMULATED_MIB"] = "1";
  const ProcessResult result = RunProcess(options);
  EXPECT_EQ(result.status, 4);
  EXPECT_THAT(result.err, HasSubstr(" more wanted by a copy stream that holds "));
  EXPECT_THAT(result.err, HasSubstr("A replica with a batch of 512 needs about "));
  EXPECT_THAT(result.err, HasSubstr(" would fit (estimated by steps of "));
  EXPECT_THAT(result.err, HasSubstr("\n  in loading the batch of epoch 0, step 0, replica "));
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

// Runs of one run file on the emulated GPU.
class EmulatedPrecision : public ::testing::Test {
 protected:
  void Write(const std::string& run) { WriteFileAtomically(folder_.path() / "run.yaml", run); }
  ProcessResult Train(int processes, const std::string& out, std::vector<std::string> more = {}) {
    std::vector<std::string> argv = {SYNCBN_EMULATED_PROGRAM,
                                     "train",
                                     (folder_.path() / "run.yaml").string(),
                                     "--out",
                                     (folder_.path() / out).string(),
                                     "--backend",
                                     "cuda",
                                     "--quiet"};
    argv.insert(argv.end(), more.begin(), more.end());
    return RunProcess(processes == 1 ? ProcessOptions{.argv = argv} : UnderMpirun(processes, argv));
  }
  nlohmann::json Summary(const std::string& out) const {
    return nlohmann::json::parse(ReadFile(folder_.path() / out / "summary.json"));
  }
  std::string DigestOf(const std::string& out) const { return Summary(out).at("digest"); }

  TempFolder folder_;
};

TEST_F(EmulatedPrecision, InBf16DigestsAreEqualOn1And2And4Processes) {
  Write(std::string(kRun) + "precision: bf16\n");
  for (const int processes : {1, 2, 4}) {
    const std::string out = std::to_string(processes);
    const ProcessResult result = Train(processes, out);
    ASSERT_EQ(result.status, 0) << result.err;
    EXPECT_EQ(DigestOf(out), DigestOf("1")) << processes << " processes";
  }
  std::set<std::string> digests = {DigestOf("1")};
  for (const std::string precision : {"float32", "tf32"}) {
    const ProcessResult result = Train(1, precision, {"--set", "precision=" + precision});
    ASSERT_EQ(result.status, 0) << result.err;
    digests.insert(DigestOf(precision));
  }
  EXPECT_EQ(digests.size(), 3u) << "a precision that is no other";
}

// A small net of what there is.
constexpr const char* kSmallNet =
    "data: {dataset: shapes, shapes: {train_samples: 128, test_samples: 64}}\n"
    "model:\n"
    "  norm: {batch: global}\n"
    "  layers:\n"
    "    - conv: {out: 8, kernel: 5, stride: 4, padding: 2}\n"
    "    - norm\n"
    "    - relu\n"
    "    - residual:\n"
    "        body:\n"
    "          - conv: {out: 8, kernel: 3, padding: 1}\n"
    "          - norm\n"
    "    - relu\n"
    "    - max_pool: {kernel: 2, stride: 2}\n"
    "    - flatten\n"
    "    - linear: 10\n"
    "cluster: {replicas: 2, batch_per_replica: 16}\n"
    "train:\n"
    "  epochs: 100\n"
    "  optimizer: {kind: sgd, momentum: 0.9}\n"
    "  learning_rate: {base: 0.05, schedule: constant}\n"
    "  checkpoint: {every_steps: 50, keep: 9}\n";

TEST_F(EmulatedPrecision, ARunInBf16GoesOnFromItsMastersAndInNoOtherPrecision) {
  Write(std::string(kSmallNet) + "precision: bf16\n");
  const auto steps = [](int count) {
    return std::vector<std::string>{"--set", "train.max_steps=" + std::to_string(count)};
  };
  const ProcessResult whole = Train(1, "whole", steps(6));
  ASSERT_EQ(whole.status, 0) << whole.err;
  const ProcessResult part = Train(2, "parts", steps(3));
  ASSERT_EQ(part.status, 0) << part.err;
  std::string checkpoint;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(folder_.path() / "parts")) {
    if (entry.path().extension() == ".safetensors") checkpoint = ReadFile(entry.path());
  }
  EXPECT_THAT(checkpoint, HasSubstr("\"dtype\":\"F32\""));
  EXPECT_THAT(checkpoint, Not(HasSubstr("BF16")));

  std::vector<std::string> other = steps(6);
  other.insert(other.end(), {"--resume", "--set", "precision=float32"});
  const ProcessResult refused = Train(1, "parts", other);
  EXPECT_EQ(refused.status, 2);
  EXPECT_THAT(refused.err, HasSubstr("precision: float32, the checkpoint has bf16"));

  std::vector<std::string> rest = steps(6);
  rest.push_back("--resume");
  const ProcessResult resumed = Train(1, "parts", rest);
  ASSERT_EQ(resumed.status, 0) << resumed.err;
  EXPECT_EQ(DigestOf("parts"), DigestOf("whole"));
}

// A dump's logits, and what a replay looks at in between.
TEST_F(EmulatedPrecision, AStepInBf16IsDumpedAndPlayedAgain) {
  Write(std::string(kSmallNet) + "precision: bf16\noutput: {digests: true}\n");
  const ProcessResult result =
      Train(2, "out", {"--set", "train.max_steps=3", "--set", "train.checkpoint.every_steps=2"});
  ASSERT_EQ(result.status, 0) << result.err;
  const ProcessResult replay =
      RunProcess({.argv = {SYNCBN_EMULATED_PROGRAM, "replay", (folder_.path() / "out").string(),
                           "--step", "2", "--backend", "cuda", "--layers"}});
  EXPECT_EQ(replay.status, 0) << replay.err;
  EXPECT_THAT(replay.out, HasSubstr("identical to the digest that the run recorded"));
  const std::string dump =
      ReadFile(folder_.path() / "out" / "replay" / "steps" / "000002.safetensors");
  EXPECT_THAT(dump, Not(HasSubstr("BF16")));
}

TEST_F(EmulatedNccl, IsRefusedWhereRanksShareAGpu) {
  const auto run = folder_.path() / "run.yaml";
  WriteFileAtomically(run, kRun);
  ProcessOptions options =
      UnderMpirun(2, {SYNCBN_EMULATED_PROGRAM, "train", run.string(), "--exchange", "nccl", "--out",
                      (folder_.path() / "out").string()});
  options.environment["SYNCBN_EMULATED_DEVICES"] = "1";
  const ProcessResult result = RunProcess(options);
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err,
              HasSubstr("--exchange nccl: rank 0 and rank 1 share a GPU, which NCCL refuses"));
}

// With one replica a process nobody looks at its thread from outside.
TEST_F(EmulatedNccl, AWaitWithoutEndInTheEvaluationIsAStall) {
  const auto run = folder_.path() / "run.yaml";
  WriteFileAtomically(run,
                      "data: {dataset: shapes, shapes: {train_samples: 16, test_samples: 64}}\n"
                      "model: {architecture: lenet}\n"
                      "cluster: {replicas: 2, batch_per_replica: 8, stall_timeout: 3}\n"
                      "train: {max_steps: 1}\n");
  int stalled = 0;
  // Until there are as many launches as are hung, the last of which is the evaluation's.
  for (int launch = 0; launch < 20; ++launch) {
    ProcessOptions options =
        UnderMpirun(2, {SYNCBN_EMULATED_PROGRAM, "train", run.string(), "--quiet", "--overwrite",
                        "--out", (folder_.path() / "out").string()});
    options.environment["SYNCBN_EMULATION_BREAK_NCCL"] = "0:" + std::to_string(launch) + ":hang";
    options.timeout = std::chrono::seconds(100);
    const ProcessResult result = RunProcess(options);
    ASSERT_FALSE(result.timed_out) << "launch " << launch;
    if (result.status == 0) break;
    EXPECT_EQ(result.status, 5) << "launch " << launch << ": " << result.err;
    ++stalled;
  }
  EXPECT_GE(stalled, 2);
  EXPECT_LT(stalled, 20);
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
