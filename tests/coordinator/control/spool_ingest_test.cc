#include "coordinator/control/spool_ingest.h"

#include <gtest/gtest.h>

#include <fstream>

#include "report/spool.h"
#include "report/spool_file.h"
#include "tests/coordinator/store/store_fixture.h"
#include "tests/support/temp_folder.h"

namespace syncbn::coordinator {
namespace {

class SpoolIngestTest : public ::testing::Test {
 protected:
  SpoolIngestTest() : store({.folder = folder.path() / "data", .synced = false}) {
    attempt = {AddJob(store), 2};
    store.Write([&](Tables& tables) {
      v1::Attempt record;
      record.set_name(AttemptName(attempt.job, attempt.attempt));
      tables.attempts.Begin(attempt, record, "hash");
    });
  }
  report::SpoolOptions Options(int rank) const {
    return {.folder = spool, .attempt = AttemptName(attempt.job, attempt.attempt), .rank = rank};
  }
  SpoolIngest Ingest() { return IngestSpool(store, attempt, spool, kTestNow); }
  static v1::RankExit Exit(const std::string& message) {
    v1::RankExit exit;
    exit.set_outcome(v1::ATTEMPT_OUTCOME_FAILED);
    exit.set_message(message);
    return exit;
  }

  TempFolder folder;
  Store store;
  AttemptId attempt;
  const std::filesystem::path spool = folder.path() / "spool";
};

TEST_F(SpoolIngestTest, WhatTheCoordinatorHasAlreadyIsNotStoredAgain) {
  store.Write([&](Tables& tables) {
    tables.metrics.Insert({attempt.job, 2, 0}, TestBatch(1, 12), kTestNow);
  });
  {
    report::Spool rank0(Options(0)), rank1(Options(1));
    // The worker did not hear of the acknowledgement of 1 .. 12.
    for (const int first : {1, 9, 17}) ASSERT_TRUE(rank0.Append(TestBatch(first, 8)));
    ASSERT_TRUE(rank1.Append(TestBatch(1, 3)));
    rank0.WriteExit(Exit("rank 0"));
    rank1.WriteExit(Exit("rank 1"));
  }
  const SpoolIngest ingested = Ingest();
  EXPECT_EQ(ingested.points, 12 + 3);
  EXPECT_EQ(ingested.exits, 2);
  EXPECT_EQ(ingested.ranks, 2);
  EXPECT_EQ(ingested.lost_points, 0);
  EXPECT_TRUE(ingested.problems.empty());
  EXPECT_EQ(AllPoints(store, attempt.job).size(), 24u + 3u);
  const auto exits = store.Read([&](Tables& tables) { return tables.attempts.RankExits(attempt); });
  ASSERT_EQ(exits.size(), 2u);
  EXPECT_EQ(exits[1].exit.message(), "rank 1");
  EXPECT_FALSE(std::filesystem::exists(spool));
  EXPECT_EQ(Describe(Ingest()), "") << "nothing is left";
}

TEST_F(SpoolIngestTest, CutShortAnywhereItCanBeRepeated) {
  {
    report::Spool rank0(Options(0));
    for (int first = 1; first < 40; first += 4) ASSERT_TRUE(rank0.Append(TestBatch(first, 4)));
    rank0.WriteExit(Exit("rank 0"));
  }
  const auto kept = folder.path() / "kept";
  std::filesystem::copy(spool, kept);
  Ingest();
  const auto points = AllPoints(store, attempt.job);
  // The coordinator died before it removed the files.
  std::filesystem::copy(kept, spool);
  EXPECT_EQ(Ingest().points, 0);
  EXPECT_EQ(AllPoints(store, attempt.job), points);
}

TEST_F(SpoolIngestTest, PointsThatDamageTookAreCountedAndTheOthersStored) {
  {
    report::Spool rank0(Options(0));
    for (int first = 1; first < 13; first += 4) ASSERT_TRUE(rank0.Append(TestBatch(first, 4)));
  }
  const auto segment = spool / report::SegmentName(0, 1);
  std::string content = ReadFile(segment);
  // In the second of three batches.
  content[content.size() / 2] ^= 0x55;
  std::ofstream(segment, std::ios::binary | std::ios::trunc) << content;
  const SpoolIngest ingested = Ingest();
  EXPECT_EQ(ingested.points, 8);
  EXPECT_EQ(ingested.lost_points, 4);
  const auto listed =
      store.Read([&](Tables& tables) { return tables.metrics.ListSeries(attempt.job); });
  EXPECT_EQ(listed.lost_points(), 4);
}

TEST_F(SpoolIngestTest, PointsAfterTheLastThatCouldBeKeptAreCountedFromTheExitReport) {
  {
    report::Spool rank0(Options(0));
    ASSERT_TRUE(rank0.Append(TestBatch(1, 4)));
    v1::RankExit exit = Exit("disk full");
    exit.set_last_sequence(11);
    rank0.WriteExit(exit);
  }
  EXPECT_EQ(Ingest().lost_points, 7);
  const auto lost = [&] {
    return store.Read([&](Tables& tables) { return tables.metrics.LostPoints(attempt.job); });
  };
  EXPECT_EQ(lost(), 7);
  store.Write([&](Tables& tables) { tables.metrics.End({attempt.job, attempt.attempt, 0}, 11); });
  EXPECT_EQ(lost(), 7) << "said twice";
}

TEST_F(SpoolIngestTest, TheSpoolOfAnotherAttemptIsNotTaken) {
  {
    report::SpoolOptions options = Options(0);
    options.attempt = AttemptName(attempt.job, 1);
    report::Spool rank0(options);
    ASSERT_TRUE(rank0.Append(TestBatch(1, 4)));
  }
  const SpoolIngest ingested = Ingest();
  ASSERT_EQ(ingested.problems.size(), 1u);
  EXPECT_NE(ingested.problems[0].find("its spool is of jobs/"), std::string::npos);
  EXPECT_TRUE(AllPoints(store, attempt.job).empty());
  EXPECT_TRUE(std::filesystem::exists(spool)) << "it stays for somebody to look at";
}

TEST_F(SpoolIngestTest, AFolderThatIsNotThereHoldsNothing) {
  const SpoolIngest ingested = Ingest();
  EXPECT_EQ(ingested.ranks, 0);
  EXPECT_TRUE(ingested.problems.empty());
}

}  // namespace
}  // namespace syncbn::coordinator
