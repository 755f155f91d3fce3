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
  std::string token;     // until it is launched
  bool started = false;  // the launcher has it: it can be observed
  // Why the launcher could not start it; it may live all the same.
  std::optional<Failure> start_failure;
  bool progress_changed = false;
  std::string waiting;  // what a batch system says while it has it in its queue

  // A rank's last heartbeat may be older than its exit report, by as long as the coordinator was away.
  void AdvanceTo(const v1::RankExit& exit);
};

// Adds those that are not in the list yet.
void AddHosts(google::protobuf::RepeatedPtrField<std::string>* list,
              const std::vector<std::string>& hosts);

// The slots that a job asks for.
SlotRequest RequestOf(int64_t job, const v1::Resources& resources);

}  // namespace syncbn::coordinator
