// The program that trains on GPUs, with NVIDIA's libraries, also on a machine without a GPU.
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

bool HasGpu() {
  return std::filesystem::exists("/dev/nvidiactl") || std::filesystem::exists("/dev/dxg");
}

class CudaProgramTest : public ::testing::Test {
 protected:
  CudaProgramTest() {
    WriteFileAtomically(run_,
                        "data: {dataset: shapes, shapes: {train_samples: 16, test_samples: 4}}\n"
                        "model: {architecture: resnet20, width: 0.25}\n"
                        "cluster: {replicas: 2, batch_per_replica: 4}\n"
                        "train: {max_steps: 1}\n");
  }
  std::vector<std::string> Train(const std::string& backend) const {
    return {
        SYNCBN_CUDA_PROGRAM, "train",   run_.string(), "--out", (folder_.path() / "out").string(),
        "--overwrite",       "--quiet", "--backend",   backend};
  }

  TempFolder folder_;
  const std::filesystem::path run_ = folder_.path() / "run.yaml";
};

TEST_F(CudaProgramTest, WithoutAGpuAutoTrainsOnTheCpuAndSaysWhyOnceAHost) {
  if (HasGpu()) GTEST_SKIP() << "this machine has a GPU";
  for (int processes = 1; processes <= 2; ++processes) {
    const ProcessResult result = RunProcess(UnderMpirun(processes, Train("auto")));
    EXPECT_EQ(result.status, 0) << result.err;
    const size_t warning = result.err.find("computes on the CPU: no GPU can be used: ");
    EXPECT_NE(warning, std::string::npos) << result.err;
    EXPECT_EQ(result.err.find("computes on the CPU", warning + 1), std::string::npos) << result.err;
  }
}

TEST_F(CudaProgramTest, WithoutAGpuCudaIsAnErrorThatSaysWhatToDo) {
  if (HasGpu()) GTEST_SKIP() << "this machine has a GPU";
  const ProcessResult result = RunProcess({.argv = Train("cuda")});
  EXPECT_EQ(result.status, 2) << result.err;
  EXPECT_THAT(result.err, HasSubstr("no GPU can be used: "));
  EXPECT_THAT(result.err, HasSubstr("--backend cpu needs none"));
}

// The other program asks this one.
TEST_F(CudaProgramTest, InfoListsLibrariesAndGpus) {
  const ProcessResult result = RunProcess({.argv = {SyncbnProgram(), "info", "--json"}});
  EXPECT_EQ(result.status, 0) << result.err;
  const auto cuda = nlohmann::json::parse(result.out).at("cuda");
  EXPECT_EQ(cuda.at("program"), SYNCBN_CUDA_PROGRAM);
  EXPECT_EQ(cuda.at("gpus").empty(), !HasGpu());
  EXPECT_EQ(cuda.at("problem").is_null(), HasGpu());
  for (const char* name : {"CUDA runtime", "CUDA of the driver", "cuDNN", "cuBLAS"})
    EXPECT_TRUE(cuda.at("versions").contains(name)) << result.out;
}

}  // namespace
}  // namespace syncbn
