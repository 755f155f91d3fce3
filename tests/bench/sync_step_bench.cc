// What synchronizing costs: training steps of ResNet-20 with statistics of each replica, with statistics over
// all processes, and with the library's all-reduce instead of the tree, in turns in one run:
//   mpirun --bind-to none -np 2 build/bin/sync_step_bench [rounds]
// Prints one JSON object with ratios: median, smallest, largest over rounds.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "comm/mpi/mpi_session.h"
#include "tests/bench/step_fixture.h"

namespace {

using namespace syncbn;
using namespace syncbn::bench;

double TimeStep(StepFixture& fixture, comm::Communicator& world) {
  world.Barrier();
  const auto start = std::chrono::steady_clock::now();
  fixture.Step();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 40;
  if (argc > 2 || rounds < 1) {
    std::fprintf(stderr, "usage: %s [rounds], of which there must be one\n", argv[0]);
    return 2;
  }
  comm::MpiSession mpi;
  comm::Communicator& world = mpi.world();
  const int size = world.size(), rank = world.rank();
  const auto backend = backend::MakeCpuBackend();
  auto fixture = [&](bool synchronized, bool native) {
    return StepFixture({.architecture = "resnet20",
                        .replicas = size,
                        .synchronized = synchronized,
                        .native = native},
                       *backend, &world);
  };
  StepFixture local = fixture(false, false), sync = fixture(true, false),
              sync_native = fixture(true, true);
  for (int i = 0; i < 3; ++i) {
    local.Step();
    sync.Step();
    sync_native.Step();
  }
  // Every replica has the same batch: synchronized statistics are those of each replica.
  if (std::abs(local.loss() - sync.loss()) > 1e-3 || std::abs(sync.loss() - sync_native.loss()) > 1e-3) {
    std::fprintf(stderr, "losses differ: %g %g %g\n", local.loss(), sync.loss(), sync_native.loss());
    return 1;
  }
  std::vector<double> sync_over_local, tree_over_native, local_ms, sync_ms;
  for (int i = 0; i < rounds; ++i) {
    const double a = TimeStep(local, world), b = TimeStep(sync, world), c = TimeStep(sync_native, world);
    sync_over_local.push_back(b / a);
    tree_over_native.push_back(b / c);
    local_ms.push_back(1000 * a);
    sync_ms.push_back(1000 * b);
  }
  if (rank != 0) return 0;
  auto json = [](const std::vector<double>& values) {
    const Spread spread = SpreadOf(values);
    return nlohmann::json{{"median", spread.median}, {"min", spread.min}, {"max", spread.max}};
  };
  std::printf("%s\n", nlohmann::json{{"processes", size}, {"rounds", rounds},
                                     {"local_ms", json(local_ms)}, {"sync_ms", json(sync_ms)},
                                     {"sync_over_local", json(sync_over_local)},
                                     {"tree_over_native", json(tree_over_native)}}
                          .dump(2)
                          .c_str());
}
