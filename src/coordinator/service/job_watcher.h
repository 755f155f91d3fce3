// JobService.WatchJobs: what is there, then every change, from a cursor that never loses one.
//
// The cursor is the number of a history entry. Entries are sent in order, each once; beside them
// come changes without an entry (progress, liveness, place in the queue), of which only the newest
// matters and which a new stream need not have seen.
#pragma once

#include <functional>

#include "coordinator/service/follow.h"
#include "coordinator/store/store.h"
#include "syncbn/v1/job.grpc.pb.h"

namespace syncbn::coordinator {

// Where a watch goes on from that is to miss nothing which comes after what `tables` show.
std::string NewestJobCursor(Tables& tables);

class JobWatcher {
 public:
  // The job as the API shows it (Controller::View). Thread-safe.
  using View = std::function<v1::Job(const JobRecord&)>;

  // All outlive the watcher.
  JobWatcher(Store& store, CallGate& gate, FollowerPool& pool, View view)
      : store_(store), gate_(gate), pool_(pool), view_(std::move(view)) {}

  // What JobService returns from WatchJobs. The request lives as long as the stream.
  grpc::ServerWriteReactor<v1::WatchJobsResponse>* Watch(grpc::CallbackServerContext& context,
                                                         const v1::WatchJobsRequest& request);

 private:
  Store& store_;
  CallGate& gate_;
  FollowerPool& pool_;
  View view_;
};

}  // namespace syncbn::coordinator
