#include "report/reporter.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <future>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "report/spool_reader.h"
#include "tests/report/fake_coordinator.h"
#include "tests/support/full_disk.h"
#include "tests/support/temp_folder.h"

namespace syncbn::report {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

class ReporterTest : public testing::Test {
 protected:
  ReporterTest() {
    coordinator.Start();
    options.settings = {.coordinator = coordinator.address(),
                        .attempt = "jobs/17/attempts/2",
                        .rank = 1,
                        .processes = 2,
                        .token = "secret",
                        .spool = folder.path() / "spool",
                        .host = "here",
                        .version = "1.2.3",
                        .first_backoff = milliseconds(20),
                        .last_backoff = milliseconds(200)};
    options.on_order = [this](Order order, const std::string& reason) {
      std::lock_guard lock(mutex);
      orders.push_back(order);
    };
    options.on_warning = [this](const std::string& warning) {
      std::lock_guard lock(mutex);
      warnings += warning + "\n";
    };
  }

  // Adds points that nothing else has: value = sequence.
  void Add(Reporter& reporter, int count) {
    for (int i = 0; i < count; ++i) {
      ++added;
      const Point point{.name = added % 3 ? "train/loss" : "train/accuracy",
                        .step = added,
                        .value = static_cast<double>(added),
                        .time_us = added};
      reporter.Add({&point, 1});
    }
  }
  bool Arrives(int64_t sequence) {
    return coordinator.WaitFor(1, [&](const auto& rank) { return rank.acknowledged >= sequence; });
  }
  // Every added point is there once, but for `missing`.
  void ExpectAll(int64_t missing = 0) {
    const FakeCoordinator::Rank rank = coordinator.rank(1);
    EXPECT_EQ(rank.acknowledged, added);
    EXPECT_EQ(static_cast<int64_t>(rank.points.size()), added - missing);
    EXPECT_EQ(rank.lost, missing);
    for (const auto& [sequence, point] : rank.points) {
      ASSERT_EQ(point.value, static_cast<double>(sequence));
      ASSERT_EQ(point.name, sequence % 3 ? "train/loss" : "train/accuracy");
    }
  }
  static v1::RankExit Completed() {
    v1::RankExit exit;
    exit.set_outcome(v1::ATTEMPT_OUTCOME_COMPLETED);
    exit.set_digest("abc");
    return exit;
  }

  TempFolder folder;
  FakeCoordinator coordinator;
  Reporter::Options options;
  std::mutex mutex;
  std::vector<Order> orders;
  std::string warnings;
  int64_t added = 0;
};

TEST_F(ReporterTest, RegistersBeatsSendsPointsAndLeavesWithNothingLeftOnDisk) {
  options.status = [] {
    return RankStatus{.phase = "train", .step = 7, .epoch = 0.5, .reduction = 40,
                      .reduction_name = "bn1 forward", .progress = 99, .checkpoint_step = 5};
  };
  Reporter reporter(options);
  reporter.SetPlan(100, 5);
  Add(reporter, 50);
  ASSERT_TRUE(Arrives(50));
  ASSERT_TRUE(coordinator.WaitFor(1, [](const auto& rank) {
    return rank.heartbeats >= 2 && rank.registered.total_steps() == 100;
  }));
  const Delivery delivery = reporter.Finish(Completed(), seconds(20));
  EXPECT_TRUE(delivery.exit_delivered);
  EXPECT_EQ(delivery.points_left, 0);
  ExpectAll();
  const FakeCoordinator::Rank rank = coordinator.rank(1);
  EXPECT_EQ(rank.authorization, "Bearer secret");
  EXPECT_EQ(rank.registered.rank().attempt(), "jobs/17/attempts/2");
  EXPECT_EQ(rank.registered.processes(), 2);
  EXPECT_EQ(rank.registered.host(), "here");
  EXPECT_EQ(rank.registered.first_step(), 5);
  const v1::HeartbeatRequest& beat = rank.beats.back();
  EXPECT_EQ(beat.phase(), "train");
  EXPECT_EQ(beat.step(), 7);
  EXPECT_EQ(beat.reduction(), 40);
  EXPECT_EQ(beat.reduction_name(), "bn1 forward");
  EXPECT_EQ(beat.checkpoint_step(), 5);
  ASSERT_EQ(rank.exits.size(), 1u);
  EXPECT_EQ(rank.exits[0].digest(), "abc");
  EXPECT_EQ(rank.exits[0].host(), "here");
  EXPECT_EQ(rank.exits[0].total_steps(), 100);
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "spool"));
  EXPECT_EQ(warnings, "");
}

TEST_F(ReporterTest, ACoordinatorThatComesBackHearsEverythingOnce) {
  coordinator.Kill();
  Reporter reporter(options);
  Add(reporter, 3000);
  ASSERT_TRUE(reporter.Flush(seconds(20)));
  EXPECT_EQ(coordinator.rank(1).registrations, 0);
  coordinator.Start();
  ASSERT_TRUE(Arrives(3000));
  EXPECT_TRUE(reporter.Finish(Completed(), seconds(20)).exit_delivered);
  ExpectAll();
}

TEST_F(ReporterTest, AServerKilledAgainAndAgainLosesAndDoublesNothing) {
  Reporter reporter(options);
  for (int i = 0; i < 5; ++i) {
    coordinator.cut_after = i;
    Add(reporter, 200);
    ASSERT_TRUE(Arrives(added - 150)) << "round " << i;
    coordinator.Kill();
    Add(reporter, 200);
    const int registrations = coordinator.rank(1).registrations;
    coordinator.Start();
    ASSERT_TRUE(coordinator.WaitFor(
        1, [&](const auto& rank) { return rank.registrations > registrations; }));
  }
  EXPECT_TRUE(reporter.Finish(Completed(), seconds(20)).exit_delivered);
  ExpectAll();
  // Each new server hears of the rank again.
  EXPECT_GE(coordinator.rank(1).registrations, 4);
}

TEST_F(ReporterTest, RegistersAgainWithACoordinatorThatHasForgottenItAndWasNotSeenToRestart) {
  Reporter reporter(options);
  ASSERT_TRUE(coordinator.WaitFor(1, [](const auto& rank) { return rank.heartbeats > 0; }));
  const int registrations = coordinator.rank(1).registrations;
  coordinator.ForgetRegistrations();
  EXPECT_TRUE(coordinator.WaitFor(
      1, [&](const auto& rank) { return rank.registrations > registrations; }, 5));
  EXPECT_TRUE(reporter.Finish(Completed(), seconds(20)).exit_delivered);
}

TEST_F(ReporterTest, RepeatedAcknowledgementsDoNotDisturb) {
  coordinator.answers_per_batch = 3;
  Reporter reporter(options);
  for (int i = 0; i < 20; ++i) {
    Add(reporter, 10);
    ASSERT_TRUE(Arrives(added));
  }
  EXPECT_TRUE(reporter.Finish(Completed(), seconds(20)).exit_delivered);
  ExpectAll();
}

TEST_F(ReporterTest, AfterAClaimedGapItSendsAgain) {
  coordinator.gaps_to_claim = 3;
  Reporter reporter(options);
  Add(reporter, 100);
  ASSERT_TRUE(Arrives(100));
  ExpectAll();
  std::lock_guard lock(mutex);
  EXPECT_NE(warnings.find("the coordinator does not take metrics: FAILED_PRECONDITION"),
            std::string::npos)
      << warnings;
}

TEST_F(ReporterTest, AStoreThatWasRestoredGetsTheRestAndIsToldWhatIsGone) {
  Reporter reporter(options);
  Add(reporter, 100);
  ASSERT_TRUE(Arrives(100));
  coordinator.Kill();
  coordinator.Restore(1, 60);
  coordinator.Start();
  Add(reporter, 10);
  ASSERT_TRUE(Arrives(110));
  EXPECT_TRUE(reporter.Finish(Completed(), seconds(20)).exit_delivered);
  const FakeCoordinator::Rank rank = coordinator.rank(1);
  EXPECT_EQ(static_cast<int64_t>(rank.points.size()) + rank.lost, 110);
  EXPECT_EQ(rank.points.rbegin()->first, 110);
}

TEST_F(ReporterTest, ASupersededAttemptIsToldToLeave) {
  Reporter reporter(options);
  Add(reporter, 1);
  ASSERT_TRUE(Arrives(1));
  coordinator.superseded = true;
  const Delivery delivery = reporter.Finish(Completed(), seconds(20));
  EXPECT_FALSE(delivery.exit_delivered);
  EXPECT_TRUE(delivery.exit_spooled);
  std::lock_guard lock(mutex);
  EXPECT_EQ(orders, std::vector<Order>{Order::kLeave});
}

TEST_F(ReporterTest, OneThatMustLeaveHasSaidSoInItsSpool) {
  coordinator.desired = v1::Job::KILL;
  std::optional<v1::RankExit> exit;
  std::promise<void> told;
  options.on_order = [&](Order, const std::string&) {
    exit = SpoolReader(folder.path() / "spool", 1).ReadExit();
    told.set_value();
  };
  Reporter reporter(options);
  ASSERT_EQ(told.get_future().wait_for(seconds(20)), std::future_status::ready);
  ASSERT_TRUE(exit);
  EXPECT_EQ(exit->outcome(), v1::ATTEMPT_OUTCOME_STOPPED);
  EXPECT_EQ(exit->message(),
            "left at once, without a checkpoint: the coordinator asked for KILL");
}

TEST_F(ReporterTest, OrdersOnlyGetMoreSevereAndAreGivenOnce) {
  Reporter reporter(options);
  for (const auto state : {v1::Job::PAUSE, v1::Job::CANCEL, v1::Job::RUN, v1::Job::KILL}) {
    coordinator.desired = state;
    const int beats = coordinator.rank(1).heartbeats;
    ASSERT_TRUE(coordinator.WaitFor(1, [&](const auto& r) { return r.heartbeats > beats + 2; }));
  }
  std::lock_guard lock(mutex);
  EXPECT_EQ(orders, (std::vector<Order>{Order::kStop, Order::kLeave}));
}

TEST_F(ReporterTest, ASlowOrAbsentCoordinatorNeverSlowsAdd) {
  coordinator.silent = true;
  Reporter reporter(options);
  std::vector<Point> points(10, {.name = "train/loss"});
  const auto start = steady_clock::now();
  for (int i = 0; i < 2000; ++i) reporter.Add(points);
  // Some 5 ms. Nobody answers at all: a wait for that would end with the time of a call at the soonest.
  EXPECT_LT(steady_clock::now() - start, options.settings.call_time / 2);
  coordinator.silent = false;
}

TEST_F(ReporterTest, PointsOfManyThreadsArriveOnceEach) {
  Reporter reporter(options);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i) {
        const Point point{.name = "t" + std::to_string(t), .step = i, .value = 1.0 * i};
        reporter.Add({&point, 1});
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(reporter.Finish(Completed(), seconds(20)).exit_delivered);
  std::map<std::string, std::vector<int64_t>> steps;
  for (const auto& [sequence, point] : coordinator.rank(1).points) {
    steps[point.name].push_back(point.step);
  }
  ASSERT_EQ(steps.size(), 4u);
  for (const auto& [name, list] : steps) {
    ASSERT_EQ(list.size(), 500u) << name;
    for (int64_t i = 0; i < 500; ++i) EXPECT_EQ(list[static_cast<size_t>(i)], i);
  }
}

TEST_F(ReporterTest, WithoutACoordinatorFinishEndsInTimeAndTheSpoolHoldsEverything) {
  coordinator.Kill();
  {
    Reporter reporter(options);
    Add(reporter, 40);
    const auto start = steady_clock::now();
    const Delivery delivery = reporter.Finish(Completed(), milliseconds(700));
    EXPECT_LT(steady_clock::now() - start, seconds(10));
    EXPECT_FALSE(delivery.exit_delivered);
    EXPECT_TRUE(delivery.exit_spooled);
    EXPECT_EQ(delivery.points_left, 40);
  }
  SpoolReader reader(folder.path() / "spool", 1);
  int64_t points = 0;
  reader.ReadBatches([&](const v1::MetricBatch& batch) { points += batch.value_size(); });
  EXPECT_EQ(points, 40);
  EXPECT_EQ(reader.ReadExit()->digest(), "abc");
}

TEST_F(ReporterTest, OnAFullDiskNothingIsLostWhileTheCoordinatorAnswers) {
  const auto mount = folder.path() / "small";
  std::filesystem::create_directory(mount);
  const SmallDisk disk(mount, 72);  // the room for the exit report, and a little
  if (!disk.mounted()) GTEST_SKIP() << "mounting is not permitted here";
  options.settings.spool = mount / "spool";
  coordinator.Kill();
  Reporter reporter(options);
  Add(reporter, 2000);
  EXPECT_FALSE(reporter.Flush(seconds(20)));
  coordinator.Start();
  EXPECT_TRUE(reporter.Finish(Completed(), seconds(20)).exit_delivered);
  ExpectAll();
  std::lock_guard lock(mutex);
  EXPECT_NE(warnings.find("No space left"), std::string::npos) << warnings;
}

TEST_F(ReporterTest, WhatAFullDiskAndAFullMemoryPreventIsCountedAndSaid) {
  const auto mount = folder.path() / "small";
  std::filesystem::create_directory(mount);
  const SmallDisk disk(mount, 72);
  if (!disk.mounted()) GTEST_SKIP() << "mounting is not permitted here";
  options.settings.spool = mount / "spool";
  options.settings.max_waiting_points = 100;
  coordinator.Kill();
  Reporter reporter(options);
  Add(reporter, 50);
  while (reporter.Flush(seconds(20))) {
    ASSERT_LT(added, 100'000);
    Add(reporter, 50);
  }
  Add(reporter, 2000);
  coordinator.Start();
  ASSERT_TRUE(coordinator.WaitFor(1, [](const auto& rank) { return rank.acknowledged > 0; }));
  Add(reporter, 1);
  const Delivery delivery = reporter.Finish(Completed(), seconds(20));
  EXPECT_TRUE(delivery.exit_delivered);
  EXPECT_GT(delivery.lost_points, 1000);
  const FakeCoordinator::Rank rank = coordinator.rank(1);
  EXPECT_EQ(rank.exits[0].lost_points(), delivery.lost_points);
  EXPECT_EQ(rank.lost + static_cast<int64_t>(rank.points.size()), rank.acknowledged);
}

TEST_F(ReporterTest, ACoordinatorThatIsBackIsFoundAtOnceAndNotWhenSomebodyHappensToLook) {
  // The fastest of three: what is otherwise on the machine does not count.
  auto fastest = seconds(1000) + steady_clock::duration(0);
  for (int i = 0; i < 3; ++i) {
    const int known = coordinator.rank(1).registrations;
    Reporter reporter(options);
    ASSERT_TRUE(
        coordinator.WaitFor(1, [&](const auto& rank) { return rank.registrations > known; }));
    coordinator.Kill();
    // Long enough for a first try in vain.
    std::this_thread::sleep_for(milliseconds(300));
    const int before = coordinator.rank(1).registrations;
    coordinator.Start();
    const auto start = steady_clock::now();
    ASSERT_TRUE(
        coordinator.WaitFor(1, [&](const auto& rank) { return rank.registrations > before; }));
    fastest = std::min(fastest, steady_clock::now() - start);
  }
  EXPECT_LT(fastest, seconds(2));
}

TEST_F(ReporterTest, TheEndSaysTheLastPointSoThatWhatNeverArrivesIsKnownToBeLost) {
  Reporter reporter(options);
  Add(reporter, 30);
  EXPECT_TRUE(reporter.Finish(Completed(), seconds(20)).exit_delivered);
  EXPECT_EQ(coordinator.rank(1).exits[0].last_sequence(), 30);
}

TEST_F(ReporterTest, WithoutASpoolItReportsAllTheSameAndSaysSo) {
  options.settings.spool = "/proc/nothing/here";
  Reporter reporter(options);
  Add(reporter, 30);
  EXPECT_TRUE(reporter.Finish(Completed(), seconds(20)).exit_delivered);
  ExpectAll();
  std::lock_guard lock(mutex);
  EXPECT_NE(warnings.find("there is no spool"), std::string::npos) << warnings;
}

TEST_F(ReporterTest, SpeaksTlsWithACoordinatorWhoseCertificateItWasGivenAndWithNoOther) {
  auto make = [&](const std::string& name) {
    const std::string base = (folder.path() / name).string();
    const std::string line =
        "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext "
        "subjectAltName=IP:127.0.0.1 -keyout " +
        base + ".key -out " + base + ".pem 2>/dev/null";
    return std::system(line.c_str()) == 0;
  };
  if (!make("right") || !make("wrong")) GTEST_SKIP() << "there is no openssl command";
  coordinator.Kill();
  grpc::SslServerCredentialsOptions tls;
  tls.pem_key_cert_pairs.push_back(
      {ReadFile(folder.path() / "right.key"), ReadFile(folder.path() / "right.pem")});
  coordinator.credentials = grpc::SslServerCredentials(tls);
  coordinator.Start();
  {
    options.settings.tls_ca = folder.path() / "wrong.pem";
    Reporter reporter(options);
    Add(reporter, 3);
    EXPECT_FALSE(reporter.Finish(Completed(), milliseconds(700)).exit_delivered);
    EXPECT_EQ(coordinator.rank(1).registrations, 0);
    added = 0;
  }
  options.settings.tls_ca = folder.path() / "right.pem";
  Reporter reporter(options);
  Add(reporter, 3);
  EXPECT_TRUE(reporter.Finish(Completed(), seconds(20)).exit_delivered);
  ExpectAll();
}

TEST(ReportSettings, AreReadFromTheEnvironmentOfAJob) {
  auto set = [](const char* attempt, const char* spool) {
    ::setenv("SYNCBN_ATTEMPT", attempt, 1);
    ::setenv("SYNCBN_SPOOL", spool, 1);
  };
  ::unsetenv("SYNCBN_COORDINATOR");
  EXPECT_FALSE(SettingsFromEnvironment());
  ::setenv("SYNCBN_COORDINATOR", "10.0.0.1:7700", 1);
  ::unsetenv("SYNCBN_ATTEMPT");
  EXPECT_FALSE(SettingsFromEnvironment());
  set("a1b2/jobs/17/attempts/3", "/var/spool");
  const auto settings = SettingsFromEnvironment();
  ASSERT_TRUE(settings);
  EXPECT_EQ(settings->attempt, "jobs/17/attempts/3");
  EXPECT_EQ(AttemptNumber(settings->attempt), 3);
  for (const auto& [attempt, spool] :
       std::vector<std::pair<const char*, const char*>>{{"jobs/17", "/var/spool"},
                                                        {"a/jobs/x/attempts/3", "/var/spool"},
                                                        {"a/jobs/17/attempts/0", "/var/spool"},
                                                        {"a/jobs/17/attempts/3", "var"},
                                                        {"a/jobs/17/attempts/3", ""}}) {
    set(attempt, spool);
    EXPECT_THROW(SettingsFromEnvironment(), Error) << attempt << " " << spool;
  }
  ::unsetenv("SYNCBN_ATTEMPT");
}

}  // namespace
}  // namespace syncbn::report
