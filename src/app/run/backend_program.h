// Which program a back end is in.
//
// What trains on GPUs is a program of its own beside this one, syncbn-cuda: loading NVIDIA's
// libraries takes a sixth of a second and 220 MB (measured with CUDA 13.0), which ranks on a CPU,
// coordinators and clients need not pay. It is the same program otherwise, and this one becomes it
// when a run is to use a GPU: process, arguments and environment stay.
#pragma once

#include <memory>
#include <string>

#include "backend/backend.h"

namespace syncbn::app {

// What `--backend` may be, for its help.
inline constexpr const char* kBackendHelp =
    "auto (cuda where there is a GPU, else cpu), cpu, cuda, or\nreference (double, slow)";

// Becomes the program that has the back end called `name`, where that is another. What a command
// that computes does first, before any output and before MPI: the other program begins again.
// Comes back where this program is the one; where `auto` would be on a GPU and the other cannot be
// loaded it warns of that, and this one computes on the CPU. Throws FAILED_PRECONDITION, with what
// is missing, where `cuda` cannot be loaded.
void BecomeProgramOf(const std::string& name);

// The back end called `name` in this process, on the GPU of its rank on this host. `auto` is the
// CPU, with a warning where this program has CUDA, when no GPU can be used. Throws INVALID_ARGUMENT
// for an unknown name, UNIMPLEMENTED where cuda was not built, FAILED_PRECONDITION, with what to
// do, where no GPU can be used.
std::unique_ptr<backend::Backend> MakeBackend(const std::string& name);

}  // namespace syncbn::app
