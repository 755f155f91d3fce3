// Which process hosts which replica: contiguous runs, as equal as possible. Pure functions of two
// numbers, so every process knows the whole map without asking.
#pragma once

#include "comm/reducer.h"

namespace syncbn::comm {

class ReplicaMap {
 public:
  // The first replicas % processes processes host one replica more than the others. Throws
  // INVALID_ARGUMENT when there are more processes than replicas.
  ReplicaMap(int replicas, int processes);

  int replicas() const { return replicas_; }
  int processes() const { return processes_; }
  // The replicas of a process; never empty.
  Group OfProcess(int process) const;
  int ProcessOf(int replica) const;

 private:
  int replicas_;
  int processes_;
};

}  // namespace syncbn::comm
