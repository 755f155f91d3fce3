#include "comm/replica_map.h"

#include <algorithm>
#include <string>

#include "base/check.h"
#include "base/error.h"
#include "base/text.h"

namespace syncbn::comm {

ReplicaMap::ReplicaMap(int replicas, int processes) : replicas_(replicas), processes_(processes) {
  if (replicas < 1 || processes < 1) {
    throw Error(ErrorCode::kInvalidArgument,
                "a run needs at least one replica and one process, got " +
                    Plural(replicas, "replica") + " and " + Plural(processes, "process"));
  }
  if (processes > replicas) {
    throw Error(ErrorCode::kInvalidArgument,
                std::to_string(processes) + " processes cannot share " + Plural(replicas, "replica") +
                    ": start at most as many processes as there are replicas (mpirun -np " +
                    std::to_string(replicas) +
                    "), or raise cluster.replicas in the run file, which changes the experiment");
  }
}

Group ReplicaMap::OfProcess(int process) const {
  SYNCBN_CHECK(process >= 0 && process < processes_) << "process " << process << " of " << processes_;
  const int share = replicas_ / processes_, larger = replicas_ % processes_;
  const int begin = process * share + std::min(process, larger);
  return {begin, begin + share + (process < larger ? 1 : 0)};
}

int ReplicaMap::ProcessOf(int replica) const {
  SYNCBN_CHECK(replica >= 0 && replica < replicas_) << "replica " << replica << " of " << replicas_;
  const int share = replicas_ / processes_, larger = replicas_ % processes_;
  const int in_larger = larger * (share + 1);
  return replica < in_larger ? replica / (share + 1) : larger + (replica - in_larger) / share;
}

}  // namespace syncbn::comm
