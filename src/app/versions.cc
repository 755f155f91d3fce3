#include "app/versions.h"

#include <google/protobuf/stubs/common.h>

#include <algorithm>
#include <cstdlib>

#include "backend/backend.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/host.h"
#include "comm/mpi/mpi_session.h"

namespace syncbn::app {

std::string ProgramVersion() { return SYNCBN_VERSION; }

std::filesystem::path ProgramPath() { return std::filesystem::read_symlink("/proc/self/exe"); }

std::string ProgramDigest() {
  // Through /proc, so that a program replaced on disk while it runs is still what is digested.
  return DigestOf(ReadFileBytes("/proc/self/exe")).Hex();
}

std::map<std::string, std::string> LibraryVersions() {
  return {{"syncbn", ProgramVersion()},
          {"Protobuf", google::protobuf::internal::VersionString(GOOGLE_PROTOBUF_VERSION)},
          {"MPI", comm::MpiVersion()},
          {"cpu", backend::MakeCpuBackend()->Description()}};
}

int CoresPerProcess() {
  const char* local = std::getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
  if (const char* slurm = std::getenv("SLURM_CPUS_PER_TASK"); local == nullptr && slurm != nullptr) {
    return std::clamp(std::atoi(slurm), 1, AvailableCores());
  }
  const int processes = local != nullptr ? std::max(1, std::atoi(local)) : 1;
  // Pinned to fewer cores than processes: they are this process's own already.
  const int cores = AvailableCores();
  return cores <= processes ? std::max(1, cores / processes) : cores / processes;
}

}  // namespace syncbn::app
