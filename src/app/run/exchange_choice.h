// How the processes of a run exchange data, and what each of them computes on.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "comm/communicator.h"
#include "comm/reducer_options.h"

namespace syncbn::app {

// What `--exchange` may be, for its help.
inline constexpr const char* kExchangeHelp =
    "how processes exchange data: auto (nccl where each has a GPU of\nits own, else mpi), mpi, "
    "nccl; "
    "changes no result";

struct ExchangeChoice {
  // Empty: messages.
  comm::MakeExchange make = {};
  // "NCCL 2.28.3"; empty where nothing is exchanged, or over MPI between CPUs as always.
  std::string description;
  // By rank, "cuda:1"; empty where all compute on their host.
  std::vector<std::string> devices;
};

// By the name of one. Collective, and the same in all processes. `timeout`: for joining the others.
// Throws INVALID_ARGUMENT for another name, and for `nccl` where the back end computes on no GPU.
ExchangeChoice ChooseExchange(const std::string& name, const backend::Backend& backend,
                              comm::Communicator& communicator, std::chrono::nanoseconds timeout);

// A line for each host: "a: rank 0 on cuda:0, rank 1 on cuda:1". `hosts`: by rank.
std::vector<std::string> WhoHasWhat(const std::vector<std::string>& hosts,
                                    const std::vector<std::string>& devices);

}  // namespace syncbn::app
