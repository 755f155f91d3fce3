// What the store forgets, and when. Done in small steps, each a write of its own, so that nobody
// waits long behind it.
#pragma once

#include <optional>
#include <vector>

#include "coordinator/store/store.h"

namespace syncbn::coordinator {

struct RetentionPolicy {
  using Time = std::chrono::microseconds;
  // Jobs that ended longer ago than this are deleted, unless they are trials of a study that has
  // not: it may have to look at them still. None: kept for ever.
  std::optional<Time> ended_jobs;
  // Likewise studies, with their results. None: kept for ever.
  std::optional<Time> ended_studies;
  // Answers to requests that may come again.
  Time requests = std::chrono::hours(24 * 7);
  // Batches as they came: watches of metrics can go on from a cursor that is not older.
  Time batches = std::chrono::hours(24);
  // What is left of the history of deleted jobs: watches of jobs can go on from a cursor that is
  // not older.
  Time deleted_jobs = std::chrono::hours(24 * 30);
  // Who asked for what.
  Time audit = std::chrono::hours(24 * 365);
};

struct RetentionStep {
  // Jobs deleted in this step: their folders can go now.
  std::vector<int64_t> deleted_jobs;
  // Likewise studies: the output of their trials.
  std::vector<int64_t> deleted_studies;
  // There is more to do now.
  bool more = false;
};

// One step: deletes at most about `limit` rows of each kind, among them points of deleted jobs.
RetentionStep Forget(Store& store, const RetentionPolicy& policy, WallTime now, int limit = 5000);

}  // namespace syncbn::coordinator
