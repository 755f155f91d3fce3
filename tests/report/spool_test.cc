#include "report/spool.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>

#include "base/error.h"
#include "base/file.h"
#include "report/metric_batches.h"
#include "report/spool_file.h"
#include "report/spool_reader.h"
#include "tests/support/full_disk.h"
#include "tests/support/temp_folder.h"

namespace syncbn::report {
namespace {

namespace fs = std::filesystem;

// Points first .. last, whose values are their sequences.
v1::MetricBatch Batch(int64_t first, int64_t last, int64_t lost_before = 0) {
  v1::MetricBatch batch;
  for (int64_t sequence = first; sequence <= last; ++sequence) {
    AddPoint(batch, sequence,
             {.name = sequence % 2 ? "train/loss" : "train/accuracy",
              .step = sequence / 2,
              .value = static_cast<double>(sequence),
              .time_us = 1'000'000 + sequence});
  }
  batch.set_lost_before(lost_before);
  return batch;
}

// Unsynced: these tests write thousands of times.
void WriteOver(const fs::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}

class SpoolTest : public testing::Test {
 protected:
  SpoolOptions Options() const {
    return {.folder = folder_.path() / "spool", .attempt = "jobs/17/attempts/2", .rank = 3};
  }
  // The batches that a reader finds, as "first-last".
  std::vector<std::string> Found() const {
    std::vector<std::string> found;
    SpoolReader(Options().folder, 3).ReadBatches([&](const v1::MetricBatch& batch) {
      for (int i = 0; i < batch.value_size(); ++i) {
        EXPECT_EQ(batch.value(i), static_cast<double>(batch.first_sequence() + i));
      }
      found.push_back(std::to_string(batch.first_sequence()) + "-" +
                      std::to_string(LastSequence(batch)));
    });
    return found;
  }
  fs::path FirstSegment() const { return Options().folder / SegmentName(3, 1); }
  TempFolder folder_;
};

TEST_F(SpoolTest, GivesBackWhatWasPutInAndItsOwner) {
  Spool spool(Options());
  ASSERT_TRUE(spool.Append(Batch(1, 5)));
  ASSERT_TRUE(spool.Append(Batch(6, 6)));
  SpoolReader reader(Options().folder, 3);
  reader.ReadBatches([](const v1::MetricBatch&) {});
  EXPECT_EQ(reader.attempt(), "jobs/17/attempts/2");
  EXPECT_EQ(reader.damaged_bytes(), 0);
  EXPECT_EQ(Found(), (std::vector<std::string>{"1-5", "6-6"}));
  EXPECT_EQ(SpooledRanks(Options().folder), std::vector<int>{3});
  struct stat status;
  ASSERT_EQ(::stat(Options().folder.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
}

TEST_F(SpoolTest, CutAnywhereItGivesEveryRecordThatIsWhole) {
  std::vector<size_t> ends;
  {
    Spool spool(Options());
    for (int64_t i = 0; i < 4; ++i) {
      ASSERT_TRUE(spool.Append(Batch(3 * i + 1, 3 * i + 3)));
      ends.push_back(fs::file_size(FirstSegment()));
    }
  }
  const std::string content = ReadFile(FirstSegment());
  for (size_t length = 0; length <= content.size(); ++length) {
    WriteOver(FirstSegment(), content.substr(0, length));
    const auto whole = static_cast<size_t>(
        std::count_if(ends.begin(), ends.end(), [&](size_t end) { return end <= length; }));
    ASSERT_EQ(Found().size(), whole) << "cut at " << length;
  }
}

TEST_F(SpoolTest, DamagedAnywhereItLosesOneRecordAtMost) {
  {
    Spool spool(Options());
    for (int64_t i = 0; i < 4; ++i) ASSERT_TRUE(spool.Append(Batch(3 * i + 1, 3 * i + 3)));
  }
  const std::string content = ReadFile(FirstSegment());
  for (size_t at = 0; at < content.size(); ++at) {
    std::string damaged = content;
    damaged[at] = static_cast<char>(static_cast<unsigned char>(damaged[at]) ^ (1u << at % 8));
    WriteOver(FirstSegment(), damaged);
    ASSERT_GE(Found().size(), 3u) << "byte " << at << " changed";
  }
}

TEST_F(SpoolTest, WhatAKilledProcessHadAppendedIsThere) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    Spool spool(Options());
    for (int64_t i = 1;; ++i) {
      if (!spool.Append(Batch(i, i))) ::_exit(1);
      if (::write(ends[1], &i, sizeof i) != sizeof i) ::_exit(1);
    }
  }
  int64_t appended = 0;
  while (appended < 500) ASSERT_EQ(::read(ends[0], &appended, sizeof appended), 8);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(ends[1]);
  int64_t more;
  while (::read(ends[0], &more, sizeof more) == 8) appended = more;
  ::close(ends[0]);
  EXPECT_GE(static_cast<int64_t>(Found().size()), appended);
}

TEST_F(SpoolTest, ReadsOnFromAnySequenceInBatchesOfTheLengthAskedFor) {
  Spool spool(Options());
  for (int64_t i = 1; i <= 100; ++i) ASSERT_TRUE(spool.Append(Batch(i, i)));
  for (const size_t most : {size_t{300}, size_t{1000}, kLargestBatch}) {
    int64_t at = 10;
    while (const auto batch = spool.After(at, most)) {
      EXPECT_EQ(batch->first_sequence(), at + 1);
      EXPECT_LE(batch->ByteSizeLong(), most);
      at = LastSequence(*batch);
    }
    EXPECT_EQ(at, 100);
  }
}

TEST_F(SpoolTest, AcknowledgedSegmentsGoAndTheRestStays) {
  SpoolOptions options = Options();
  options.segment_bytes = 400;
  Spool spool(options);
  for (int64_t i = 1; i <= 40; ++i) ASSERT_TRUE(spool.Append(Batch(i, i)));
  const int64_t full = spool.bytes();
  spool.Acknowledge(35);
  EXPECT_LT(spool.bytes(), full / 2);
  EXPECT_EQ(spool.points(), 5);
  EXPECT_EQ(Found().back(), "40-40");
  EXPECT_EQ(spool.After(35, kLargestBatch)->first_sequence(), 36);
  spool.Acknowledge(40);
  EXPECT_FALSE(spool.After(40, kLargestBatch));
  ASSERT_TRUE(spool.Append(Batch(41, 41)));
  EXPECT_EQ(spool.After(40, kLargestBatch)->first_sequence(), 41);
  EXPECT_LT(spool.bytes(), 1000);
}

TEST_F(SpoolTest, IsBoundedByItsSettingAndTakesMoreOnceSomeWasAcknowledged) {
  SpoolOptions options = Options();
  options.segment_bytes = 500;
  options.max_bytes = 2000;
  Spool spool(options);
  int64_t next = 1;
  while (spool.Append(Batch(next, next))) ASSERT_LT(++next, 1000);
  EXPECT_NE(spool.error().find("limit of 2000 bytes"), std::string::npos) << spool.error();
  EXPECT_LE(spool.bytes(), 2000);
  spool.Acknowledge(next - 1);
  EXPECT_TRUE(spool.Append(Batch(next, next)));
}

TEST_F(SpoolTest, OnAFullDiskItSaysSoKeepsWhatItHadAndStillTakesTheExitReport) {
  const fs::path mount = folder_.path() / "small";
  fs::create_directory(mount);
  const SmallDisk disk(mount, 256);
  if (!disk.mounted()) GTEST_SKIP() << "mounting is not permitted here";
  SpoolOptions options = Options();
  options.folder = mount / "spool";
  Spool spool(options);
  int64_t next = 1;
  while (spool.Append(Batch(next, next + 99))) {
    next += 100;
    ASSERT_LT(next, 1'000'000);
  }
  EXPECT_NE(spool.error().find("No space left"), std::string::npos) << spool.error();
  v1::RankExit exit;
  exit.set_message(std::string(100'000, 'x'));
  spool.WriteExit(exit);
  SpoolReader reader(options.folder, 3);
  int64_t last = 0;
  reader.ReadBatches([&](const v1::MetricBatch& batch) { last = LastSequence(batch); });
  EXPECT_EQ(last, next - 1);
  EXPECT_EQ(reader.damaged_bytes(), 0) << "what did not fit is not left in the file";
  ASSERT_TRUE(reader.ReadExit());
  EXPECT_TRUE(reader.ReadExit()->message().starts_with("xxx"));
  // Room again: it goes on.
  spool.Acknowledge(next - 1);
  EXPECT_TRUE(spool.Append(Batch(next, next)));
}

TEST_F(SpoolTest, ARankThatDidNotSayHowItLeftHasNoExitReport) {
  Spool spool(Options());
  EXPECT_FALSE(SpoolReader(Options().folder, 3).ReadExit());
  v1::RankExit exit;
  exit.set_message("done");
  spool.WriteExit(exit);
  EXPECT_EQ(SpoolReader(Options().folder, 3).ReadExit()->message(), "done");
}

TEST_F(SpoolTest, RanksDoNotTouchEachOthersFiles) {
  SpoolOptions other = Options();
  other.rank = 30;
  Spool first(Options()), second(other);
  ASSERT_TRUE(first.Append(Batch(1, 1)));
  ASSERT_TRUE(second.Append(Batch(1, 2)));
  EXPECT_EQ(SpooledRanks(Options().folder), (std::vector<int>{3, 30}));
  second.Remove();
  EXPECT_EQ(SpooledRanks(Options().folder), std::vector<int>{3});
  EXPECT_EQ(Found(), std::vector<std::string>{"1-1"});
  first.Remove();
  EXPECT_FALSE(fs::exists(Options().folder));
  EXPECT_TRUE(SpooledRanks(Options().folder).empty());
}

}  // namespace
}  // namespace syncbn::report
