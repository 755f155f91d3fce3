#include "comm/exchange_schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <functional>
#include <string>

namespace syncbn::comm {
namespace {

// The tree by its definition.
std::string Expression(int lo, int hi) {
  if (hi - lo == 1) return std::to_string(lo);
  const int mid = lo + static_cast<int>(std::bit_ceil(static_cast<unsigned>(hi - lo))) / 2;
  return "(" + Expression(lo, mid) + "+" + Expression(mid, hi) + ")";
}

// One process in the middle of its schedule, with expressions in the place of numbers.
struct Process {
  GroupPlan plan;
  ExchangeSchedule schedule;
  std::vector<std::string> values;
};

using MakeSchedule = std::function<ExchangeSchedule(const GroupPlan&)>;

std::vector<Process> ProcessesOf(const ReplicaMap& map, Group group, const MakeSchedule& make) {
  std::vector<Process> processes;
  for (int rank = map.ProcessOf(group.begin); rank <= map.ProcessOf(group.end - 1); ++rank) {
    Process process{.plan = MakeGroupPlan(map, group, rank)};
    process.schedule = make(process.plan);
    process.values.resize(static_cast<size_t>(process.schedule.values));
    const GroupPlan::Participant& own = process.plan.own();
    for (int i = 0; i < own.subtrees; ++i) {
      const Subtree node = process.plan.subtrees[static_cast<size_t>(own.first_subtree + i)];
      process.values[static_cast<size_t>(process.schedule.first_own + i)] =
          Expression(node.begin, node.end);
    }
    processes.push_back(std::move(process));
  }
  return processes;
}

// Follows the schedules round by round: what one receives, its peer must send in that round.
void Follow(std::vector<Process>& processes) {
  const size_t rounds = processes.front().schedule.rounds.size();
  for (size_t k = 0; k < rounds; ++k) {
    const std::vector<Process> before = processes;
    for (size_t self = 0; self < processes.size(); ++self) {
      Process& process = processes[self];
      ASSERT_EQ(process.schedule.rounds.size(), rounds);
      const ExchangeSchedule::Round& round = process.schedule.rounds[k];
      for (const ExchangeSchedule::Message& in : round.receive) {
        const Process& peer = before[static_cast<size_t>(in.peer)];
        const ExchangeSchedule::Message* out = nullptr;
        for (const auto& sent : peer.schedule.rounds[k].send) {
          if (sent.peer == static_cast<int>(self)) out = &sent;
        }
        ASSERT_NE(out, nullptr) << "process " << in.peer << " sends nothing to " << self;
        ASSERT_EQ(in.values.size(), out->values.size());
        for (size_t i = 0; i < in.values.size(); ++i) {
          process.values[static_cast<size_t>(in.values[i])] =
              peer.values[static_cast<size_t>(out->values[i])];
        }
      }
      for (const MergeStep& step : round.steps) {
        std::string& into = process.values[static_cast<size_t>(step.into)];
        into = "(" + into + "+" + process.values[static_cast<size_t>(step.from)] + ")";
      }
    }
  }
}

void ExpectTheRootEverywhere(const ReplicaMap& map, Group group, const MakeSchedule& make) {
  std::vector<Process> processes = ProcessesOf(map, group, make);
  if (processes.size() == 1) return;
  Follow(processes);
  const std::string wanted = Expression(0, group.size());
  for (const Process& process : processes) {
    ASSERT_EQ(process.values[static_cast<size_t>(process.schedule.root)], wanted)
        << map.replicas() << " replicas, " << map.processes() << " processes, rank "
        << process.plan.own().rank;
  }
}

TEST(ExchangeSchedule, EveryProcessEndsWithTheCanonicalTreeWhateverTheWay) {
  for (int replicas = 2; replicas <= 20; ++replicas) {
    for (int processes = 2; processes <= replicas; ++processes) {
      const ReplicaMap map(replicas, processes);
      for (const MakeSchedule& make : {MakeSchedule(DirectSchedule), MakeSchedule(RecursiveSchedule)}) {
        ExpectTheRootEverywhere(map, {0, replicas}, make);
        ExpectTheRootEverywhere(map, {replicas / 3, replicas}, make);
      }
    }
  }
}

TEST(ExchangeSchedule, ARecursiveExchangeTakesTheLogarithmInMessagesOfFewValues) {
  for (int processes = 2; processes <= 64; ++processes) {
    for (const int replicas : {processes, processes + processes / 3, 2 * processes, 4 * processes + 3, 256}) {
      const ReplicaMap map(replicas, processes);
      for (int rank = 0; rank < processes; ++rank) {
        const GroupPlan plan = MakeGroupPlan(map, {0, replicas}, rank);
        const ExchangeSchedule schedule = RecursiveSchedule(plan);
        size_t messages = 0, values = 0;
        for (const ExchangeSchedule::Round& round : schedule.rounds) {
          messages += round.send.size();
          for (const auto& message : round.send) {
            values += message.values.size();
            EXPECT_LE(message.values.size(),
                      2u * static_cast<size_t>(std::bit_width(static_cast<unsigned>(replicas))));
          }
        }
        const auto rounds = static_cast<size_t>(std::bit_width(static_cast<unsigned>(processes - 1)));
        EXPECT_EQ(messages, rounds);
        if (std::has_single_bit(static_cast<unsigned>(processes)) &&
            std::has_single_bit(static_cast<unsigned>(replicas))) {
          EXPECT_EQ(values, rounds);  // one in each
        }
      }
    }
  }
}

TEST(ExchangeSchedule, EveryContributionIsHeardOfInSomeRound) {
  for (int processes = 2; processes <= 17; ++processes) {
    const ReplicaMap map(processes, processes);
    for (int rank = 0; rank < processes; ++rank) {
      const GroupPlan plan = MakeGroupPlan(map, {0, processes}, rank);
      for (const ExchangeSchedule& schedule : {DirectSchedule(plan), RecursiveSchedule(plan)}) {
        std::vector<char> heard(static_cast<size_t>(processes));
        heard[static_cast<size_t>(rank)] = 1;
        for (const ExchangeSchedule::Round& round : schedule.rounds) {
          for (const auto& in : round.receive) {
            for (int i = 0; i < in.count; ++i) {
              heard[static_cast<size_t>((in.first + i) % processes)] = 1;
            }
          }
        }
        EXPECT_EQ(std::count(heard.begin(), heard.end(), 1), processes);
      }
    }
  }
}

}  // namespace
}  // namespace syncbn::comm
