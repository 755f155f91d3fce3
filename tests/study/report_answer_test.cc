#include "study/report_answer.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "study/cell_figure.h"
#include "tests/study/support.h"

namespace syncbn::study {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// Steps to a target by seed, and where those trials ended that did not reach it: a negative number.
using Steps = std::vector<int64_t>;

constexpr const char* kTarget =
    "targets:\n  - {name: half, metric: test_accuracy, at_least: 0.5}\n"
    "claims:\n"
    "  - {text: fewer, measure: steps_to half, arm: {batch: 2}, against: {batch: 4}, supported: "
    "{below: 0}}\n";

// Batches 2, 4 and 8 of as many seeds as they have steps; a batch without steps is not there.
class Study {
 public:
  Study(const Steps& two, const Steps& four, const Steps& eight = {})
      : steps_{two, four, eight}, plan_(testing::Parse(Text())), results_(Results()) {}

  std::string First() const {
    const Outlook outlook(plan_, results_);
    return Answer(plan_, outlook, {}).at(0);
  }
  Verdict ClaimVerdict() const {
    return Judge(plan_, Outlook(plan_, results_)).at(0).verdict.value();
  }

 private:
  std::string Text() const {
    std::string text =
        testing::SmallStudy(steps_[2].empty() ? "skip:\n  - {where: {batch: 8}}\n" : "") + kTarget;
    return testing::OfSeeds(text, steps_[0].size());
  }
  std::map<std::string, TrialRecord> Results() const {
    const auto& seeds = plan_.file().seeds;
    return testing::ResultsOf(plan_, [&](const Trial& trial) {
      const auto at = std::ranges::find(seeds, trial.seed) - seeds.begin();
      const auto level = static_cast<size_t>(plan_.cells()[trial.cell].levels[0]);
      const int64_t steps = steps_[level].at(static_cast<size_t>(at));
      TrialRecord record{.steps = std::abs(steps), .classes = 10};
      record.test.push_back({.steps = std::abs(steps), .accuracy = steps > 0 ? 0.6 : 0.4});
      return record;
    });
  }

  std::vector<Steps> steps_;
  const Plan plan_;
  const std::map<std::string, TrialRecord> results_;
};

TEST(AnswerOfAReport, DoesNotCallACellWorseWhoseTrialsEndedBeforeTheOtherGotThere) {
  // Some came sooner, and the others ended before the first cell got there.
  const Study study({282, 250, 300, 282, 290}, {126, 142, -189, -189, -189});
  EXPECT_EQ(study.ClaimVerdict(), Verdict::kInconclusive);
  EXPECT_THAT(study.First(),
              AllOf(StartsWith("Reaches half in the fewest steps of the cells that reach it with "
                               "each seed: batch 2: 280.8 "),
                    EndsWith("; the seeds do not tell it apart from the other cell: 3 of 5 seeds "
                             "of batch 4 did not reach it before their end, so which comes first "
                             "is not known.")));
}

TEST(AnswerOfAReport, DoesNotCallACellWorseOfWhichOnePairCannotBeOrdered) {
  const Study study({63, 63, 25, 75, 63}, {60, 60, -60, -60, 60});
  EXPECT_EQ(study.ClaimVerdict(), Verdict::kInconclusive);
  EXPECT_THAT(study.First(), HasSubstr("do not tell it apart from the other cell: 2 of 5 seeds"));
}

TEST(AnswerOfAReport, CallsACellWorseWhoseTrialsAllWentOnLongerThanTheOtherNeeded) {
  const Study study({63, 62, 25, 60, 63}, {-70, 80, -90, -70, 90});
  EXPECT_EQ(study.ClaimVerdict(), Verdict::kSupported);
  EXPECT_THAT(study.First(),
              AllOf(StartsWith("Reaches half in the fewest steps: batch 2: "),
                    EndsWith("; the seeds tell it apart from the other cell: 3 of 5 seeds of batch "
                             "4 did not reach it before their end.")));
}

TEST(AnswerOfAReport, CountsTheCellsThatWereCutOff) {
  const Study study({63, 62, 25, 60, 63}, {-40, 30, -40, -40, 90}, {163, 162, 125, 160, 163});
  EXPECT_THAT(study.First(),
              EndsWith("; the seeds do not tell it apart from 1 of the other 2 cells: of 1 of "
                       "these not all seeds reached it before their end, so which comes first is "
                       "not known."));
}

TEST(AnswerOfAReport, TellsCellsThatAllReachApartByTheirDifferences) {
  EXPECT_THAT(Study({63, 62, 65, 60, 63}, {83, 82, 85, 80, 84}).First(),
              EndsWith("; the seeds tell it apart from the other cell."));
  EXPECT_THAT(Study({63, 62, 65, 60, 63}, {83, 52, 85, 50, 84}).First(),
              EndsWith("; the seeds do not tell it apart from the other cell."));
}

TEST(AnswerOfAReport, ShowsNoIntervalOfFewerSeedsThanAVerdictShouldHave) {
  EXPECT_THAT(Study({8, 24}, {83, 82}).First(),
              StartsWith("Reaches half in the fewest steps: batch 2: 16 of 2 seeds; "));
}

TEST(AnswerOfAReport, SaysThatFewSeedsTellApartAndThatThoseWhichAreAllAlikeDoNot) {
  EXPECT_THAT(Study({8, 24}, {83, 98}).First(),
              EndsWith("; the seeds, fewer than a verdict should have (5), tell it apart from the "
                       "other cell."));
  EXPECT_THAT(Study({8, 24}, {16, 32}).First(),
              EndsWith("; the seeds do not tell it apart from the other cell."));
}

TEST(FigureOfACell, HasNoIntervalBeyondWhatItsMeasureCanBe) {
  const auto figure = [](const std::string& measure, double low, double high) {
    CellFigure cell{.samples = {{1, low}, {2, high}}, .possible = PossibleRangeOf(measure)};
    return cell.Text(measure);
  };
  EXPECT_EQ(figure("steps_to half", 8, 24), "16 [0, 117.6]");
  EXPECT_EQ(figure("test_accuracy", 0.1, 0.2), "15.00 % [0.00, 78.53]");
  EXPECT_EQ(figure("test_accuracy", 0.9, 0.8), "85.00 % [21.47, 100.00]");
  EXPECT_EQ(figure("gap", -1, 1), "0 [-12.71, 12.71]") << "a gap can be anything";
  // A target may have a name of this kind: its steps are no share.
  EXPECT_EQ(figure("steps_to test_accuracy", 20, 24), "22 [0, 47.41]");
}

}  // namespace
}  // namespace syncbn::study
