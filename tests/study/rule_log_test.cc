#include "study/rule_log.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "tests/study/support.h"
#include "tests/support/temp_folder.h"

namespace syncbn::study {
namespace {

v1::StudySpec WithBound(const char* above) {
  return testing::Parse(
             testing::SmallStudy(std::string("claims:\n  - {text: c, arm: {batch: 8}, against: "
                                             "{batch: 2}, supported: {above: ") +
                                 above + "}}\n"))
      .spec;
}

TEST(RuleLog, RulesThatWereChangedBeforeAnyResultOrNotAtAllNeedNoRemark) {
  TempFolder folder;
  const auto path = folder.path() / "rules.jsonl";
  EXPECT_EQ(RulesRemark(ReadRules(path)), "");
  NoteRules(path, WithBound("0.1"), 0, "2026-11-29T10:00:00Z");
  NoteRules(path, WithBound("0.2"), 0, "2026-11-29T10:01:00Z");
  NoteRules(path, WithBound("0.2"), 7, "2026-11-29T10:02:00Z");
  EXPECT_EQ(ReadRules(path).size(), 2u);
  EXPECT_EQ(RulesRemark(ReadRules(path)), "");
}

TEST(RuleLog, RulesThatWereChangedAfterResultsAreSaidAlsoWhenChangedBack) {
  TempFolder folder;
  const auto path = folder.path() / "rules.jsonl";
  NoteRules(path, WithBound("0.1"), 0, "2026-11-29T10:00:00Z");
  NoteRules(path, WithBound("-0.5"), 9, "2026-11-30T10:00:00Z");
  EXPECT_EQ(
      RulesRemark(ReadRules(path)),
      "The rules were changed after 9 trials had ended (2026-11-30): the verdicts are not of rules "
      "that stood before.");
  NoteRules(path, WithBound("0.1"), 9, "2026-12-01T10:00:00Z");
  EXPECT_NE(RulesRemark(ReadRules(path)), "");
}

TEST(RuleLog, ADamagedLineIsNamed) {
  TempFolder folder;
  std::ofstream(folder.path() / "rules.jsonl") << "{}\n";
  EXPECT_THROW(ReadRules(folder.path() / "rules.jsonl"), Error);
}

}  // namespace
}  // namespace syncbn::study
