#include "app/run/backend_program.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <vector>

#include "app/versions.h"
#include "base/error.h"
#include "base/file.h"

namespace syncbn::app {
namespace {

namespace fs = std::filesystem;

// Whether a driver has found a GPU: of NVIDIA's driver on Linux, and below Windows.
bool HasGpu() {
  std::error_code ignored;
  return fs::exists("/dev/nvidiactl", ignored) || fs::exists("/dev/dxg", ignored);
}

fs::path CudaProgram() {
  return ProgramPath().parent_path() / "syncbn-cuda";
}

// One that is not this one under another name, which would become itself for ever.
bool HasCudaProgram() {
  std::error_code ignored;
  return fs::exists(CudaProgram(), ignored) &&
         !fs::equivalent(CudaProgram(), ProgramPath(), ignored);
}

// Comes back only with an error.
[[noreturn]] void Become(const fs::path& program) {
  // As they were given: what a shell or this program has made of them, it would make of them again.
  std::string words = ReadFile("/proc/self/cmdline") + '\0';
  std::vector<char*> arguments;
  for (size_t at = 0; at + 1 < words.size(); at = words.find('\0', at) + 1)
    arguments.push_back(words.data() + at);
  arguments.push_back(nullptr);
  std::fflush(nullptr);
  ::execv(program.c_str(), arguments.data());
  throw Error(ErrorCode::kFailedPrecondition,
              "cannot run " + program.string() +
                  ", which trains on GPUs: " + std::generic_category().message(errno));
}

// Of this process among those of its job on this host; 0 outside of mpirun and srun.
int LocalRank() {
  for (const char* name : {"OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID"}) {
    if (const char* text = std::getenv(name)) return std::atoi(text);
  }
  return 0;
}

std::unique_ptr<backend::Backend> MakeCuda() {
  if (!backend::HasCuda() && HasCudaProgram()) Become(CudaProgram());
  return backend::MakeCudaBackend(LocalRank());
}

}  // namespace

std::unique_ptr<backend::Backend> MakeBackend(const std::string& name) {
  if (name == "cpu") return backend::MakeCpuBackend();
  if (name == "reference") return backend::MakeReferenceBackend();
  if (name == "cuda") return MakeCuda();
  if (name == "auto") {
    const bool usable =
        backend::HasCuda() ? backend::CountGpus() > 0 : HasGpu() && HasCudaProgram();
    return usable ? MakeCuda() : backend::MakeCpuBackend();
  }
  throw Error(ErrorCode::kInvalidArgument,
              "there is no back end '" + name + "'; expected auto, cpu, cuda or reference");
}

std::string DescribeCuda() {
  try {
    if (backend::HasCuda()) return backend::MakeCudaBackend(0)->Description();
    if (!HasCudaProgram()) backend::MakeCudaBackend(0);
    return HasGpu() ? "in " + CudaProgram().string()
                    : "built (" + CudaProgram().string() + "), but there is no GPU";
  } catch (const Error& error) {
    return error.message();
  }
}

}  // namespace syncbn::app
