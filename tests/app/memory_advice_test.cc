// What is said where a GPU's memory does not suffice.
#include "app/run/memory_advice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace syncbn::app {
namespace {

using ::testing::HasSubstr;

constexpr double kMiB = 1 << 20;

forecast::MemoryNeed Need() {
  return {.process = 100 * kMiB,
          .replica = 50 * kMiB,
          .sample = 10 * kMiB,
          .fewer = 8,
          .more = 16};
}

TEST(MemoryAdvice, SaysWhatAReplicaNeedsAndWhichBatchFits) {
  EXPECT_EQ(MemoryAdviceOf(Need(), {64, 64}, true, 1000 * kMiB),
            "A replica with a batch of 64 needs about 690 MiB: 50.0 MiB whatever its batch, and "
            "10.0 MiB a sample; this process computes 2 replicas at a time, and with 100 MiB for "
            "parameters, gradients and optimizer needs about 1480 MiB. It can have 1000 MiB: "
            "cluster.batch_per_replica: 37 would fit (estimated by steps of 8 and 16 samples)");
}

TEST(MemoryAdvice, OfDifferentBatchesSaysWhichShareFits) {
  EXPECT_THAT(MemoryAdviceOf(Need(), {48, 16}, false, 600 * kMiB),
              HasSubstr("It can have 600 MiB: 57 % of cluster.batch_per_replica would fit"));
}

TEST(MemoryAdvice, SaysWhereNoBatchFits) {
  EXPECT_THAT(MemoryAdviceOf(Need(), {64, 64}, true, 220 * kMiB),
              HasSubstr("It can have 220 MiB: not even one sample a replica fits. Have fewer "
                        "replicas on this device, or a smaller model"));
}

TEST(MemoryAdvice, SaysWhereSomethingElseTakesTheMemory) {
  EXPECT_THAT(
      MemoryAdviceOf(Need(), {8}, true, 1000 * kMiB),
      HasSubstr("that would fit, so something else takes it, such as batches that are prepared "
                "ahead (data.prefetch)"));
}

}  // namespace
}  // namespace syncbn::app
