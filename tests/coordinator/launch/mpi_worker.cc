// A worker for tests of the supervisor: an MPI program that does as its first argument says.
//   ok                 a barrier, a line of output, the end
//   wait               sleeps for a minute; leaves with a line and 75 on SIGTERM
//   ignore             the same, but ignores SIGTERM
//   kill | segv | exit N | abort N | leave      rank 1 does that, the others wait
#include <mpi.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace {
volatile std::sig_atomic_t stop = 0;
volatile std::sig_atomic_t checkpoint = 0;
}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "ok";
  const int code = argc > 2 ? std::atoi(argv[2]) : 0;
  std::signal(
      SIGTERM, what == "ignore" ? SIG_IGN : [](int) { stop = 1; });
  std::signal(SIGUSR1, [](int) { checkpoint = 1; });
  MPI_Init(&argc, &argv);
  int rank = 0, size = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  MPI_Barrier(MPI_COMM_WORLD);
  std::printf("rank %d of %d is up\n", rank, size);
  std::fflush(stdout);
  if (what == "ok") {
    MPI_Finalize();
    return 0;
  }
  if (rank == 1 || size == 1) {
    if (what == "kill") std::raise(SIGKILL);
    if (what == "segv") {
      std::signal(SIGSEGV, SIG_DFL);
      std::raise(SIGSEGV);
    }
    if (what == "exit") std::exit(code);
    if (what == "abort") MPI_Abort(MPI_COMM_WORLD, code);
    if (what == "leave") std::_Exit(0);
  }
  for (int i = 0; i < 6000; ++i) {
    // Which of two signals came first is not seen: what is to be done before leaving is done first.
    const bool leaving = stop != 0;
    if (checkpoint != 0) {
      checkpoint = 0;
      std::printf("rank %d writes a checkpoint\n", rank);
      std::fflush(stdout);
    }
    if (leaving) break;
    ::usleep(10'000);
  }
  std::printf("rank %d leaves\n", rank);
  std::fflush(stdout);
  MPI_Finalize();
  return stop != 0 ? 75 : 0;
}
