// This process's membership in an MPI job, if it is in one.
//
// Started by mpirun (or srun with PMIx), it initializes MPI and ends it; started by hand it never touches
// MPI and is a run of one process. The only file that the program includes to reach MPI.
#pragma once

#include <memory>
#include <string>

#include "comm/communicator.h"

namespace syncbn::comm {

// One per process, made and destroyed on the main thread. Communicators and reducers must not outlive it.
class MpiSession {
 public:
  // Throws UNAVAILABLE when MPI does not start or cannot be called from several threads in turn.
  MpiSession();
  // Ends MPI, waiting for the other processes to do the same. When an exception passes by, ends the
  // whole job with exit code 1 instead, since the others may wait for this process for ever.
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  // Whether a launcher has started this process as a part of a job.
  static bool UnderMpirun();

  bool uses_mpi() const { return uses_mpi_; }
  // All processes of the job.
  Communicator& world() { return *world_; }

 private:
  bool uses_mpi_ = false;
  std::unique_ptr<Communicator> world_;
  const int exceptions_;
};

// "Open MPI v4.1.4, ..."; may be called without a session.
std::string MpiVersion();

}  // namespace syncbn::comm
