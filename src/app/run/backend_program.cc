#include "app/run/backend_program.h"

#include <cstdio>
#include <cstdlib>

#include "app/run/gpu_program.h"
#include "app/terminal.h"
#include "backend/gpus.h"
#include "base/error.h"
#include "base/host.h"

namespace syncbn::app {
namespace {

// Of this process among those of its job on this host; 0 outside of mpirun and srun.
int LocalRank() {
  for (const char* name : {"OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID"}) {
    if (const char* text = std::getenv(name)) return std::atoi(text);
  }
  return 0;
}

// Once a host.
void WarnOfCpu(const std::string& why) {
  if (LocalRank() > 0) return;
  Say(stderr, "syncbn: warning: %s computes on the CPU: %s\n", HostName().c_str(), why.c_str());
}

std::unique_ptr<backend::Backend> MakeCudaOrCpu() {
  try {
    return backend::MakeCudaBackend(LocalRank());
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kFailedPrecondition) throw;
    WarnOfCpu(error.message());
    return backend::MakeCpuBackend();
  }
}

}  // namespace

void BecomeProgramOf(const std::string& name) {
  if (backend::HasCuda()) return;
  const ProgramChoice choice = ChooseProgram(name, ThisHost());
  if (!choice.why_not.empty()) WarnOfCpu(choice.why_not);
  if (!choice.program.empty()) Become(choice.program);
}

std::unique_ptr<backend::Backend> MakeBackend(const std::string& name) {
  if (name == "cpu") return backend::MakeCpuBackend();
  if (name == "reference") return backend::MakeReferenceBackend();
  if (name == "cuda") return backend::MakeCudaBackend(LocalRank());
  if (name == "auto") return backend::HasCuda() ? MakeCudaOrCpu() : backend::MakeCpuBackend();
  throw Error(ErrorCode::kInvalidArgument,
              "there is no back end '" + name + "'; expected auto, cpu, cuda or reference");
}

}  // namespace syncbn::app
