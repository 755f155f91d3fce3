// A small distributed program in which the last rank misbehaves; started under mpirun by mpi_fault_test.
//
//   mpi_fault_program kill|exit|leave|stop|stall|throw|native_mismatch
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <stdexcept>
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
  for (int step = 0; step < 100000; ++step) {
    link.reducer->Report(link.replica, step, "backward", "layer2.0.bn1");
    int64_t elements = 33;
    if (faulty && step == kFaultStep) {
      if (fault == "kill") ::kill(::getpid(), SIGKILL);
      if (fault == "exit") ::_exit(3);
      if (fault == "stop") {
        // Long enough for a heartbeat, also on a busy machine: what was last seen is to be named.
        std::this_thread::sleep_for(400ms);
        ::raise(SIGSTOP);
      }
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

int Main(const std::string& fault) {
  MpiSession session;
  Communicator& world = session.world();
  try {
    const auto reducer = MakeReducer(
        world, {.kind = fault == "native_mismatch" ? ReducerKind::kNative : ReducerKind::kTree,
                .replicas = world.size(),
                .stall_timeout = 2s});
    const ReplicaLink link{reducer.get(), world.rank()};
    try {
      Steps(fault, world.rank() == world.size() - 1, link);
    } catch (const Error& error) {
      reducer->Poison(link.replica, error.message());
      throw;
    }
  } catch (const Error& error) {
    std::fprintf(stderr, "%s: %s\n", std::string(ErrorCodeName(error.code())).c_str(), error.what());
    // The other ranks have the same to say.
    std::this_thread::sleep_for(400ms);
    world.Abort(42);
  }
  return 0;
}

}  // namespace
}  // namespace syncbn::comm

int main(int argc, char** argv) {
  return argc == 2 ? syncbn::comm::Main(argv[1]) : 2;
}
