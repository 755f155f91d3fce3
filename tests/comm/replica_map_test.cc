#include "comm/replica_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace syncbn::comm {
namespace {

TEST(ReplicaMap, RunsAreContiguousBalancedAndCoverAllReplicas) {
  for (int replicas = 1; replicas <= 32; ++replicas) {
    for (int processes = 1; processes <= replicas; ++processes) {
      const ReplicaMap map(replicas, processes);
      int next = 0;
      for (int process = 0; process < processes; ++process) {
        const Group run = map.OfProcess(process);
        EXPECT_EQ(run.begin, next);
        EXPECT_EQ(run.size(), replicas / processes + (process < replicas % processes ? 1 : 0));
        for (int replica = run.begin; replica < run.end; ++replica) {
          EXPECT_EQ(map.ProcessOf(replica), process) << replicas << " over " << processes;
        }
        next = run.end;
      }
      EXPECT_EQ(next, replicas);
    }
  }
}

TEST(ReplicaMap, RefusesMoreProcessesThanReplicasWithAdvice) {
  try {
    ReplicaMap(3, 4);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_THAT(error.what(), testing::HasSubstr("4 processes cannot share 3 replicas"));
    EXPECT_THAT(error.what(), testing::HasSubstr("mpirun -np 3"));
  }
}

TEST(ReplicaMap, RefusesARunWithoutReplicasOrProcesses) {
  EXPECT_THROW(ReplicaMap(0, 0), Error);
  EXPECT_THROW(ReplicaMap(4, 0), Error);
}

}  // namespace
}  // namespace syncbn::comm
