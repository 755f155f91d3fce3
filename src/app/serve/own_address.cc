#include "app/serve/own_address.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/host.h"
#include "base/text.h"
#include "base/untrusted_json.h"
#include "coordinator/service/address.h"

namespace syncbn::app {

namespace fs = std::filesystem;
using coordinator::IsLoopback;
using coordinator::SplitAddress;

bool HasPortZero(const std::string& address) {
  return address.ends_with(":0");
}

std::optional<std::string> FormerAddress(const fs::path& file, const std::string& wanted,
                                         const std::function<void(const std::string&)>& note) {
  std::error_code none;
  if (!fs::exists(file, none)) return std::nullopt;
  try {
    const auto json = UntrustedJsonOrNull(ReadFile(file));
    if (!json.is_object() || !json.contains("grpc") || !json["grpc"].is_string())
      throw Error(ErrorCode::kDataLoss, "it names no address");
    const std::string former = json["grpc"];
    const auto [host, port] = SplitAddress(former);
    if (port == 0) throw Error(ErrorCode::kDataLoss, "its port is 0");
    if (host != SplitAddress(wanted).first) return std::nullopt;
    return former;
  } catch (const std::exception& error) {
    note(file.string() +
         ", which says where the coordinator listened before, is passed over: " + error.what());
    return std::nullopt;
  }
}

std::string ReachableAddress(const std::string& address) {
  for (const char* any : {"0.0.0.0:", "[::]:"}) {
    if (address.starts_with(any)) return HostName() + ":" + address.substr(std::strlen(any));
  }
  return address;
}

std::optional<std::string> WhyUnheard(const std::vector<std::string>& listens,
                                      const std::string& told, const std::string& elsewhere) {
  if (elsewhere.empty()) return std::nullopt;
  const bool on_loopback = std::all_of(listens.begin(), listens.end(), IsLoopback);
  if (!on_loopback && !IsLoopback(told)) return std::nullopt;
  const std::string address =
      IsLoopback(told) ? told + ", an address of this machine alone"
                       : told + ", for it listens on " + Join(listens, ", ") +
                             " alone (unless something forwards to that)";
  return "workers on " + elsewhere + " cannot reach this coordinator at " + address +
         ": jobs there train unheard, without progress, metrics and pauses. Start it with --listen "
         "0.0.0.0:7700 --advertise NAME:7700 (NAME is this machine's, as the others know it), with "
         "--admin-token-file, and with --tls-cert, --tls-key and --worker-ca or, in a network that "
         "you trust, --allow-plaintext";
}

}  // namespace syncbn::app
