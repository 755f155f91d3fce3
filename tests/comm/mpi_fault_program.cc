// A small distributed program in which the last rank misbehaves; started under mpirun by mpi_fault_test.
//
//   mpi_fault_program kill|exit|leave|stop|stall|throw|native_mismatch FOLDER
//
// In the folder each rank leaves a file when it has said what it met.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>

#include "base/error.h"
#include "comm/make_reducer.h"
#include "comm/mpi/mpi_session.h"

namespace syncbn::comm {
namespace {

using namespace std::chrono_literals;

constexpr int kFaultStep = 5;

// Steps of one replica: what it reports, what it reduces; the last rank goes wrong at kFaultStep.
void Steps(const std::string& fault, bool faulty, ReplicaLink link) {
  const auto begin = std::chrono::steady_clock::now();
  for (int step = 0;; ++step) {
    link.reducer->Report(link.replica, step, "backward", "layer2.0.bn1");
    int64_t elements = 33;
    // After some heartbeats: what was last seen is to be named.
    if (faulty && fault == "stop" && std::chrono::steady_clock::now() - begin > 1s) ::raise(SIGSTOP);
    if (faulty && step == kFaultStep) {
      if (fault == "kill") ::kill(::getpid(), SIGKILL);
      if (fault == "exit") ::_exit(3);
      if (fault == "stall") std::this_thread::sleep_for(60s);
      if (fault == "leave") return;
      if (fault == "throw") throw Error(ErrorCode::kDataLoss, "sample 41 is damaged");
      if (fault == "native_mismatch") elements = 17;
    }
    link.Reduce({.group = {0, link.replicas()},
                 .contribution = Tensor::Zeros({elements}, DType::kFloat64),
                 .name = elements == 33 ? "layer2.0.bn1 backward" : "layer3.0.bn1 backward"});
  }
}

// Until all who live have spoken: the first to abort ends the others.
void WaitForTheOthers(const std::string& fault, const std::filesystem::path& folder, int rank, int ranks) {
  std::ofstream(folder / std::to_string(rank)) << "said\n";
  const bool faulty_speaks = fault == "throw" || fault == "native_mismatch";
  const auto end = std::chrono::steady_clock::now() + 20s;
  while (std::distance(std::filesystem::directory_iterator(folder), {}) < ranks - !faulty_speaks &&
         std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(10ms);
  }
}

int Main(const std::string& fault, const std::filesystem::path& folder) {
  MpiSession session;
  Communicator& world = session.world();
  try {
    const auto reducer = MakeReducer(
        world, {.kind = fault == "native_mismatch" ? ReducerKind::kNative : ReducerKind::kTree,
                .replicas = world.size(),
                .stall_timeout = fault == "stop" || fault == "stall" ? 2s : 30s});
    const ReplicaLink link{reducer.get(), world.rank()};
    try {
      Steps(fault, world.rank() == world.size() - 1, link);
    } catch (const Error& error) {
      reducer->Poison(link.replica, error.message());
      throw;
    }
  } catch (const Error& error) {
    std::fprintf(stderr, "%s: %s\n", std::string(ErrorCodeName(error.code())).c_str(), error.what());
    WaitForTheOthers(fault, folder, world.rank(), world.size());
    world.Abort(42);
  }
  // Who leaves has left the reduction, but not MPI: when one rank aborts while another is in
  // MPI_Finalize, mpirun hangs in its own end now and then (Open MPI 4.1.4 with PMIx 4.2.2).
  if (fault == "leave") std::this_thread::sleep_for(60s);
  return 0;
}

}  // namespace
}  // namespace syncbn::comm

int main(int argc, char** argv) {
  return argc == 3 ? syncbn::comm::Main(argv[1], argv[2]) : 2;
}
