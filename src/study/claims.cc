#include "study/claims.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "base/unknown_value.h"
#include "study/bounds.h"
#include "study/claim_samples.h"
#include "study/statistics/equivalence.h"
#include "study/statistics/rank_correlation.h"
#include "study/statistics/slope.h"

namespace syncbn::study {
namespace {

std::string WhereText(const Where& where) {
  std::vector<std::string> parts;
  for (const v1::SettingSpec& setting : where) {
    parts.push_back(setting.path() + " " + setting.value());
  }
  return parts.empty() ? "all trials" : Join(parts, ", ");
}

// The other side of a single bound.
v1::BoundsSpec RefutedOf(const v1::ClaimSpec& claim) {
  if (claim.has_refuted()) return claim.refuted();
  v1::BoundsSpec other;
  if (claim.supported().has_above()) other.set_below(claim.supported().above());
  if (claim.supported().has_below()) other.set_above(claim.supported().below());
  return other;
}

Verdict DecideByBounds(const Interval& interval, const v1::ClaimSpec& claim) {
  if (Within(interval, claim.supported())) return Verdict::kSupported;
  return Within(interval, RefutedOf(claim)) ? Verdict::kRefuted : Verdict::kInconclusive;
}

// What is judged of a trial, or of those along an axis.
std::string SubjectText(const v1::ClaimSpec& claim) {
  if (!claim.has_along()) return claim.measure();
  const v1::AlongSpec& along = claim.along();
  const std::string within = claim.measure() + " " + BoundsText(along.where());
  switch (along.take()) {
    case v1::TAKE_UNSPECIFIED:
    case v1::TAKE_BEST:
      return claim.measure() + " at the best " + along.over();
    case v1::TAKE_LARGEST_VALUE:
      return "largest " + along.over() + " with " + within;
    case v1::TAKE_SMALLEST_VALUE:
      return "smallest " + along.over() + " with " + within;
    case v1::TAKE_SPREAD:
      return "spread of " + claim.measure() + " over " + along.over();
    default:
      ThrowUnknownValue("claims.along.take", static_cast<int>(along.take()));
  }
}

class Judging {
 public:
  Judging(const Plan& plan, const Outlook& outlook, const v1::ClaimSpec& claim)
      : plan_(plan), outlook_(outlook), claim_(claim) {}

  Judgement Run() {
    judgement_.claim = &claim_;
    judgement_.rule = RuleText(claim_);
    judgement_.figure = FigureText(claim_);
    try {
      switch (claim_.compare()) {
        case v1::COMPARISON_UNSPECIFIED:
        case v1::COMPARISON_DIFFERENCE:
        case v1::COMPARISON_ABSOLUTE_DIFFERENCE:
        case v1::COMPARISON_RATIO:
          Compare();
          break;
        case v1::COMPARISON_RANK_CORRELATION:
        case v1::COMPARISON_LOG_SLOPE:
          Follow();
          break;
        case v1::COMPARISON_SAME_BITS:
          CompareBits();
          break;
        default:
          ThrowUnknownValue("claims.compare", static_cast<int>(claim_.compare()));
      }
    } catch (const Error& error) {  // too few samples, or none that can be compared so
      judgement_.why = error.message();
    }
    if (judgement_.of_few_seeds() && HasNoWidth(judgement_.interval)) {
      judgement_.verdict = Verdict::kInconclusive;
      judgement_.samples += "; they are all alike, which of so few is no proof";
    }
    judgement_.by_nothing = !by_nothing_.empty();
    if (claim_.control() != v1::OUTCOME_UNSPECIFIED) {
      const Verdict must =
          claim_.control() == v1::OUTCOME_SUPPORTED ? Verdict::kSupported : Verdict::kRefuted;
      judgement_.as_it_must = !judgement_.verdict || judgement_.verdict == must;
    }
    return std::move(judgement_);
  }

 private:
  ArmSamples Of(const Where& where) {
    LookAtTuning(where);
    ArmSamples samples = SamplesOf(plan_, outlook_, claim_, where);
    diverged_ += samples.diverged;
    at_least_ += samples.at_least;
    at_most_ += samples.at_most;
    return samples;
  }

  void LookAtTuning(const Where& where) {
    for (size_t cell = 0; cell < outlook_.tuned().size(); ++cell) {
      if (outlook_.tuned()[cell].by_nothing.empty()) continue;
      if (Matches(plan_, plan_.cells()[cell], where)) by_nothing_.insert(cell);
    }
  }

  // The cells that nothing was known of when they were given what is tuned.
  std::string TuningText() const {
    if (by_nothing_.empty()) return "";
    return "; the tuning had nothing to choose from in " +
           Plural(static_cast<long long>(by_nothing_.size()), "cell");
  }

  void Compare() {
    const bool ratio = claim_.compare() == v1::COMPARISON_RATIO;
    const ArmSamples arm = Of(claim_.arm());
    std::vector<double> a = arm.Means(ratio), b(a.size(), 0);
    // Beyond what is known, the figure may be anything on these sides.
    bool open_above = arm.at_least > 0, open_below = arm.at_most > 0;
    const auto subtract = [&](const Where& where, double share) {
      const ArmSamples samples = Of(where);
      const std::vector<double> means = samples.Means(ratio);
      for (size_t i = 0; i < a.size(); ++i) b.at(i) += share * means.at(i);
      open_above = open_above || (share > 0 ? samples.at_most : samples.at_least) > 0;
      open_below = open_below || (share > 0 ? samples.at_least : samples.at_most) > 0;
    };
    if (!claim_.against().empty()) subtract(claim_.against(), 1);
    if (claim_.compare() == v1::COMPARISON_ABSOLUTE_DIFFERENCE) {
      for (size_t i = 0; i < a.size(); ++i) a[i] = std::abs(a[i] - std::exchange(b.at(i), 0));
      open_above = open_above || open_below;
      open_below = false;
    }
    if (claim_.has_less()) {
      RequireLoss();
      subtract(claim_.less().arm(), claim_.less().share());
      subtract(claim_.less().against(), -claim_.less().share());
    }
    const size_t settings = arm.settings();
    Note(arm.by_seed.size(),
         settings > 1 ? "each the mean over " + std::to_string(settings) + " settings" : "");
    if (claim_.has_equivalent_within()) {
      if (open_above || open_below) {
        throw Error(ErrorCode::kNotFound, "trials that did not reach it cannot be equal");
      }
      const double margin = claim_.equivalent_within();
      const Equivalence equivalence =
          ratio ? TestRatioEquivalence(a, b, 1 + margin) : TestEquivalence(a, b, margin);
      judgement_.interval = equivalence.inner;
      judgement_.level = 90;
      judgement_.verdict = Decide(equivalence);
      return;
    }
    judgement_.interval = PairedInterval(a, b, ratio, {.below = open_below, .above = open_above});
    judgement_.verdict = DecideByBounds(judgement_.interval, claim_);
  }

  // A share of what is not there would be any figure's.
  void RequireLoss() {
    const std::vector<double> arm = Of(claim_.less().arm()).Means(false);
    const std::vector<double> against = Of(claim_.less().against()).Means(false);
    const Interval loss = PairedDifference(arm, against);
    if (loss.low > 0) return;
    throw Error(ErrorCode::kNotFound, "the difference that a share is taken of is not above 0: " +
                                          BoundText(loss.low) + " to " + BoundText(loss.high));
  }

  // Those that did not reach it rank last, where no run reached it later than another ended.
  static void RequireRanks(const ArmSamples& samples) {
    for (const auto& [seed, trials] : samples.by_seed) {
      double shortest = std::numeric_limits<double>::infinity(), latest = -shortest;
      for (const auto& [open, sample] : trials) {
        if (sample.beyond == Beyond::kNo) {
          latest = std::max(latest, sample.value);
        } else {
          shortest = std::min(shortest, sample.value);
        }
      }
      if (latest <= shortest) continue;
      throw Error(ErrorCode::kNotFound,
                  "a trial reached it later than another ended that did not: which comes first is "
                  "not known");
    }
  }

  void Follow() {
    const bool slope = claim_.compare() == v1::COMPARISON_LOG_SLOPE;
    const ArmSamples samples = Of(claim_.arm());
    const std::vector<Axis>& axes = plan_.file().axes;
    const auto over = std::ranges::find_if(
        samples.open, [&](size_t axis) { return axes[axis].name == claim_.over(); });
    const auto at = static_cast<size_t>(over - samples.open.begin());
    const bool unknown = samples.at_least + samples.at_most > 0;
    if (slope && unknown) {
      throw Error(ErrorCode::kNotFound, "a slope over trials that did not reach it is not known");
    }
    RequireRanks(samples);
    double last = 0;
    for (const auto& [seed, trials] : samples.by_seed) {
      for (const auto& [open, sample] : trials) last = std::max(last, sample.value);
    }
    std::vector<double> figures;
    size_t points = 0;
    for (const auto& [seed, trials] : samples.by_seed) {
      std::vector<double> x, y;
      for (const auto& [open, sample] : trials) {
        const double value = *axes[*over].levels[static_cast<size_t>(open[at])].number;
        if (claim_.has_range() && !Contains(claim_.range(), value)) continue;
        x.push_back(value);
        y.push_back(sample.beyond == Beyond::kNo ? sample.value : last + 1);
      }
      points = x.size();
      figures.push_back(slope ? LogLogSlope(x, y).estimate : Spearman(x, y).rho.estimate);
    }
    Note(samples.by_seed.size(), "each over " + std::to_string(points) + " settings");
    judgement_.interval = MeanInterval(figures);
    if (!slope) {  // no correlation is beyond these
      judgement_.interval.low = std::max(judgement_.interval.low, -1.0);
      judgement_.interval.high = std::min(judgement_.interval.high, 1.0);
    }
    judgement_.verdict = DecideByBounds(judgement_.interval, claim_);
  }

  void CompareBits() {
    LookAtTuning(claim_.arm());
    LookAtTuning(claim_.against());
    const auto arm = TrialsOf(plan_, outlook_, claim_.arm());
    const auto against = TrialsOf(plan_, outlook_, claim_.against());
    int64_t pairs = 0, different = 0;
    std::string first;
    for (const auto& [seed, trials] : arm) {
      for (const auto& [open, trial] : trials) {
        const TrialResult& other = *against.at(seed).at(open);
        ++pairs;
        if (trial->record->digest == other.record->digest) continue;
        if (++different == 1) first = trial->id + " and " + other.id;
      }
    }
    judgement_.level = 0;
    const auto count = static_cast<double>(different);
    judgement_.interval = {.low = count, .estimate = count, .high = count};
    judgement_.samples =
        Plural(pairs, "pair") + (first.empty() ? "" : "; the first: " + first) + TuningText();
    judgement_.verdict = different == 0 ? Verdict::kSupported : Verdict::kRefuted;
  }

  void Note(size_t seeds, const std::string& each) {
    std::string text = Plural(static_cast<long long>(seeds), "seed");
    // What a run sends and holds is the same with every seed.
    const bool exact = std::ranges::find(SizeMeasures(), claim_.measure()) != SizeMeasures().end();
    if (!exact) judgement_.seeds = seeds;
    if (!exact && seeds < kFewestSeeds)
      text += ", fewer than a verdict should have (" + std::to_string(kFewestSeeds) + ")";
    if (!each.empty()) text += ", " + each;
    if (diverged_ > 0) text += "; " + Plural(diverged_, "trial") + " diverged";
    const bool values = claim_.has_along() && claim_.along().take() != v1::TAKE_BEST;
    const bool ranks = claim_.compare() == v1::COMPARISON_RANK_CORRELATION;
    const std::string after = ranks ? " and come last" : ": the interval is open on that side";
    if (const int beyond = at_least_ + at_most_; beyond > 0) {
      text += "; " + (values ? Plural(beyond, "figure") + (beyond == 1 ? " lies" : " lie") +
                                   " beyond the axis: the interval is open on that side"
                             : Plural(beyond, "trial") + " did not reach it" + after);
    }
    judgement_.samples = std::move(text) + TuningText();
  }

  const Plan& plan_;
  const Outlook& outlook_;
  const v1::ClaimSpec& claim_;
  Judgement judgement_;
  int diverged_ = 0, at_least_ = 0, at_most_ = 0;
  std::set<size_t> by_nothing_;
};

}  // namespace

std::string RuleText(const v1::ClaimSpec& claim) {
  if (claim.compare() == v1::COMPARISON_SAME_BITS) {
    return "supported where every pair of trials ends in the same bits; refuted where one does not";
  }
  if (claim.has_equivalent_within()) {
    const double margin = claim.equivalent_within();
    const std::string range =
        claim.compare() == v1::COMPARISON_RATIO
            ? "from " + BoundText(1 / (1 + margin)) + " to " + BoundText(1 + margin)
            : "from " + BoundText(-margin) + " to " + BoundText(margin);
    return "supported where the 90 % interval lies " + range +
           "; refuted where the 95 % interval lies outside of it";
  }
  return "supported where the whole 95 % interval is " + BoundsText(claim.supported()) +
         "; refuted where it is " + BoundsText(RefutedOf(claim));
}

std::string FigureText(const v1::ClaimSpec& claim) {
  if (claim.compare() == v1::COMPARISON_SAME_BITS) {
    return "pairs that differ: " + WhereText(claim.arm()) + " and " + WhereText(claim.against());
  }
  if (claim.compare() == v1::COMPARISON_RANK_CORRELATION ||
      claim.compare() == v1::COMPARISON_LOG_SLOPE) {
    const bool slope = claim.compare() == v1::COMPARISON_LOG_SLOPE;
    return std::string(slope ? "slope of log " : "rank correlation of ") + SubjectText(claim) +
           (slope ? " over log " : " with ") + claim.over() +
           (claim.has_range() ? " " + BoundsText(claim.range()) : "") + ": " +
           WhereText(claim.arm());
  }
  const bool ratio = claim.compare() == v1::COMPARISON_RATIO;
  if (claim.compare() == v1::COMPARISON_ABSOLUTE_DIFFERENCE) {
    return SubjectText(claim) + ": distance of " + WhereText(claim.arm()) + " from " +
           WhereText(claim.against());
  }
  std::string text = SubjectText(claim) + ": " + WhereText(claim.arm());
  if (!claim.against().empty()) {
    text += (ratio ? " over " : " minus ") + WhereText(claim.against());
  }
  if (claim.has_less()) {
    text += ", less " + BoundText(claim.less().share()) + " of " + WhereText(claim.less().arm()) +
            " minus " + WhereText(claim.less().against());
  }
  return text;
}

std::string FewSeedsText(std::span<const Judgement> judgements) {
  const auto few = std::ranges::count_if(judgements, &Judgement::of_few_seeds);
  if (few == 0) return "";
  return std::to_string(few) + " of these verdicts " + (few == 1 ? "rests" : "rest") +
         " on fewer seeds than a verdict should have (" + std::to_string(kFewestSeeds) + ").";
}

std::vector<Judgement> Judge(const Plan& plan, const Outlook& outlook) {
  std::vector<Judgement> all;
  for (const v1::ClaimSpec& claim : plan.file().spec.claims()) {
    all.push_back(Judging(plan, outlook, claim).Run());
  }
  return all;
}

}  // namespace syncbn::study
