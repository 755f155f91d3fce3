// What the controller remembers of a job that has not ended, beside the store.
#pragma once

#include "coordinator/control/controller.h"

namespace syncbn::coordinator {

struct Controller::OpenJob {
  // As last stored, but for what signs of life have changed since (deadline, progress).
  JobRecord record;
  // Of the live attempt:
  std::optional<RankMonitor> monitor;
  Placement placement;
  DurableTime placed{};  // as far as this coordinator knows: when it took it over at the latest
  std::string token;     // until it is launched
  bool started = false;  // the launcher has it: it can be observed
  // Why the launcher could not start it; it may live all the same.
  std::optional<Failure> start_failure;
  bool progress_changed = false;
  std::string waiting;  // what a batch system says while it has it in its queue
  bool in_queue = false;  // it did when it was last heard
  bool record_awaited = false;  // it has ended: no time of its own passes
  std::string unheard;  // STARTING for longer than it should take, and why it goes on
  std::string unseen;   // why it could not be observed the last time, as logged
  int64_t written = 0;  // what it had left on disk when it was observed last
  std::optional<MonotonicTime> last_written;  // when that was seen to change
  bool looking = false;                       // its ranks are being looked at
  MonotonicTime last_look{};

  // The time in a batch system's queue is not that of a start, nor of the job's time limit: it is
  // used from `begin` on, where that is known.
  void WaitsInQueue(Moment now, std::optional<WallTime> begin, JobPolicy::Time start_limit);
  void BeganAt(Moment now, WallTime begin);

  // Of the live attempt no longer, or not yet.
  void ForgetAttempt();

  // Of ranks of the live attempt, as they say, until the store knows.
  std::map<int, int64_t> lost_points;
  void Lose(int rank, int64_t points);
  // Of all attempts.
  void LostInStore(int64_t points);

  // A rank's last heartbeat may be older than its exit report, by as long as the coordinator was away.
  void AdvanceTo(const v1::RankExit& exit);
};

// Adds those that are not in the list yet.
void AddHosts(google::protobuf::RepeatedPtrField<std::string>* list,
              const std::vector<std::string>& hosts);

// An answer that was kept for a request that comes again.
v1::Job ParseJob(const std::string& bytes);

// The slots that a job asks for.
SlotRequest RequestOf(int64_t job, const v1::Resources& resources);

}  // namespace syncbn::coordinator
