#include "app/run/gpu_program.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <sstream>
#include <system_error>
#include <utility>
#include <vector>

#include "app/run/subprocess.h"
#include "base/environment.h"
#include "base/error.h"
#include "base/file.h"

namespace syncbn::app {
namespace fs = std::filesystem;

GpuHost ThisHost() {
  std::error_code ignored;
  const fs::path program = fs::read_symlink("/proc/self/exe", ignored);
  return {.program = program,
          .cuda_program = program.parent_path() / "syncbn-cuda",
          // Of NVIDIA's driver on Linux, and below Windows.
          .has_gpu = fs::exists("/dev/nvidiactl", ignored) || fs::exists("/dev/dxg", ignored)};
}

bool HasCudaProgram(const GpuHost& host) {
  std::error_code ignored;
  return fs::exists(host.cuda_program, ignored) &&
         !fs::equivalent(host.cuda_program, host.program, ignored);
}

std::string LoadObstacle(const fs::path& program) {
  std::vector<std::string> environment = OwnEnvironment();
  SetVariable(environment, "LD_TRACE_LOADED_OBJECTS", "1");
  const Captured said = RunCaptured({program.string()}, std::move(environment), true);
  if (!said.why.empty()) return said.why;
  std::istringstream lines(said.text);
  std::string missing, last;
  for (std::string line; std::getline(lines, line);) {
    line.erase(0, line.find_first_not_of(" \t"));
    if (line.empty()) continue;
    last = line;
    // "libcudnn.so.9 => not found", "...: version `GLIBC_2.38' not found (required by ...)"
    if (line.find("not found") == std::string::npos) continue;
    missing += (missing.empty() ? "" : ", ") + line;
  }
  if (!missing.empty()) return missing;
  if (said.code == 0) return "";
  return last.empty() ? "the dynamic loader fails" : last;
}

ProgramChoice ChooseProgram(const std::string& backend, const GpuHost& host) {
  const bool insists = backend == "cuda";
  if (!insists && (backend != "auto" || !host.has_gpu)) return {};
  if (!HasCudaProgram(host)) return {};
  const std::string obstacle = LoadObstacle(host.cuda_program);
  if (obstacle.empty()) return {.program = host.cuda_program, .why_not = {}};
  const std::string why = host.cuda_program.string() +
                          ", which trains on GPUs, cannot be loaded: " + obstacle +
                          ". NVIDIA's libraries are looked for where it was built with them and in "
                          "LD_LIBRARY_PATH";
  if (!insists) return {.program = {}, .why_not = why};
  throw Error(ErrorCode::kFailedPrecondition, why + "; --backend cpu needs none");
}

void Become(const fs::path& program) {
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

}  // namespace syncbn::app
