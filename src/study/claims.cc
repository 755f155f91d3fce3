#include "study/claims.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <map>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "base/unknown_value.h"
#include "study/statistics/equivalence.h"
#include "study/statistics/rank_correlation.h"
#include "study/statistics/slope.h"

namespace syncbn::study {
namespace {

using Settings = google::protobuf::RepeatedPtrField<v1::SettingSpec>;

std::string WhereText(const Settings& where) {
  std::vector<std::string> parts;
  for (const v1::SettingSpec& setting : where) {
    parts.push_back(setting.path() + " " + setting.value());
  }
  return parts.empty() ? "all trials" : Join(parts, ", ");
}

std::string BoundText(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

std::string BoundsText(const v1::BoundsSpec& bounds) {
  if (bounds.has_above() && bounds.has_below()) {
    return "between " + BoundText(bounds.above()) + " and " + BoundText(bounds.below());
  }
  return bounds.has_above() ? "above " + BoundText(bounds.above())
                            : "below " + BoundText(bounds.below());
}

// The other side of a single bound.
v1::BoundsSpec RefutedOf(const v1::ClaimSpec& claim) {
  if (claim.has_refuted()) return claim.refuted();
  v1::BoundsSpec other;
  if (claim.supported().has_above()) other.set_below(claim.supported().above());
  if (claim.supported().has_below()) other.set_above(claim.supported().below());
  return other;
}

// Whether the whole interval is within the bounds.
bool Within(const Interval& interval, const v1::BoundsSpec& bounds) {
  return (!bounds.has_above() || interval.low > bounds.above()) &&
         (!bounds.has_below() || interval.high < bounds.below());
}

Verdict DecideByBounds(const Interval& interval, const v1::ClaimSpec& claim) {
  if (Within(interval, claim.supported())) return Verdict::kSupported;
  return Within(interval, RefutedOf(claim)) ? Verdict::kRefuted : Verdict::kInconclusive;
}

class Judging {
 public:
  Judging(const Plan& plan, const Outlook& outlook, const v1::ClaimSpec& claim)
      : plan_(plan), outlook_(outlook), claim_(claim) {}

  Judgement Run() {
    judgement_.claim = &claim_;
    judgement_.rule = RuleText(claim_);
    try {
      switch (claim_.compare()) {
        case v1::COMPARISON_UNSPECIFIED:
        case v1::COMPARISON_DIFFERENCE:
        case v1::COMPARISON_RATIO:
          Compare();
          break;
        case v1::COMPARISON_RANK_CORRELATION:
        case v1::COMPARISON_LOG_SLOPE:
          Follow();
          break;
        default:
          ThrowUnknownValue("claims.compare", static_cast<int>(claim_.compare()));
      }
    } catch (const Error& error) {  // too few samples, or none that can be compared so
      judgement_.why = error.message();
    }
    if (claim_.control() != v1::OUTCOME_UNSPECIFIED) {
      const Verdict must =
          claim_.control() == v1::OUTCOME_SUPPORTED ? Verdict::kSupported : Verdict::kRefuted;
      judgement_.as_it_must = !judgement_.verdict || judgement_.verdict == must;
    }
    return std::move(judgement_);
  }

 private:
  // What a trial has of the measure. Of a target that was not reached it is known only that it
  // comes later: later than the longest run of the claim.
  struct Sample {
    double value = 0;
    bool later = false;
  };
  // By seed, then by the levels of the axes that the arm leaves open.
  using Samples = std::map<uint64_t, std::map<std::vector<int>, Sample>>;

  Sample SampleOf(const TrialResult& one) {
    if (one.record == nullptr)
      throw Error(ErrorCode::kNotFound, "not all of its trials have ended");
    if (one.record->end == TrialEnd::kFailed) {
      throw Error(ErrorCode::kNotFound, "a trial of it has failed: " + one.record->reason);
    }
    diverged_ += one.record->end == TrialEnd::kDiverged ? 1 : 0;
    const double value = MeasuresOf(*one.record, plan_.file().spec).at(claim_.measure());
    if (std::isnan(value)) throw Error(ErrorCode::kNotFound, "a trial of it was not evaluated");
    if (!std::isinf(value)) return {value, false};
    ++not_reached_;
    return {Longest(), true};
  }

  // Steps (or samples) of the longest run that the claim is about.
  double Longest() const {
    const bool samples = claim_.measure().starts_with("samples_to");
    int64_t longest = 1;
    for (const TrialResult& one : outlook_.trials()) {
      const Cell& cell = plan_.cells()[one.trial.cell];
      if (one.trial.tuning || one.record == nullptr) continue;
      if (!Matches(plan_, cell, claim_.arm()) &&
          (claim_.against().empty() || !Matches(plan_, cell, claim_.against()))) {
        continue;
      }
      longest = std::max(longest, samples ? one.record->samples : one.record->steps);
    }
    return static_cast<double>(longest);
  }

  Samples SamplesOf(const Settings& where) {
    Samples samples;
    for (const TrialResult& one : outlook_.trials()) {
      const Cell& cell = plan_.cells()[one.trial.cell];
      if (one.trial.tuning || !Matches(plan_, cell, where)) continue;
      samples[one.trial.seed][OpenLevelsOf(plan_, cell, where)] = SampleOf(one);
    }
    if (samples.empty() || !AllTuned(where)) {
      throw Error(ErrorCode::kNotFound, "not all of its trials have ended");
    }
    return samples;
  }

  // A cell whose tuned value is not found yet has no trials at all.
  bool AllTuned(const Settings& where) const {
    for (size_t cell = 0; cell < outlook_.tuned().size(); ++cell) {
      if (!outlook_.tuned()[cell].value && Matches(plan_, plan_.cells()[cell], where)) return false;
    }
    return true;
  }

  // Seeds are what is repeated: trials of one seed under other open settings are no further
  // evidence, but its mean (geometric, of ratios).
  static std::vector<double> MeansOf(const Samples& samples, bool geometric) {
    std::vector<double> means;
    for (const auto& [seed, trials] : samples) {
      double sum = 0;
      for (const auto& [open, sample] : trials) {
        if (geometric && !(sample.value > 0)) {
          throw Error(ErrorCode::kNotFound, "a ratio needs figures above 0");
        }
        sum += geometric ? std::log(sample.value) : sample.value;
      }
      const double mean = sum / static_cast<double>(trials.size());
      means.push_back(geometric ? std::exp(mean) : mean);
    }
    return means;
  }

  void Compare() {
    const bool ratio = claim_.compare() == v1::COMPARISON_RATIO;
    judgement_.figure = claim_.measure() + ": " + WhereText(claim_.arm());
    const Samples arm = SamplesOf(claim_.arm());
    const int arm_later = std::exchange(not_reached_, 0);
    std::vector<double> a = MeansOf(arm, ratio), b(a.size(), 0);
    if (!claim_.against().empty()) {
      judgement_.figure += (ratio ? " over " : " minus ") + WhereText(claim_.against());
      b = MeansOf(SamplesOf(claim_.against()), ratio);
    }
    const int against_later = not_reached_;
    const size_t settings = arm.begin()->second.size();
    Note(arm, arm_later + against_later,
         settings > 1 ? "each the mean over " + std::to_string(settings) + " settings" : "");
    if (claim_.has_equivalent_within()) {
      if (arm_later + against_later > 0) {
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
    judgement_.interval = ratio ? PairedRatio(a, b) : PairedDifference(a, b);
    constexpr double kOpen = std::numeric_limits<double>::infinity();
    if (arm_later > 0) judgement_.interval.high = kOpen;
    if (against_later > 0) judgement_.interval.low = ratio ? 0 : -kOpen;
    judgement_.verdict = DecideByBounds(judgement_.interval, claim_);
  }

  void Follow() {
    const bool slope = claim_.compare() == v1::COMPARISON_LOG_SLOPE;
    judgement_.figure = std::string(slope ? "slope of log " : "rank correlation of ") +
                        claim_.measure() + (slope ? " over log " : " with ") + claim_.over() +
                        ": " + WhereText(claim_.arm());
    // Which of the open levels is that of the axis, of a cell's.
    const std::vector<Axis>& axes = plan_.file().axes;
    size_t over = 0, at = 0;
    while (axes[over].name != claim_.over()) {
      const bool named = std::ranges::any_of(claim_.arm(), [&](const v1::SettingSpec& setting) {
        return setting.path() == axes[over].name;
      });
      at += named ? 0 : 1;
      ++over;
    }
    const Samples samples = SamplesOf(claim_.arm());
    Note(samples, not_reached_,
         "each over " + std::to_string(samples.begin()->second.size()) + " settings");
    if (slope && not_reached_ > 0) {
      throw Error(ErrorCode::kNotFound, "a slope over trials that did not reach it is not known");
    }
    std::vector<double> figures;
    for (const auto& [seed, trials] : samples) {
      std::vector<double> x, y;
      for (const auto& [open, sample] : trials) {
        x.push_back(*axes[over].levels[static_cast<size_t>(open[at])].number);
        y.push_back(sample.value);
      }
      figures.push_back(slope ? LogLogSlope(x, y).estimate : Spearman(x, y).rho.estimate);
    }
    judgement_.interval = MeanInterval(figures);
    if (!slope) {  // no correlation is beyond these
      judgement_.interval.low = std::max(judgement_.interval.low, -1.0);
      judgement_.interval.high = std::min(judgement_.interval.high, 1.0);
    }
    judgement_.verdict = DecideByBounds(judgement_.interval, claim_);
  }

  void Note(const Samples& samples, int not_reached, const std::string& each) {
    constexpr size_t kFewest = 5;  // seeds that a verdict should have
    std::string text = Plural(static_cast<long long>(samples.size()), "seed");
    if (samples.size() < kFewest) text += ", fewer than a verdict should have (5)";
    if (!each.empty()) text += ", " + each;
    if (diverged_ > 0) text += "; " + Plural(diverged_, "trial") + " diverged";
    if (not_reached > 0) {
      text += "; " + Plural(not_reached, "trial") +
              " did not reach it: the interval is open on that side";
    }
    judgement_.samples = std::move(text);
  }

  const Plan& plan_;
  const Outlook& outlook_;
  const v1::ClaimSpec& claim_;
  Judgement judgement_;
  int not_reached_ = 0, diverged_ = 0;
};

}  // namespace

std::string RuleText(const v1::ClaimSpec& claim) {
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

std::vector<Judgement> Judge(const Plan& plan, const Outlook& outlook) {
  std::vector<Judgement> all;
  for (const v1::ClaimSpec& claim : plan.file().spec.claims()) {
    all.push_back(Judging(plan, outlook, claim).Run());
  }
  return all;
}

}  // namespace syncbn::study
