// How attempts are started, looked at and ended: the interface behind which are mpirun on this
// machine, mpirun over ssh, Slurm, and Kubernetes.
//
// Whatever is under way belongs to the attempt's folder and its supervisor, not to this object: a
// coordinator that is started anew makes a new launcher and observes the same attempts. Calls block
// for seconds at most and are thread-safe for different attempts; for one attempt the caller makes
// them one after another.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/job/job_record.h"
#include "coordinator/job/job_state.h"
#include "coordinator/launch/process.h"
#include "coordinator/launch/stop_ladder.h"
#include "coordinator/schedule/placement.h"
#include "syncbn/v1/attempt.pb.h"

namespace syncbn::coordinator {

// An attempt that was handed to a launcher once.
struct AttemptRef {
  AttemptId id;
  std::filesystem::path folder;
  // What its processes carry (LaunchRequest::marker), so that they are found whatever has become of
  // the folder. Empty: only the folder knows.
  std::string marker = {};
};

struct LaunchRequest {
  AttemptRef attempt;
  // "{store id}/jobs/17/attempts/2": carried by every process of the attempt.
  std::string marker;
  SlotRequest request;
  Placement placement;  // empty where the launcher chooses hosts itself (Slurm, Kubernetes)
  // The worker: an absolute path and its arguments; every rank runs it.
  std::vector<std::string> program;
  // Variables of the workers, `NAME=value` each.
  std::vector<std::string> environment;
  std::filesystem::path working_folder;
  StopLadder::Times ladder;
  // After the ladder: for killed processes to disappear, and for another host to answer.
  std::chrono::microseconds kill_time = std::chrono::seconds(5);
  std::chrono::microseconds remote_time = std::chrono::seconds(10);
  int64_t max_log_bytes = 0;  // 0: 1 GiB
  std::optional<std::chrono::microseconds>
      time_limit;  // for batch systems; nothing is ended by it here
};

// The longest that a supervisor takes from a graceful order to its exit record.
std::chrono::microseconds LongestEnd(const LaunchRequest& request);

struct Observation {
  enum class Kind {
    kWaiting,  // a batch system has it in its queue
    kAlive,    // its supervisor lives
    kEnded,    // `exit` is final
    kUnknown,  // could not be asked now; `detail` says why
  };
  Kind kind = Kind::kUnknown;
  std::optional<v1::ExitRecord> exit;
  std::string detail;
  // Of one that is alive: how much it has left in its log and its spools so far. Changes when a
  // rank says something, whether or not the coordinator hears it.
  int64_t written = 0;
  // Of a batch system's attempt that has not ended, in whatever kind: when the first of it began to
  // run, by the clock of the host where it did. Before that it costs nobody any time.
  std::optional<WallTime> begin = {};
  // Of one that is alive as far as is known: why it may not be, with the host's name.
  std::string trouble = {};
  // Of one that its folder has alive: it has ended, and what it wrote of its end, or what the batch
  // system knows of that, is waited for. Nothing of it registers any more, and the wait is not its
  // time.
  bool record_awaited = false;
};

// How long a launcher may have to wait for others.
struct LauncherDelays {
  // Until what one side leaves in the attempt's folder is seen by the other: a file system of many
  // hosts shows each of them what it saw a while ago.
  std::chrono::milliseconds word{0};
  // From Force on until the attempt has ended or is known not to be to be had.
  std::chrono::milliseconds force{0};
};

class Launcher {
 public:
  virtual ~Launcher() = default;

  // "local", "hosts", "slurm" or "kubernetes".
  virtual std::string Name() const = 0;

  // A batch system or a cluster behind it keeps the queue and finds the hosts: attempts are handed
  // to it at once, and wait there.
  virtual bool ChoosesHosts() const { return false; }

  // Programs of this machine without which no attempt can be started: names to be found on the PATH,
  // or paths.
  virtual std::vector<std::string> Tools() const { return {}; }

  virtual LauncherDelays Delays() const { return {}; }

  // Starts the attempt's supervisor, which starts the rest. When it returns the attempt can be
  // observed. Throws why it could not be started: INVALID_ARGUMENT when it never can be,
  // UNAVAILABLE when another try may do better. The attempt must be observed all the same after an
  // error.
  virtual void Start(const LaunchRequest& request) = 0;

  // What has become of it. An attempt without a supervisor and without an exit record, or with a
  // damaged one, is closed here: what is left of it is killed and its exit record written, so that
  // no supervisor that is late can start it any more.
  virtual Observation Observe(const AttemptRef& attempt) = 0;

  // Tells the supervisor to end it. Only ever more severe.
  virtual void Stop(const AttemptRef& attempt, StopLevel level, const std::string& reason) = 0;

  // What its ranks have had of the processors so far. Nothing where some of them cannot be seen.
  virtual std::optional<RankActivity> LookAtRanks(const AttemptRef& /*attempt*/) {
    return std::nullopt;
  }

  // Ends it without its supervisor's help, and its supervisor. May be called again, as long as it
  // has not ended.
  virtual Observation Force(const AttemptRef& attempt) = 0;

  // Clears away what attempts that are over have left elsewhere and could not be cleared away at
  // their end. Called every now and then, also while no attempt is under way.
  virtual void Tidy() {}
};

// With limits in which the supervisor's ladder, whoever hears of it late, and then force come to
// their end: before that nothing harsher is of any use.
JobPolicy WithTimeToEnd(JobPolicy policy, const StopLadder::Times& ladder,
                        const LauncherDelays& delays);

}  // namespace syncbn::coordinator
