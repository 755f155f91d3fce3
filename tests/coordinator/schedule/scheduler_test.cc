// Which jobs start, which wait, and what they are told.
#include "coordinator/schedule/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

namespace syncbn::coordinator {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::minutes;
using ::testing::ElementsAre;

const DurableTime kNow = DurableTime(hours(24 * 365 * 50));

HostCapacity Host(std::string name, int slots, int64_t memory = 0,
                  std::vector<std::string> tags = {}) {
  return {.name = std::move(name), .slots = slots, .memory_mib = memory, .tags = std::move(tags)};
}

SlotRequest Request(int64_t job, int processes, int threads = 1) {
  return {.job = job, .processes = processes, .threads = threads};
}

WaitingJob Waiting(SlotRequest request, std::optional<microseconds> limit = {}, int priority = 0) {
  return {.request = std::move(request), .priority = priority, .time_limit = limit};
}

RunningJob Running(SlotRequest request, Placement placement,
                   std::optional<microseconds> left = {}) {
  RunningJob job{.holding = {std::move(request), std::move(placement)}};
  if (left) job.ends_by = kNow + *left;
  return job;
}

std::vector<int64_t> Started(const Schedule& schedule) {
  std::vector<int64_t> jobs;
  for (const auto& start : schedule.starts) jobs.push_back(start.job);
  return jobs;
}

const PendingReason& ReasonOf(const Schedule& schedule, int64_t job) {
  for (const auto& wait : schedule.waits) {
    if (wait.job == job) return wait.reason;
  }
  throw std::runtime_error("job does not wait");
}

TEST(Placement, OneHostIsPreferredAndTheOneThatIsLeftFullest) {
  const std::vector<HostCapacity> hosts = {Host("a", 16), Host("b", 4), Host("c", 8)};
  const FreeCapacity free(hosts);
  EXPECT_THAT(*free.Find(Request(1, 4)), ElementsAre(Share{"b", 4}));
  EXPECT_THAT(*free.Find(Request(1, 3, 2)), ElementsAre(Share{"c", 3}));
  EXPECT_THAT(*free.Find(Request(1, 20)), ElementsAre(Share{"a", 16}, Share{"c", 4}))
      << "few hosts";
  EXPECT_THAT(*free.Find(Request(1, 28)),
              ElementsAre(Share{"a", 16}, Share{"c", 8}, Share{"b", 4}));
  EXPECT_FALSE(free.Find(Request(1, 29)).has_value());
}

TEST(Placement, AProcessIsNeverSplitOverHosts) {
  const std::vector<HostCapacity> hosts = {Host("a", 3), Host("b", 3)};
  const FreeCapacity free(hosts);
  EXPECT_THAT(*free.Find(Request(1, 2, 3)), ElementsAre(Share{"a", 1}, Share{"b", 1}));
  EXPECT_FALSE(free.Find(Request(1, 3, 2)).has_value()) << "six slots, but two of them are halves";
}

TEST(Placement, TagsHostsExclusionsMemoryAndProcessesPerHostAreKept) {
  std::vector<HostCapacity> hosts = {Host("a", 8, 1000, {"fast"}), Host("b", 8, 4000),
                                     Host("c", 8, 0, {"fast"})};
  const FreeCapacity free(hosts);
  SlotRequest request = Request(1, 8);
  request.tags = {"fast"};
  request.excluded_hosts = {"a"};
  EXPECT_THAT(*free.Find(request), ElementsAre(Share{"c", 8}));
  request = Request(1, 8);
  request.hosts = {"b"};
  EXPECT_THAT(*free.Find(request), ElementsAre(Share{"b", 8}));
  request.memory_mib = 501;
  EXPECT_FALSE(free.Find(request).has_value()) << "4000 MiB hold seven";
  request.hosts = {"c"};
  EXPECT_TRUE(free.Find(request).has_value()) << "memory is not counted there";
  request = Request(1, 6);
  request.max_per_host = 2;
  EXPECT_THAT(*free.Find(request), ElementsAre(Share{"a", 2}, Share{"b", 2}, Share{"c", 2}));
  hosts[1].unusable = "drained";
  EXPECT_FALSE(free.Find(request).has_value());
}

TEST(Placement, WhatCanNeverFitIsRefusedWithTheReason) {
  const std::vector<HostCapacity> hosts = {Host("node1", 4, 1000, {"fast"}),
                                           Host("node2", 4, 2000)};
  auto why = [&](auto change) {
    SlotRequest request = Request(1, 2);
    change(request);
    return WhyNeverFits(request, hosts).value_or("fits");
  };
  EXPECT_EQ(why([](auto&) {}), "fits");
  EXPECT_EQ(why([](auto& r) { r.processes = 3, r.threads = 4; }),
            "needs 12 slots (3 processes x 4 threads); the hosts it could use together have 8 "
            "(node1: 4, node2: 4)");
  EXPECT_EQ(why([](auto& r) { r.processes = 5, r.tags = {"fast"}; }),
            "needs 5 slots (5 processes x 1 thread); the only host it could use has 4 (node1: 4)");
  EXPECT_EQ(why([](auto& r) { r.processes = 1, r.threads = 6; }),
            "a process needs 6 slots; the largest host has 4 (node1: 4, node2: 4)");
  EXPECT_EQ(why([](auto& r) { r.memory_mib = 2001; }),
            "a process needs 2001 MiB of memory; the largest host has 2000 MiB");
  EXPECT_EQ(why([](auto& r) { r.processes = 4, r.memory_mib = 900; }),
            "only 3 of 4 processes fit on the hosts it could use, empty (node1: 1, node2: 2)");
  EXPECT_EQ(why([](auto& r) { r.hosts = {"nod1"}; }),
            "there is no host 'nod1'; did you mean 'node1'?");
  EXPECT_EQ(why([](auto& r) { r.hosts = {"x"}; }),
            "there is no host 'x'; there are node1 or node2");
  EXPECT_EQ(why([](auto& r) { r.tags = {"gpu"}; }), "no host has the tag 'gpu'");
  EXPECT_EQ(why([](auto& r) { r.hosts = {"node2"}, r.tags = {"fast"}; }),
            "no host has all that is asked of hosts (tags, hosts, excluded hosts)");
}

TEST(Placement, AHostThatIsOutOfUseNowIsNoReasonToRefuse) {
  std::vector<HostCapacity> hosts = {Host("a", 4)};
  hosts[0].unusable = "drained";
  EXPECT_FALSE(WhyNeverFits(Request(1, 4), hosts).has_value());
}

TEST(Scheduler, HigherPriorityFirstThenFirstComeFirstServed) {
  const Schedule schedule = MakeSchedule({Host("a", 3)}, {},
                                         {Waiting(Request(1, 1)), Waiting(Request(3, 1), {}, 5),
                                          Waiting(Request(2, 1), {}, 5), Waiting(Request(4, 1))},
                                         {}, kNow);
  EXPECT_THAT(Started(schedule), ElementsAre(2, 3, 1));
  EXPECT_EQ(ReasonOf(schedule, 4).position, 1);
}

TEST(Scheduler, ReasonsHaveNumbersAndNames) {
  const std::vector<HostCapacity> hosts = {Host("a", 8)};
  const Schedule schedule = MakeSchedule(hosts, {Running(Request(17, 5), {{"a", 5}})},
                                         {Waiting(Request(20, 8))}, {}, kNow);
  const PendingReason& reason = ReasonOf(schedule, 20);
  EXPECT_EQ(reason.code, PendingCode::kSlots);
  EXPECT_EQ(reason.message, "needs 8 slots, 3 free, 5 held by jobs/17");
  EXPECT_EQ(reason.needed_slots, 8);
  EXPECT_EQ(reason.free_slots, 3);
  EXPECT_THAT(reason.blocking_jobs, ElementsAre(17));
  EXPECT_FALSE(reason.latest_start.has_value()) << "jobs/17 has no time limit";
}

TEST(Scheduler, ManyHoldersAreSummedUp) {
  std::vector<RunningJob> running;
  for (int job = 1; job <= 6; ++job) running.push_back(Running(Request(job, job), {{"a", job}}));
  const Schedule schedule =
      MakeSchedule({Host("a", 22)}, running, {Waiting(Request(9, 4))}, {}, kNow);
  EXPECT_EQ(
      ReasonOf(schedule, 9).message,
      "needs 4 slots, 1 free, 6 held by jobs/6, 5 by jobs/5, 4 by jobs/4 and 6 by 3 more jobs");
}

TEST(Scheduler, FragmentsAndMemoryAreToldApartFromTooFewSlots) {
  const std::vector<HostCapacity> hosts = {Host("a", 4, 1000), Host("b", 4, 1000)};
  const std::vector<RunningJob> running = {Running(Request(1, 2), {{"a", 1}, {"b", 1}})};
  EXPECT_EQ(
      ReasonOf(MakeSchedule(hosts, running, {Waiting(Request(2, 1, 4))}, {}, kNow), 2).message,
      "needs 4 slots, 6 free, but at most 3 on one host, and a process takes 4, 2 held by jobs/1");
  SlotRequest hungry = Request(1, 1);
  hungry.memory_mib = 700;
  SlotRequest next = Request(2, 2);
  next.memory_mib = 900;
  const PendingReason reason =
      ReasonOf(MakeSchedule(hosts, {Running(hungry, {{"a", 1}})}, {Waiting(next)}, {}, kNow), 2);
  EXPECT_EQ(reason.code, PendingCode::kMemory);
  EXPECT_EQ(reason.message,
            "needs 2 slots, 7 free, but not the memory: 900 MiB for each of 2 processes, at most "
            "1000 MiB free on one host, 1 held by jobs/1");
  SlotRequest spread = Request(3, 2);
  spread.max_per_host = 1;
  EXPECT_EQ(
      ReasonOf(
          MakeSchedule(hosts, {Running(Request(1, 4), {{"a", 4}})}, {Waiting(spread)}, {}, kNow), 3)
          .message,
      "needs 2 slots, 4 free, but not enough of them on different hosts (at most 1 process on "
      "one), 4 held by jobs/1");
}

TEST(Scheduler, ASmallJobFillsAGapOnlyIfItHasEndedInTime) {
  const std::vector<HostCapacity> hosts = {Host("a", 8)};
  const std::vector<RunningJob> running = {Running(Request(1, 6), {{"a", 6}}, minutes(60))};
  // jobs/2 is first in line; the others would fit into the two slots that are free.
  const Schedule schedule =
      MakeSchedule(hosts, running,
                   {Waiting(Request(2, 8)), Waiting(Request(3, 1)),
                    Waiting(Request(4, 1), minutes(57)), Waiting(Request(5, 1), minutes(56))},
                   {}, kNow);
  EXPECT_THAT(Started(schedule), ElementsAre(5));
  EXPECT_EQ(ReasonOf(schedule, 2).latest_start, kNow + minutes(60));
  EXPECT_EQ(ReasonOf(schedule, 3).code, PendingCode::kBehind);
  EXPECT_EQ(ReasonOf(schedule, 3).message,
            "needs 1 slot, 2 free, but would delay jobs/2, which is first in line and needs 8; a "
            "time limit of at most 56 min would let it pass");
  EXPECT_THAT(ReasonOf(schedule, 3).blocking_jobs, ElementsAre(2));
  EXPECT_EQ(ReasonOf(schedule, 4).position, 3);
}

TEST(Scheduler, AJobThatFitsBesideTheReservationMayRunForEver) {
  const std::vector<HostCapacity> hosts = {Host("a", 8)};
  const std::vector<RunningJob> running = {Running(Request(1, 5), {{"a", 5}}, minutes(60))};
  // When jobs/1 has ended jobs/2 takes 6 of 8: two are left for others, not three.
  const Schedule schedule = MakeSchedule(
      hosts, running, {Waiting(Request(2, 6)), Waiting(Request(3, 2)), Waiting(Request(4, 1))}, {},
      kNow);
  EXPECT_THAT(Started(schedule), ElementsAre(3));
  EXPECT_EQ(ReasonOf(schedule, 4).code, PendingCode::kBehind);
}

TEST(Scheduler, WhereAJobWithoutATimeLimitIsInTheWayNothingPassesOnTheSameHosts) {
  const std::vector<HostCapacity> hosts = {Host("a", 8), Host("b", 4)};
  const std::vector<RunningJob> running = {Running(Request(1, 6), {{"a", 6}})};
  SlotRequest first = Request(2, 8);
  first.hosts = {"a"};
  const Schedule schedule = MakeSchedule(
      hosts, running, {Waiting(first), Waiting(Request(3, 1), minutes(1)), Waiting(Request(4, 3))},
      {}, kNow);
  EXPECT_THAT(Started(schedule), ElementsAre(3, 4));
  for (const auto& start : schedule.starts) EXPECT_EQ(start.placement.at(0).host, "b");
  EXPECT_FALSE(ReasonOf(schedule, 2).latest_start.has_value());
}

TEST(Scheduler, AFullerHostIsLeftForTheReservationWhenAnotherIsFree) {
  // The best fit for jobs/3 would be the two slots on a, which are kept; b has room as well.
  const std::vector<HostCapacity> hosts = {Host("a", 8), Host("b", 12)};
  const std::vector<RunningJob> running = {Running(Request(1, 6), {{"a", 6}}, minutes(60)),
                                           Running(Request(9, 9), {{"b", 9}}, hours(9))};
  SlotRequest first = Request(2, 8);
  first.hosts = {"a"};
  const Schedule schedule =
      MakeSchedule(hosts, running, {Waiting(first), Waiting(Request(3, 2))}, {}, kNow);
  ASSERT_THAT(Started(schedule), ElementsAre(3));
  EXPECT_THAT(schedule.starts[0].placement, ElementsAre(Share{"b", 2}));
}

TEST(Scheduler, AJobThatIsPastItsTimeHoldsTheReservationOpen) {
  const std::vector<RunningJob> running = {Running(Request(1, 6), {{"a", 6}}, -minutes(10))};
  const Schedule schedule =
      MakeSchedule({Host("a", 8)}, running,
                   {Waiting(Request(2, 8)), Waiting(Request(3, 1), minutes(1))}, {}, kNow);
  EXPECT_TRUE(schedule.starts.empty());
}

TEST(Scheduler, AJobWhoseHostsAreOutOfUseHoldsUpNobody) {
  std::vector<HostCapacity> hosts = {Host("a", 8), Host("b", 4)};
  hosts[0].unusable = "drained: disk swap";
  const Schedule schedule =
      MakeSchedule(hosts, {}, {Waiting(Request(1, 6)), Waiting(Request(2, 4))}, {}, kNow);
  EXPECT_THAT(Started(schedule), ElementsAre(2));
  EXPECT_EQ(ReasonOf(schedule, 1).code, PendingCode::kHosts);
  EXPECT_EQ(ReasonOf(schedule, 1).message,
            "needs 6 slots, and hosts it could use are out of use: a (drained: disk swap)");
  EXPECT_EQ(
      ReasonOf(MakeSchedule({Host("b", 4)}, {}, {Waiting(Request(1, 6))}, {}, kNow), 1).message,
      "can no longer be placed: needs 6 slots (6 processes x 1 thread); the only host it could use "
      "has 4 (b: 4)");
}

TEST(Scheduler, AHeldQueueStartsNothingAndSaysWhy) {
  const Schedule schedule = MakeSchedule({Host("a", 8)}, {}, {Waiting(Request(1, 1))},
                                         {.held = "maintenance at noon"}, kNow);
  EXPECT_TRUE(schedule.starts.empty());
  EXPECT_EQ(ReasonOf(schedule, 1).message, "the queue is held: maintenance at noon");
}

// A cluster with random jobs that end when they like within their limits.
class Simulation {
 public:
  explicit Simulation(unsigned seed) : random_(seed) {
    const int count = 1 + Draw(4);
    for (int i = 0; i < count; ++i) {
      hosts_.push_back(
          Host("h" + std::to_string(i), 1 + Draw(8), Draw(2) * 1000,
               Draw(2) ? std::vector<std::string>{"fast"} : std::vector<std::string>{}));
    }
  }

  void Run() {
    int64_t next_job = 1;
    for (int step = 0; step < 400; ++step) {
      const int arrivals = step < 200 ? Draw(3) : 0;
      for (int i = 0; i < arrivals; ++i) {
        WaitingJob job = Waiting(Request(next_job, 1 + Draw(6), 1 + Draw(3)), {}, 0);
        if (Draw(3) == 0) job.request.tags = {"fast"};
        if (Draw(3) == 0) job.request.memory_mib = 100 + Draw(500);
        if (Draw(4) == 0) job.request.max_per_host = 1 + Draw(3);
        if (Draw(3) > 0) job.time_limit = minutes(1 + Draw(60));
        if (WhyNeverFits(job.request, hosts_)) continue;
        waiting_.push_back(job);
        ++next_job;
      }
      Plan();
      if (::testing::Test::HasFailure()) return;
      now_ += minutes(1 + Draw(10));
      std::erase_if(running_, [&](const Live& live) { return live.ends <= now_; });
    }
    EXPECT_TRUE(waiting_.empty()) << "every job runs in the end";
  }

  static int passed_;  // jobs that passed one before them

 private:
  struct Live {
    RunningJob job;
    DurableTime ends;
  };

  int Draw(int bound) { return static_cast<int>(random_() % static_cast<unsigned>(bound)); }

  void Plan() {
    std::vector<RunningJob> running;
    for (const Live& live : running_) running.push_back(live.job);
    const SchedulerPolicy policy;
    const Schedule schedule = MakeSchedule(hosts_, running, waiting_, policy, now_);
    std::set<int64_t> started;
    for (const auto& start : schedule.starts) {
      const auto found = std::find_if(waiting_.begin(), waiting_.end(), [&](const WaitingJob& one) {
        return one.request.job == start.job;
      });
      ASSERT_NE(found, waiting_.end());
      int processes = 0;
      for (const Share& share : start.placement) processes += share.processes;
      ASSERT_EQ(processes, found->request.processes) << "all or nothing";
      if (std::any_of(waiting_.begin(), found,
                      [&](const WaitingJob& one) { return !started.count(one.request.job); }))
        ++passed_;
      started.insert(start.job);
      Live live{.job = {.holding = {found->request, start.placement}}};
      // A job without a limit runs for up to two hours, and nobody knows.
      const microseconds most = found->time_limit.value_or(minutes(120));
      live.ends = now_ + microseconds(random_() % static_cast<uint64_t>(most.count()));
      if (found->time_limit) live.job.ends_by = now_ + *found->time_limit + policy.ending_margin;
      running_.push_back(live);
    }
    std::erase_if(waiting_,
                  [&](const WaitingJob& one) { return started.count(one.request.job) > 0; });
    CheckCapacity();
    ASSERT_EQ(schedule.waits.size(), waiting_.size());
    if (schedule.waits.empty()) return;
    // The promise: as long as a job is first in line its latest start never moves back.
    const int64_t first = schedule.waits[0].job;
    const std::optional<DurableTime> latest = schedule.waits[0].reason.latest_start;
    if (promised_.count(first)) {
      ASSERT_TRUE(latest.has_value()) << "the promise to jobs/" << first << " was taken back";
      ASSERT_LE(*latest, promised_[first]);
      ASSERT_LT(now_, promised_[first]) << "jobs/" << first << " should have started";
    }
    if (latest) promised_[first] = *latest;
  }

  void CheckCapacity() {
    std::map<std::string, std::pair<int, int64_t>> used;
    for (const Live& live : running_) {
      const SlotRequest& request = live.job.holding.request;
      for (const Share& share : live.job.holding.placement) {
        used[share.host].first += share.processes * request.threads;
        used[share.host].second += share.processes * request.memory_mib;
        if (request.max_per_host > 0) {
          ASSERT_LE(share.processes, request.max_per_host);
        }
      }
    }
    for (const HostCapacity& host : hosts_) {
      ASSERT_LE(used[host.name].first, host.slots);
      if (host.memory_mib > 0) {
        ASSERT_LE(used[host.name].second, host.memory_mib);
      }
    }
  }

  std::mt19937 random_;
  std::vector<HostCapacity> hosts_;
  std::vector<WaitingJob> waiting_;
  std::vector<Live> running_;
  std::map<int64_t, DurableTime> promised_;
  DurableTime now_ = kNow;
};

int Simulation::passed_ = 0;

TEST(Scheduler, InRandomHistoriesThePromiseToTheFirstInLineIsNeverTakenBack) {
  for (unsigned seed = 0; seed < 30; ++seed) {
    SCOPED_TRACE(seed);
    Simulation(seed).Run();
    if (HasFailure()) return;
  }
  EXPECT_GT(Simulation::passed_, 100) << "hardly a job filled a gap: the test shows little";
  std::printf("%d jobs passed another\n", Simulation::passed_);
}

}  // namespace
}  // namespace syncbn::coordinator
