#include "app/forecast/forecast_text.h"

#include <gmock/gmock.h>

namespace syncbn::app {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// Of a study whose law rests on SGD batches up to 32, of those up to 64 on one process.
std::string TextOf(const std::string& contradiction) {
  forecast::NoiseSource source{.law = {.estimate = {.steps_min = 10, .noise_scale = 320}},
                               .noise_scale = {.low = 320, .estimate = 320, .high = 320},
                               .description = "study s",
                               .largest_batch = 32,
                               .contradiction = contradiction};
  source.law.no_draws = "a reason";
  const std::vector<forecast::Setting> settings = {{16, 1, 1}, {32, 1, 1}, {64, 1, 1}};
  return TargetText(source, forecast::PredictTimes(source.law, settings, source.most_advised()),
                    Terminal());
}

TEST(TargetText, MarksWhatIsBeyondTheBatchesOfAStudy) {
  EXPECT_THAT(TextOf(""),
              AllOf(HasSubstr(" 64*  "), Not(HasSubstr("32*")),
                    HasSubstr("* extrapolated: beyond 32, the largest SGD batch that the law rests "
                              "on\n"),
                    HasSubstr("Quickest: an SGD batch of 64 samples on 1 process: 60 steps of 1.00 "
                              "s, 60.0 s, which is\nextrapolated."),
                    Not(HasSubstr("Caution"))));
}

TEST(TargetText, AdvisesNoBatchBeyondThemWhereTheLawContradictsTheStudy) {
  EXPECT_THAT(TextOf("the law contradicts the study: it has 60 steps at an SGD batch of 64"),
              AllOf(HasSubstr("Caution: the law contradicts the study: it has 60 steps at an SGD "
                              "batch of 64. No SGD batch beyond\n32 is advised.\n"),
                    HasSubstr("Quickest: an SGD batch of 32 samples on 1 process: 110 steps")));
}

TEST(TargetText, SaysWhyTheNoiseScaleHasNoInterval) {
  EXPECT_THAT(TextOf(""), AllOf(HasSubstr("B_noise =\n320, S_min = 10, from study s"),
                                HasSubstr("the noise scale has no"), HasSubstr("as a reason.")));
}

}  // namespace
}  // namespace syncbn::app
