#include "comm/message_plan.h"

#include <algorithm>

#include "comm/exchange_schedule.h"

namespace syncbn::comm {
namespace {

// Values travel whole.
std::vector<RoundTraffic> WholeTraffic(const ExchangeSchedule& schedule, int64_t bytes) {
  std::vector<RoundTraffic> rounds;
  for (const ExchangeSchedule::Round& round : schedule.rounds) {
    RoundTraffic& traffic = rounds.emplace_back();
    for (const ExchangeSchedule::Message& message : round.send) {
      const int64_t body = bytes * static_cast<int64_t>(message.values.size());
      ++traffic.messages_out;
      traffic.bytes_out += body;
      traffic.longest = std::max(traffic.longest, body);
    }
    for (const ExchangeSchedule::Message& message : round.receive) {
      const int64_t body = bytes * static_cast<int64_t>(message.values.size());
      ++traffic.messages_in;
      traffic.bytes_in += body;
      traffic.longest = std::max(traffic.longest, body);
    }
  }
  return rounds;
}

// Ranges: of all roots to their owners, then of the result to everybody.
std::vector<RoundTraffic> RangeTraffic(const GroupPlan& plan, const Content& content) {
  const std::vector<Range> ranges =
      CutIntoRanges(content, static_cast<int>(plan.participants.size()));
  const auto bytes_of = [&](size_t p) {
    return ranges[p].size() * static_cast<int64_t>(SizeOf(content.dtype));
  };
  const int64_t own = bytes_of(static_cast<size_t>(plan.self));
  RoundTraffic roots, results;
  for (size_t p = 0; p < plan.participants.size(); ++p) {
    if (static_cast<int>(p) == plan.self) continue;
    const int64_t theirs = bytes_of(p), longest = std::max(own, theirs);
    roots.messages_out += plan.own().subtrees;
    roots.bytes_out += plan.own().subtrees * theirs;
    roots.messages_in += plan.participants[p].subtrees;
    roots.bytes_in += plan.participants[p].subtrees * own;
    roots.longest = std::max(roots.longest, longest);
    ++results.messages_out;
    results.bytes_out += own;
    ++results.messages_in;
    results.bytes_in += theirs;
    results.longest = std::max(results.longest, longest);
  }
  return {roots, results};
}

}  // namespace

std::vector<RoundTraffic> TrafficOf(const GroupPlan& plan, const Content& content,
                                    const ReducerOptions& options) {
  const size_t participants = plan.participants.size();
  if (participants < 2) return {};
  if (!options.IsSmall(content.bytes())) return RangeTraffic(plan, content);
  return WholeTraffic(options.GoesDirectly(participants, /*on_device=*/false)
                          ? DirectSchedule(plan)
                          : RecursiveSchedule(plan),
                      static_cast<int64_t>(content.bytes()));
}

}  // namespace syncbn::comm
