#include "app/run/exchange_choice.h"

#include <algorithm>

#include "base/error.h"
#include "comm/nccl/nccl.h"

namespace syncbn::app {
namespace {

ExchangeChoice Nccl(std::chrono::nanoseconds timeout) {
  return {.make =
              [timeout](comm::Communicator& control, backend::MergeStream& merges) {
                return comm::MakeNcclExchange(control, merges, timeout);
              },
          .description = comm::NcclVersion(),
          .devices = {}};
}

ExchangeChoice Choose(const std::string& name, const backend::Backend& backend,
                      comm::Communicator& communicator, std::chrono::nanoseconds timeout) {
  const bool on_host = &backend.device() == &Device::Host();
  if (name != "auto" && name != "mpi" && name != "nccl") {
    throw Error(ErrorCode::kInvalidArgument,
                "there is no exchange '" + name + "'; expected auto, mpi or nccl");
  }
  if (name == "nccl" && on_host) {
    throw Error(ErrorCode::kInvalidArgument,
                "--exchange nccl moves tensors of GPUs, and the " + std::string(backend.name()) +
                    " back end has none: --backend cuda, or --exchange mpi");
  }
  if (communicator.size() == 1 || on_host) return {};
  const std::string staged = "messages over MPI, staged through the host";
  if (name == "mpi") return {.make = {}, .description = staged, .devices = {}};
  const std::string why_not = comm::WhyNotNccl(communicator, *backend.MakeMergeStream());
  if (why_not.empty()) return Nccl(timeout);
  if (name == "nccl") {
    throw Error(ErrorCode::kInvalidArgument, "--exchange nccl: " + why_not + "; --exchange mpi");
  }
  return {.make = {}, .description = staged + ": " + why_not, .devices = {}};
}

}  // namespace

ExchangeChoice ChooseExchange(const std::string& name, const backend::Backend& backend,
                              comm::Communicator& communicator, std::chrono::nanoseconds timeout) {
  ExchangeChoice choice = Choose(name, backend, communicator, timeout);
  if (&backend.device() != &Device::Host()) {
    choice.devices = communicator.AllGather(backend.device().name());
  }
  return choice;
}

std::vector<std::string> WhoHasWhat(const std::vector<std::string>& hosts,
                                    const std::vector<std::string>& devices) {
  std::vector<std::string> lines, seen;
  for (size_t rank = 0; rank < devices.size(); ++rank) {
    const auto host = std::ranges::find(seen, hosts[rank]);
    const std::string what = "rank " + std::to_string(rank) + " on " + devices[rank];
    if (host == seen.end()) {
      seen.push_back(hosts[rank]);
      lines.push_back(hosts[rank] + ": " + what);
    } else {
      lines[static_cast<size_t>(host - seen.begin())] += ", " + what;
    }
  }
  return lines;
}

}  // namespace syncbn::app
