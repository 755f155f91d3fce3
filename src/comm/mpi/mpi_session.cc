#include "comm/mpi/mpi_session.h"

#include <array>
#include <cstdlib>
#include <exception>
#include <string>

#include "base/error.h"
#include "comm/in_process.h"
#include "comm/mpi/mpi_communicator.h"

namespace syncbn::comm {

bool MpiSession::UnderMpirun() {
  // Open MPI; PMIx and PMI-1/2 (srun, Hydra).
  constexpr std::array kNames = {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_SIZE"};
  for (const char* name : kNames) {
    if (std::getenv(name) != nullptr) return true;
  }
  return false;
}

MpiSession::MpiSession() : exceptions_(std::uncaught_exceptions()) {
  if (!UnderMpirun()) {
    world_ = std::move(MakeInProcessCommunicators(1).front());
    return;
  }
  int provided = 0;
  CheckMpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided), "MPI_Init_thread");
  if (provided < MPI_THREAD_SERIALIZED) {
    throw Error(ErrorCode::kUnavailable,
                "this MPI library cannot be called from several threads in turn "
                "(MPI_THREAD_SERIALIZED): use one that can");
  }
  uses_mpi_ = true;
  world_ = std::make_unique<MpiCommunicator>(std::make_shared<MpiPort>());
}

MpiSession::~MpiSession() {
  if (!uses_mpi_) return;
  // Nobody will have said why: MPI's own words are better than none.
  if (std::uncaught_exceptions() > exceptions_) MPI_Abort(MPI_COMM_WORLD, 1);
  world_.reset();
  MPI_Finalize();
}

std::string MpiVersion() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  MPI_Get_library_version(text, &length);
  std::string version(text, static_cast<size_t>(length));
  return version.substr(0, version.find(", package"));
}

}  // namespace syncbn::comm
