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

// The back end called `name` in this process, on the GPU of its rank on this host. To be called
// before MPI starts: this may replace the program by the one that has the back end. Throws
// INVALID_ARGUMENT for an unknown name, UNIMPLEMENTED where cuda was not built, FAILED_PRECONDITION
// where there is no GPU.
std::unique_ptr<backend::Backend> MakeBackend(const std::string& name);

// What this program and that beside it can do on GPUs, for `syncbn info`: "NVIDIA H200, ..." or why
// nothing.
std::string DescribeCuda();

}  // namespace syncbn::app
