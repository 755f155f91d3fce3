#include "comm/mpi/mpi_session.h"

#include <array>
#include <cstdlib>
#include <exception>
#include <string>

#include "base/error.h"
#include "comm/in_process.h"
#include "comm/mpi/mpi_communicator.h"

namespace syncbn::comm {

struct MpiSession::Runtime : MpiRuntime {};

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
  // Some errors of non-blocking collectives are reported on the world, whatever communicator they used.
  CheckMpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  runtime_ = std::make_shared<Runtime>();
  MPI_Comm comm = MPI_COMM_NULL;
  CheckMpi(MPI_Comm_dup(MPI_COMM_WORLD, &comm), "MPI_Comm_dup");
  world_ = std::make_unique<MpiCommunicator>(runtime_, comm);
}

MpiSession::~MpiSession() {
  if (!uses_mpi()) return;
  if (std::uncaught_exceptions() > exceptions_) world_->Abort(1);
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
