// What is said of GPUs, and why none can be used.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/gpu_report.h"
#include "base/error.h"
#include "tests/emulation/runtime.h"

namespace syncbn::backend::cuda {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

TEST(Gpus, AreThoseOfTheDeviceWithWhatDrivesThem) {
  const GpuReport report = ReportGpus();
  ASSERT_FALSE(report.gpus.empty());
  EXPECT_EQ(report.gpus[0].name, "Emulated");
  EXPECT_EQ(report.gpus[0].unfit, "");
  EXPECT_EQ(report.problem, "");
  EXPECT_THAT(report.versions,
              ElementsAre(Pair("CUDA runtime", "13.0"), Pair("CUDA of the driver", "13.0"),
                          Pair("cuDNN", "9.0.0"), Pair("cuBLAS", "13.0.0")));
}

TEST(Gpus, HaveTheNamesThatNvidiaSmiPrints) {
  cudaDeviceProp properties{};
  std::strcpy(properties.name, "NVIDIA H200");
  for (int i = 0; i < 16; ++i) properties.uuid.bytes[i] = static_cast<char>(0x11 * i);
  properties.major = 9;
  properties.totalGlobalMem = 150;
  properties.pciBusID = 0x1B;
  const Gpu gpu = GpuOf(3, properties);
  EXPECT_EQ(gpu.uuid, "GPU-00112233-4455-6677-8899-aabbccddeeff");
  EXPECT_EQ(gpu.pci, "00000000:1B:00.0");
  EXPECT_EQ(gpu.ordinal, 3);
  EXPECT_EQ(gpu.memory, 150U);
}

TEST(Gpus, ThatAreOlderThanTheKernelsAreNotUsed) {
  cudaDeviceProp properties{};
  std::strcpy(properties.name, "NVIDIA T4");
  properties.major = 7;
  properties.minor = 5;
  EXPECT_EQ(GpuOf(0, properties).unfit,
            "NVIDIA T4 has compute capability 7.5, and this program is compiled for 8.0 and later");
  properties.major = 8;
  properties.minor = 0;
  properties.memoryPoolsSupported = 1;
  EXPECT_EQ(GpuOf(0, properties).unfit, "");
}

TEST(Gpus, WithoutMemoryPoolsAreNotUsed) {
  cudaDeviceProp properties{};
  std::strcpy(properties.name, "GRID A100-4C");
  properties.major = 8;
  EXPECT_THAT(GpuOf(0, properties).unfit, HasSubstr("GRID A100-4C has no memory pools"));
}

TEST(Gpus, ThatNobodyMayUseOrAnotherProcessHasAreNamedWithWhatToDo) {
  emulation::SetComputeMode(cudaComputeModeProhibited);
  EXPECT_THAT(ReportGpus().problem, HasSubstr("cuda:0, Emulated: its compute mode is Prohibited "
                                              "(`nvidia-smi -c DEFAULT` changes it)"));
  emulation::SetComputeMode(cudaComputeModeExclusiveProcess);
  EXPECT_EQ(ReportGpus().problem, "");
  try {
    MakeBackend(3);
    ADD_FAILURE() << "a device that another process has";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kFailedPrecondition);
    EXPECT_THAT(error.message(), HasSubstr("cuda:3: cudaSetDevice"));
    EXPECT_THAT(error.message(), HasSubstr("another process may have the GPU for itself"));
  }
  emulation::SetComputeMode(cudaComputeModeDefault);
}

TEST(Gpus, WhyThereAreNoneIsSaidWithWhatToDo) {
  constexpr auto kInsufficientDriver = static_cast<cudaError_t>(35);
  EXPECT_THAT(WhyNoGpu(cudaErrorNoDevice, 13000, 13000), HasSubstr("CUDA_VISIBLE_DEVICES"));
  EXPECT_THAT(WhyNoGpu(kInsufficientDriver, 0, 13000), HasSubstr("install NVIDIA's driver"));
  EXPECT_EQ(WhyNoGpu(kInsufficientDriver, 12040, 13000),
            "NVIDIA's driver is too old: it supports CUDA 12.4, and this program needs 13.0: "
            "update the driver");
  EXPECT_THAT(WhyNoGpu(cudaErrorSystemNotReady, 13000, 13000), HasSubstr("nvidia-fabricmanager"));
  EXPECT_THAT(WhyNoGpu(cudaErrorLaunchFailure, 13000, 13000), HasSubstr("cudaErrorLaunchFailure"));
}

}  // namespace
}  // namespace syncbn::backend::cuda
