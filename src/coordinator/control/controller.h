// The coordinator without its network: what happens to jobs, and when. The services call it, it
// calls the store, the scheduler and the launcher.
//
// Every change of a job goes the same way: in one transaction the job is read, the state machine is
// asked, and the answer is stored with its history; only then are the effects carried out. So a
// death at any moment leaves a store from which Start() can go on: it looks at every attempt that
// may be alive, adopts it or closes it, and gives again what orders may have been lost.
//
// An attempt that could not be ended in time is given up: the job goes on without it. It is tried
// again to end it until the launcher knows that nothing of it is left, over restarts, too
// (controller_strays.cc).
//
// Thread-safe. One thread of its own watches timers, silence and the queue; a few run the
// launcher's calls, which block.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "coordinator/control/file_system_pool.h"
#include "coordinator/control/keyed_pool.h"
#include "coordinator/control/newest_revisions.h"
#include "coordinator/control/rank_monitor.h"
#include "coordinator/control/warning_throttle.h"
#include "coordinator/job/classify.h"
#include "coordinator/launch/launcher.h"
#include "coordinator/schedule/scheduler.h"
#include "coordinator/store/retention.h"
#include "coordinator/store/store.h"

namespace syncbn::coordinator {

// What an attempt is started with, decided by the controller.
struct LaunchContext {
  AttemptRef attempt;
  std::string marker;
  std::string token;  // for the workers, good for this attempt only
  SlotRequest request;
  Placement placement;
};

// What the jobs of one submitter may take. Nobody is kept from one's own machine: "local" has no
// limit.
struct SubmitterLimits {
  int64_t open_jobs = 2000;
  // Of run files, what goes with them and histories, of all jobs in the store.
  int64_t bytes = int64_t{1} << 30;
  int64_t open_studies = 20;
};

// Who asks, and how a repeated request is known.
struct RequestInfo {
  RequestKey key;  // with the actor
  bool validate_only = false;
};

// A verb on a job: kPause, kCancel, kKill, kResume or kRetry.
struct VerbRequest {
  EventKind verb;
  std::string etag;                                       // empty: whatever it is
  std::string reason;                                     // for the history
  std::optional<v1::Resources> resources = std::nullopt;  // new ones, with kResume and kRetry
};

class Controller {
 public:
  struct Options {
    Store* store = nullptr;
    Launcher* launcher = nullptr;
    // False where the launcher chooses hosts itself (Launcher::ChoosesHosts): jobs are handed to it
    // at once.
    bool places = true;
    std::vector<HostCapacity> hosts;
    // Where a job writes that does not say where: a folder below this one, named after the job.
    std::filesystem::path output_root;
    // What to start: the worker's program, environment and folders.
    std::function<LaunchRequest(const JobRecord&, const RunFileText&, const LaunchContext&)>
        make_launch;
    // Throws when a new job must not write into a folder.
    std::function<void(const std::filesystem::path& output)> check_output =
        [](const std::filesystem::path&) {};
    // Takes in what the workers of an ended attempt could not deliver.
    std::function<void(const AttemptRef&)> ingest_spool = [](const AttemptRef&) {};
    // Where workers are told to find this server, for messages.
    std::function<std::string()> worker_address = [] { return std::string(); };
    std::function<void(const std::string&)> log = [](const std::string&) {};
    JobPolicy job_policy;
    SchedulerPolicy scheduler;
    HostPolicy host_policy;
    RankMonitorPolicy monitor;
    RetentionPolicy retention;
    SubmitterLimits submitter;
    std::chrono::milliseconds tick = std::chrono::milliseconds(200);
    std::chrono::milliseconds observe_every = std::chrono::milliseconds(500);
    std::chrono::milliseconds store_progress_every = std::chrono::seconds(2);
    std::chrono::milliseconds retention_every = std::chrono::minutes(10);
    // Between two tries to end an attempt that was given up.
    std::chrono::milliseconds stray_every = std::chrono::seconds(30);
    // A longer time between two ticks is one in which this process was stopped, or starved:
    // nobody's silence in it counts.
    std::chrono::milliseconds longest_tick = std::chrono::seconds(5);
    int launcher_threads = 4;
    FileSystemPool::Options file_system;
    const Clock* clock = &Clock::System();
  };

  explicit Controller(Options options);
  // Stops watching. Jobs go on.
  ~Controller();

  // Adopts or closes every attempt that may be alive, ends those that the store does not know (a
  // backup from before them took its place), then begins to watch. Serve after it returns.
  void Start();

  // --- For users. Errors carry a reason (api_error.h).

  // `spec` has all defaults and no run file. Refuses with NEVER_FITS what no state of the cluster
  // can place, with OUTPUT_FOLDER_TAKEN another job's folder, and with QUOTA_EXCEEDED what is more
  // than one submitter may have. `also` stores what belongs to the job, in the write that makes it:
  // where it throws, no job is made.
  using AlsoStore = std::function<void(Tables&, int64_t job)>;
  v1::Job Submit(const v1::Job& spec, const RunFileText& run_file, const RequestInfo& info,
                 const AlsoStore& also = {});
  v1::Job Act(int64_t job, const VerbRequest& verb, const RequestInfo& info);
  // A job that has ended, with its folder.
  void Delete(int64_t job, const std::string& etag, const RequestInfo& info);
  // Of its limits, and for people.
  Moment Now() const { return time_.Now(); }
  // As the API shows it, with what only this object knows: why it waits, where it is.
  v1::Job View(const JobRecord& record) const;
  // In the order in which they are served.
  std::vector<Schedule::Wait> Queue() const;
  struct HostView {
    HostCapacity capacity;
    HostHealth health;
    int used_slots = 0;
    int64_t used_memory_mib = 0;
    struct Use {
      int64_t job = 0;
      int processes = 0;
      int slots = 0;
    };
    std::vector<Use> uses;
  };
  std::vector<HostView> Hosts() const;
  // Drained, or back in use with its failures forgotten. NOT_FOUND for an unknown host.
  HostView SetDrained(const std::string& host, bool drained, const std::string& reason,
                      const RequestInfo& info);

  // --- For workers. ABORTED (ATTEMPT_SUPERSEDED) when the attempt is not the live one.

  bool IsTokenOf(AttemptId id, const std::string& token) const;
  struct Registration {
    int processes = 0;
    std::string host;
    int64_t pid = 0;
    int64_t total_steps = 0;  // 0: not known
  };
  // Returns the highest sequence of the rank that is durable.
  int64_t Register(AttemptId id, int rank, const Registration& registration);
  struct WorkerReport {
    RankHeartbeat heartbeat;
    std::optional<int64_t> checkpoint_step;
    int64_t lost_points = 0;
  };
  struct HeartbeatAnswer {
    DesiredState desired;
    bool register_again = false;  // nothing is known of its Register
  };
  // Returns what the worker is to do.
  HeartbeatAnswer Heartbeat(AttemptId id, int rank, const WorkerReport& report);
  // Returns the highest sequence that is durable.
  int64_t ReportMetrics(AttemptId id, int rank, const v1::MetricBatch& batch);
  void ReportExit(AttemptId id, int rank, const v1::RankExit& exit);

  std::filesystem::path FolderOf(AttemptId id) const;
  // With the marker of this store.
  AttemptRef RefOf(AttemptId id) const;

  // For all looks at folders that jobs name.
  FileSystemPool& file_system() { return file_system_; }

 private:
  static Options Checked(Options options);
  struct OpenJob;
  class TakenOutput;
  struct Applied {
    Outcome outcome;
    JobRecord record;
  };
  using Extra = std::function<void(Tables&, Applied&)>;

  // Reads, decides and stores inside a write; `extra` writes what belongs to it.
  Applied ApplyIn(Tables& tables, int64_t job, const Event& event, const TransitionCause& cause,
                  const Extra& extra);
  // The same as a write of its own, then carries out the effects.
  Outcome ApplyEvent(int64_t job, const Event& event, TransitionCause cause,
                     const Extra& extra = {});
  // Deadlines that signs of life have moved are newer here than in the store, and so is the
  // beginning of an attempt that waited in a queue. True when its progress is newer, too. mutex_
  // held.
  bool OverlaySignsOfLife(JobRecord& record) const;
  // After the commit: what is remembered, and the effects.
  void OnCommit(const Applied& applied);
  void Remember(const JobRecord& record);  // mutex_ held
  void PerformEffect(const JobRecord& record, const Effect& effect, const std::string& reason);

  // The thread that watches. It never holds mutex_ while it writes: writes take it.
  void Loop();
  void Tick();
  // Whether this process did not run for long before `now`: then those who are waited for get that
  // time.
  bool ExcuseOwnPause(MonotonicTime now);
  void ApplyDueEvents(Moment now, MonotonicTime monotonic);
  // STARTING, its time is up, and it says something that is not heard: it gets more time.
  bool GetsMoreTimeToStart(OpenJob& open, DurableTime now, MonotonicTime monotonic);  // mutex_ held
  // PAUSED, its time is up, but it is its study that is paused: that is no job which was forgotten.
  // It gets its time once more, here only.
  bool StaysPaused(int64_t job, DurableTime now);
  void RunSchedule(Moment now);
  // Only if the job is still the one that was placed.
  void Place(int64_t job, int64_t revision, const Placement& placement, Moment now);
  void ObserveAll();
  void LookAtRanks(AttemptId id);
  void StoreProgress();
  void StoreClock();
  void RunRetention();

  // On the launcher's threads.
  void Launch(AttemptId id);
  // What the launcher throws is an observation, too: of the kind kUnknown.
  Observation Observe(const AttemptRef& attempt) const;
  void HandleObservation(AttemptId id, const Observation& observation);
  void Close(AttemptId id, const v1::ExitRecord& exit);
  void Adopt(AttemptId id);

  // Attempts of which no job hears any more and that may have something left all the same: those
  // that were given up, and those that the store does not know. That one of them has no exit record
  // is how the next coordinator knows.
  struct Stray {
    bool known = false;  // to the store
    bool told = false;   // by order
    // A try is in the pool: no other is put behind it.
    bool under_way = false;
    MonotonicTime next_try{};
  };
  void FindStrays();
  // Tries again to end those that are due, until the launcher says that they have ended.
  void EndStrays(MonotonicTime now);
  void EndStray(AttemptId id, bool known);

  v1::Job InsertJob(const v1::Job& spec, const RunFileText& run_file, const RequestInfo& info,
                    Moment now, const AlsoStore& also);
  // The next numbers from `next` on that a job could have: no folders of such jobs are there.
  std::vector<int64_t> FreeNumbers(int64_t next);
  std::vector<HostCapacity> HostsNow(Moment now) const;    // mutex_ held
  HostView ViewOfHost(HostCapacity host) const;            // mutex_ held
  void CheckFits(int64_t job, const v1::Resources& resources) const;
  // That the folder which a job names is not that of another, by what is in it and by what jobs
  // have asked for that are open, or are being made.
  void LookAtOutput(const v1::Job& spec);
  void CheckOutputAmongOpen(const v1::Job& spec) const;
  // Of a job that begins to be open; `bytes` are those of a new one.
  void CheckQuota(const Tables& tables, const std::string& submitter, int64_t bytes) const;
  std::optional<DurableTime> EndsBy(const JobRecord& record) const;
  OpenJob& LiveAttempt(AttemptId id);  // mutex_ held
  // What body throws is logged; the same again only after a while.
  void Guarded(const std::string& doing, const std::function<void()>& body) const;

  Options options_;
  DurableClock time_;
  const WallTime calendar_start_;  // of this process
  const MonotonicTime start_;
  mutable WarningThrottle warnings_;
  FileSystemPool file_system_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::map<int64_t, OpenJob> open_;
  std::map<std::pair<int64_t, int>, Stray> strays_;  // by job and attempt
  std::map<std::string, int64_t> taken_outputs_;  // of jobs that are being stored
  NewestRevisions revisions_;
  std::vector<Schedule::Wait> waits_;
  std::map<std::string, HostHealth> health_;
  bool schedule_due_ = true;
  bool stop_ = false;
  MonotonicTime last_tick_, last_schedule_, last_observation_, last_progress_, last_retention_,
      last_mark_;
  std::thread thread_;
  // Last: its tasks use everything above.
  std::unique_ptr<KeyedPool> pool_;
};

v1::PendingReason ToProto(const PendingReason& reason, Moment now);

}  // namespace syncbn::coordinator
