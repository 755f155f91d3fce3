#include "study/result_log.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>

#include "base/error.h"
#include "base/file.h"
#include "tests/study/support.h"
#include "tests/support/temp_folder.h"

namespace syncbn::study {
namespace {

TEST(ResultLog, ALineReadsBackAsTheSameRecordToTheBit) {
  TrialRecord record = testing::Finished(1.0 / 3, 0.1 + 0.2, "abc");
  record.reason = "two\nlines, \"quoted\" and \xff";
  record.test[0].loss = std::numeric_limits<double>::infinity();
  record.test[1].loss = std::nan("");
  record.sizes = {{"parameters", 0.1 + 0.2}};
  record.place = {
      .hosts = {"a", "b"}, .processor = "p", .cores = 3, .ended = "2026-11-29T10:00:00Z"};
  const auto [id, back] = FromJsonLine(ToJsonLine("id1", record));
  EXPECT_EQ(back.sizes, record.sizes);
  EXPECT_EQ(back.place.hosts, record.place.hosts);
  EXPECT_EQ(back.place.processor, "p");
  EXPECT_EQ(back.place.cores, 3);
  EXPECT_EQ(back.place.ended, record.place.ended);
  EXPECT_EQ(id, "id1");
  EXPECT_EQ(back.test[0].accuracy, 1.0 / 3);
  EXPECT_EQ(back.test[1].accuracy, 0.1 + 0.2);
  EXPECT_EQ(back.test[0].loss, std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan(back.test[1].loss));
  EXPECT_EQ(back.samples, record.samples);
  EXPECT_EQ(back.digest, "abc");
  EXPECT_EQ(back.timings, record.timings);
  EXPECT_TRUE(back.reason.starts_with("two\nlines, \"quoted\"")) << back.reason;
}

TEST(ResultLog, WhatWasAddedIsThereAndATornLastLineIsCutOff) {
  TempFolder folder;
  const auto path = folder.path() / "results.jsonl";
  {
    ResultLog log(path);
    log.Add("a", testing::Finished(0.1, 0.2));
    log.Add("b", testing::Finished(0.3, 0.4));
  }
  const std::string whole = ReadFile(path);
  std::ofstream(path, std::ios::app) << ToJsonLine("c", testing::Finished(0.5, 0.6)).substr(0, 40);
  EXPECT_EQ(ReadResults(path).size(), 2u);
  {
    ResultLog log(path);
    EXPECT_EQ(log.results().size(), 2u);
    EXPECT_EQ(log.Find("c"), nullptr);
    EXPECT_EQ(log.Find("b")->test[1].accuracy, 0.4);
    log.Add("c", testing::Finished(0.5, 0.6));
  }
  EXPECT_EQ(ReadFile(path), whole + ToJsonLine("c", testing::Finished(0.5, 0.6)));
}

TEST(ResultLog, ADamagedLineIsNamedAndNothingIsLost) {
  TempFolder folder;
  const auto path = folder.path() / "results.jsonl";
  std::ofstream(path) << ToJsonLine("a", testing::Finished(0.1, 0.2)) << "{\"id\": 3}\n";
  const std::string before = ReadFile(path);
  try {
    ResultLog log(path);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kDataLoss);
    EXPECT_NE(error.message().find("results.jsonl:2: "), std::string::npos) << error.message();
  }
  EXPECT_EQ(ReadFile(path), before);
}

TEST(ResultLog, AFigureThatWasChangedIsNotBelieved) {
  const std::string line = ToJsonLine("a", testing::Finished(0.25, 0.5));
  std::string changed = line;
  changed.replace(changed.find("0.25"), 4, "0.95");
  try {
    FromJsonLine(changed);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kDataLoss);
    EXPECT_EQ(error.message(), "is damaged: its figures are not those that were written");
  }
  // One of an earlier program.
  const std::string without = line.substr(0, line.find(",\"sum\"")) + "}";
  EXPECT_EQ(FromJsonLine(without).second.test[0].accuracy, 0.25);
}

TEST(ResultLog, WhatAnotherProgramHasComputedIsNotCountedAndTheLaterLineWins) {
  TempFolder folder;
  const auto path = folder.path() / "results.jsonl";
  TrialRecord other = testing::Finished(0.1, 0.2), own = testing::Finished(0.3, 0.4);
  other.by = "reference";
  own.by = "cpu";
  ResultLog log(path);
  log.Add("a", other);
  log.Add("b", own);
  EXPECT_EQ(log.KeepOnly("cpu"), 1u);
  EXPECT_EQ(log.Find("a"), nullptr);
  EXPECT_NE(log.Find("b"), nullptr);
  log.Add("a", own);
  EXPECT_EQ(ReadResults(path).at("a").test[1].accuracy, 0.4);
}

TEST(ResultLog, AStudyIsRunByOneProcessAtATime) {
  TempFolder folder;
  ResultLog log(folder.path() / "results.jsonl");
  try {
    ResultLog second(folder.path() / "results.jsonl");
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kFailedPrecondition);
  }
}

}  // namespace
}  // namespace syncbn::study
