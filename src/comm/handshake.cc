#include "comm/handshake.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/error.h"

namespace syncbn::comm {
namespace {

// Texts one after the other, each as "length:text".
void Append(std::string& to, std::string_view text) {
  to += std::to_string(text.size()) + ":";
  to += text;
}

std::string Take(std::string_view& from) {
  const size_t colon = from.find(':');
  if (colon == std::string_view::npos) {
    throw Error(ErrorCode::kInternal, "handshake: not the same program on all ranks");
  }
  const size_t size = std::stoul(std::string(from.substr(0, colon)));
  std::string text(from.substr(colon + 1, size));
  from.remove_prefix(std::min(from.size(), colon + 1 + size));
  return text;
}

// "rank 0 on a, rank 2 on b"; long lists are cut.
std::string DescribeRanks(const std::vector<int>& ranks, const std::vector<std::string>& hosts) {
  constexpr size_t kShown = 8;
  std::string text;
  for (size_t i = 0; i < ranks.size() && i < kShown; ++i) {
    text += (i == 0 ? "rank " : ", rank ") + std::to_string(ranks[i]) + " on " +
            hosts[static_cast<size_t>(ranks[i])];
  }
  if (ranks.size() > kShown) text += " and " + std::to_string(ranks.size() - kShown) + " more";
  return text;
}

}  // namespace

std::vector<std::string> Handshake(Communicator& communicator, std::string_view host,
                                   std::span<const Fact> facts) {
  std::string mine;
  Append(mine, host);
  for (const Fact& fact : facts) {
    Append(mine, fact.name);
    Append(mine, fact.value);
  }
  const std::vector<std::string> all = communicator.AllGather(mine);

  std::vector<std::string> hosts;
  std::vector<std::string> names;  // in the order in which they were first given
  std::map<std::string, std::map<int, std::string>> values;
  for (int rank = 0; rank < communicator.size(); ++rank) {
    std::string_view rest = all[static_cast<size_t>(rank)];
    hosts.push_back(Take(rest));
    while (!rest.empty()) {
      const std::string name = Take(rest);
      if (!values.contains(name)) names.push_back(name);
      values[name][rank] = Take(rest);
    }
  }
  std::string differences;
  for (const std::string& name : names) {
    std::map<std::string, std::vector<int>> ranks_of;
    for (int rank = 0; rank < communicator.size(); ++rank) {
      const auto found = values[name].find(rank);
      ranks_of[found == values[name].end() ? "not given" : "'" + found->second + "'"].push_back(rank);
    }
    if (ranks_of.size() == 1) continue;
    differences += "\n  " + name + ":";
    for (const auto& [value, ranks] : ranks_of) {
      differences += "\n    " + value + " on " + DescribeRanks(ranks, hosts);
    }
  }
  if (!differences.empty()) {
    throw Error(ErrorCode::kFailedPrecondition,
                "the processes of this run differ in what its results depend on:" + differences +
                    "\n  start the same program with the same run file and data on every host, on "
                    "processors "
                    "and GPUs of one kind");
  }
  return hosts;
}

}  // namespace syncbn::comm
