// Which program trains on a host with a GPU, and what is said where it cannot be loaded.
#include "app/run/gpu_program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "app/run/gpu_info.h"
#include "base/error.h"
#include "tests/support/temp_folder.h"

namespace syncbn::app {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

class GpuProgramTest : public ::testing::Test {
 protected:
  GpuProgramTest() { std::ofstream(host_.program) << "this one"; }
  // A script is loaded where its shell is.
  void AddProgram() {
    std::ofstream(host_.cuda_program) << "#!/bin/sh\nexit 3\n";
    fs::permissions(host_.cuda_program, fs::perms::owner_all);
  }
  void AddProgramWithoutItsLibrary() { fs::copy_file(SYNCBN_WITHOUT_LIBRARY, host_.cuda_program); }

  TempFolder folder_;
  GpuHost host_{.program = folder_.path() / "syncbn",
                .cuda_program = folder_.path() / "syncbn-cuda",
                .has_gpu = true};
};

TEST_F(GpuProgramTest, AutoIsTheOtherProgramWhereThereAreAGpuAndTheProgram) {
  EXPECT_EQ(ChooseProgram("auto", host_).program, "") << "not there";
  AddProgram();
  EXPECT_EQ(ChooseProgram("auto", host_).program, host_.cuda_program);
  EXPECT_EQ(ChooseProgram("auto", host_).why_not, "");
  EXPECT_EQ(ChooseProgram("cpu", host_).program, "");
  EXPECT_EQ(ChooseProgram("reference", host_).program, "");
  host_.has_gpu = false;
  EXPECT_EQ(ChooseProgram("auto", host_).program, "");
  EXPECT_EQ(ChooseProgram("cuda", host_).program, host_.cuda_program) << "it says what is missing";
}

TEST_F(GpuProgramTest, AProgramDoesNotBecomeItselfUnderAnotherName) {
  fs::create_symlink(host_.program, host_.cuda_program);
  EXPECT_FALSE(HasCudaProgram(host_));
  EXPECT_EQ(ChooseProgram("auto", host_).program, "");
  EXPECT_EQ(ChooseProgram("cuda", host_).program, "");
}

TEST_F(GpuProgramTest, WithoutALibraryAutoStaysAndSaysWhyAndCudaIsAnError) {
  AddProgramWithoutItsLibrary();
  const auto what =
      AllOf(HasSubstr(host_.cuda_program.string() + ", which trains on GPUs"),
            HasSubstr("libsyncbn_absent.so => not found"), HasSubstr("LD_LIBRARY_PATH"));
  const ProgramChoice choice = ChooseProgram("auto", host_);
  EXPECT_EQ(choice.program, "");
  EXPECT_THAT(choice.why_not, what);
  try {
    ChooseProgram("cuda", host_);
    ADD_FAILURE() << "it was to fail";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kFailedPrecondition);
    EXPECT_THAT(error.message(), what);
    EXPECT_THAT(error.message(), HasSubstr("--backend cpu needs none"));
  }
  host_.has_gpu = false;
  EXPECT_EQ(ChooseProgram("auto", host_).why_not, "") << "there is nothing to be said of GPUs";
}

TEST_F(GpuProgramTest, WithItsLibraryTheSameProgramIsLoaded) {
  EXPECT_EQ(LoadObstacle(SYNCBN_WITH_LIBRARY), "");
}

TEST_F(GpuProgramTest, WhatIsNoProgramIsAnObstacle) {
  std::ofstream(host_.cuda_program) << "nothing";
  EXPECT_EQ(LoadObstacle(host_.cuda_program), "Permission denied");
  fs::permissions(host_.cuda_program, fs::perms::owner_all);
  EXPECT_EQ(LoadObstacle(host_.cuda_program), "Exec format error");
}

TEST(GpuInfo, SaysWhatThereIsAndWhatIsNotUsed) {
  const backend::GpuReport report{
      .versions = {{"CUDA runtime", "13.0"}, {"CUDA of the driver", "13.1"}, {"cuDNN", "9.19.0"}},
      .gpus = {{.ordinal = 0,
                .name = "NVIDIA H200",
                .major = 9,
                .minor = 0,
                .memory = uint64_t{139} << 30,
                .uuid = "GPU-1",
                .pci = "00000000:1B:00.0",
                .unfit = ""},
               {.ordinal = 1,
                .name = "NVIDIA T4",
                .major = 7,
                .minor = 5,
                .memory = uint64_t{15} << 30,
                .uuid = "GPU-2",
                .pci = "00000000:1C:00.0",
                .unfit = "it is too old"}},
      .problem = ""};
  const nlohmann::ordered_json info = CudaInfoOf("/bin/syncbn-cuda", report);
  EXPECT_EQ(info.dump(),
            R"({"program":"/bin/syncbn-cuda","versions":{"CUDA runtime":"13.0",)"
            R"("CUDA of the driver":"13.1","cuDNN":"9.19.0"},"gpus":[{"ordinal":0,)"
            R"("name":"NVIDIA H200","compute_capability":"9.0","memory_bytes":149250113536,)"
            R"("uuid":"GPU-1","pci_bus_id":"00000000:1B:00.0","unfit":null},{"ordinal":1,)"
            R"("name":"NVIDIA T4","compute_capability":"7.5","memory_bytes":16106127360,)"
            R"("uuid":"GPU-2","pci_bus_id":"00000000:1C:00.0","unfit":"it is too old"}],)"
            R"("problem":null})");
  const std::vector<std::vector<std::string>> rows = {
      {"cuda", "in /bin/syncbn-cuda"},
      {"cuda versions", "CUDA runtime 13.0, CUDA of the driver 13.1, cuDNN 9.19.0"},
      {"gpu 0", "NVIDIA H200, compute capability 9.0, 139.0 GiB, GPU-1, PCI 00000000:1B:00.0"},
      {"gpu 1",
       "NVIDIA T4, compute capability 7.5, 15.0 GiB, GPU-2, PCI 00000000:1C:00.0; not used: it is "
       "too old"}};
  EXPECT_EQ(CudaRows(info), rows);
}

TEST(GpuInfo, AProblemTakesTheProgramsPlace) {
  const auto rows =
      CudaRows(CudaInfoOf("", {.versions = {}, .gpus = {}, .problem = "it was not built"}));
  EXPECT_EQ(rows, (std::vector<std::vector<std::string>>{{"cuda", "it was not built"}}));
}

}  // namespace
}  // namespace syncbn::app
