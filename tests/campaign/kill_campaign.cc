// Random kills: jobs of three seconds, one after the other, to each of which one thing happens at a random
// moment. Each must end once, with the bits, the figures and the log of a job to which nothing happened, and
// leave no process.
//
//   kill_campaign [--kills=N] [--seed=S]
//
// The same seed does the same things at the same moments, as far as a machine keeps time. The tests run a
// short form.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <random>
#include <string>
#include <thread>

#include "tests/e2e/resilience.h"
#include "tests/support/test_report.h"

namespace syncbn {
namespace {

int kills = 10;
unsigned seed = 1;

constexpr int kSteps = 40;

enum class Victim { kCoordinator, kSupervisor, kMpirun, kRank, kCoordinatorAndRank };
enum class Blow { kKill, kTerminate, kPause };

struct Kind {
  const char* name;
  Victim victim;
  Blow blow;
};
constexpr std::array<Kind, 10> kKinds = {{
    {"coordinator killed", Victim::kCoordinator, Blow::kKill},
    {"coordinator stopped in order", Victim::kCoordinator, Blow::kTerminate},
    {"coordinator frozen and woken", Victim::kCoordinator, Blow::kPause},
    {"supervisor killed", Victim::kSupervisor, Blow::kKill},
    {"supervisor frozen and woken", Victim::kSupervisor, Blow::kPause},
    {"mpirun killed", Victim::kMpirun, Blow::kKill},
    {"mpirun frozen and woken", Victim::kMpirun, Blow::kPause},
    {"rank killed", Victim::kRank, Blow::kKill},
    {"rank frozen and woken", Victim::kRank, Blow::kPause},
    {"coordinator and rank killed", Victim::kCoordinatorAndRank, Blow::kKill},
}};

class KillCampaign : public ResilienceTest {
 protected:
  static void Rest(double seconds) {
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  }
  double Random(double least, double most) {
    return std::uniform_real_distribution<double>(least, most)(random_);
  }

  // Does the one thing to the job; whether there was somebody to do it to.
  bool Strike(const std::string& job, const Kind& kind) {
    const bool coordinator =
        kind.victim == Victim::kCoordinator || kind.victim == Victim::kCoordinatorAndRank;
    std::vector<pid_t> victims;
    if (kind.victim == Victim::kCoordinator) {
      victims.push_back(ServerPid());
    } else if (kind.victim == Victim::kSupervisor) {
      if (const pid_t supervisor = SupervisorOf(job); supervisor > 0) victims.push_back(supervisor);
    } else {
      std::vector<pid_t> found;
      for (const coordinator::MarkedProcess& process : Processes(job)) {
        if (IsA(kind.victim, process.command)) found.push_back(static_cast<pid_t>(process.pid));
      }
      if (!found.empty()) victims.push_back(found[random_() % found.size()]);
    }
    if (coordinator && kind.blow != Blow::kPause) {
      for (const pid_t rank : victims) {
        if (rank != ServerPid()) ::kill(rank, SIGKILL);
      }
      if (kind.blow == Blow::kKill) {
        Kill();
      } else {
        EXPECT_EQ(Stop(), 0);
      }
      Rest(Random(0, 1));
      Serve();
      return !victims.empty();
    }
    for (const pid_t victim : victims) {
      ::kill(victim, kind.blow == Blow::kKill ? SIGKILL : SIGSTOP);
    }
    if (kind.blow == Blow::kPause) {
      Rest(Random(0.2, 2));
      for (const pid_t victim : victims) ::kill(victim, SIGCONT);
    }
    return !victims.empty();
  }

  std::mt19937 random_{seed};

 private:
  static bool IsA(Victim victim, const std::string& command) {
    const bool mpirun = command.find("mpirun") != std::string::npos;
    if (victim == Victim::kMpirun) return mpirun;
    return !mpirun && command.find(" train ") != std::string::npos;
  }

  // Of the first attempt, by its own record: it does not carry the marker. 0 where it is not at work.
  pid_t SupervisorOf(const std::string& job) const {
    const auto folder = AttemptFolderOf(job, 1);
    if (!std::filesystem::exists(folder / "supervisor.json") ||
        std::filesystem::exists(folder / "exit.json")) {
      return 0;
    }
    const nlohmann::json pid = nlohmann::json::parse(ReadFile(folder / "supervisor.json"))["pid"];
    return pid.is_string() ? std::stoi(pid.get<std::string>()) : pid.get<pid_t>();
  }
};

TEST_F(KillCampaign, EveryJobEndsOnceWithEverything) {
  Pace(60);
  Serve();
  std::printf("seed %u\n", seed);
  double slowest = 0;
  int struck = 0;
  for (int i = 0; i < kills && !HasFailure(); ++i) {
    // Every kind comes up as often as any other.
    const Kind& kind = kKinds[i % kKinds.size()];
    const int processes = 1 + static_cast<int>(random_() % 3);
    const double moment = Random(0, 3.5);
    const auto start = std::chrono::steady_clock::now();
    const std::string job = Submit(MakeJob(TinyRun(kSteps), processes)).name();
    Rest(moment);
    const bool hit = Strike(job, kind);
    struck += hit;
    WaitForEndSurely(job);
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    slowest = std::max(slowest, seconds);
    SCOPED_TRACE(std::string(kind.name) + " after " + std::to_string(moment) + " s");
    const bool writer_killed = kind.victim == Victim::kSupervisor && kind.blow == Blow::kKill;
    ExpectDoneOnce(job, kSteps, /*log_is_whole=*/!writer_killed);
    std::printf("%4d  %-29s at %.2f s  %s, %d processes, %zu attempts, ended after %.1f s\n", i + 1,
                kind.name, moment, hit ? "hit   " : "nobody", processes, Attempts(job).size(), seconds);
    std::fflush(stdout);
  }
  std::printf("%d kills, %d with a victim, the slowest job took %.1f s\n", kills, struck, slowest);
  EXPECT_GT(struck, 0);
}

// The number behind `name=`.
bool Take(const std::string& word, const std::string& name, long* value) {
  if (!word.starts_with(name)) return false;
  *value = std::stol(word.substr(name.size()));
  return true;
}

}  // namespace
}  // namespace syncbn

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    long value = 0;
    if (syncbn::Take(argv[i], "--kills=", &value)) {
      syncbn::kills = static_cast<int>(value);
    } else if (syncbn::Take(argv[i], "--seed=", &value)) {
      syncbn::seed = static_cast<unsigned>(value);
    } else {
      std::fprintf(stderr, "usage: kill_campaign [--kills=N] [--seed=S]\n");
      return 2;
    }
  }
  syncbn::ReportTestResults();
  return syncbn::TestExitCode(RUN_ALL_TESTS());
}
