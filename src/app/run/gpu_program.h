// The program beside this one that trains on GPUs, and whether it can be started at all.
#pragma once

#include <filesystem>
#include <string>

namespace syncbn::app {

// What there is on a host.
struct GpuHost {
  std::filesystem::path program;       // this one
  std::filesystem::path cuda_program;  // the one that trains on GPUs, there or not
  bool has_gpu = false;                // a driver of NVIDIA's has found one
};
GpuHost ThisHost();

// Whether the other program is there, and is not this one under another name, which would become
// itself for ever.
bool HasCudaProgram(const GpuHost& host);

// What keeps the dynamic loader from loading a program: "libcudnn.so.9 => not found"; empty:
// nothing. The loader is asked itself (as ldd does), which looks for all libraries and relocates
// none: 15 ms for syncbn-cuda, of which a start takes 250. A program that is started without its
// libraries is gone, and cannot train on the CPU instead.
std::string LoadObstacle(const std::filesystem::path& program);

// The program to become for `backend`, in a program without CUDA; empty: this one. Where `auto`
// could be on a GPU and its program cannot be loaded, also `why_not`. Throws FAILED_PRECONDITION,
// with what to do, where `cuda` cannot.
struct ProgramChoice {
  std::filesystem::path program;
  std::string why_not;
};
ProgramChoice ChooseProgram(const std::string& backend, const GpuHost& host);

// Replaces this process, with its arguments and environment as they were given. Comes back only
// with an error: FAILED_PRECONDITION.
[[noreturn]] void Become(const std::filesystem::path& program);

}  // namespace syncbn::app
