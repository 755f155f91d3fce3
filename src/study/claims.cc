#include "study/claims.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

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

std::string BoundsText(const v1::BoundsSpec& bounds) {
  if (bounds.has_above() && bounds.has_below()) {
    return "between " + FormatDouble(bounds.above()) + " and " + FormatDouble(bounds.below());
  }
  return bounds.has_above() ? "above " + FormatDouble(bounds.above())
                            : "below " + FormatDouble(bounds.below());
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
      judgement_.as_it_must = judgement_.verdict == must;
    }
    return std::move(judgement_);
  }

 private:
  // Of a trial that counts; what was never reached counts with the end of its run.
  double Sample(const TrialResult& one) {
    if (one.record == nullptr)
      throw Error(ErrorCode::kNotFound, "not all of its trials have ended");
    if (one.record->end == TrialEnd::kFailed) {
      throw Error(ErrorCode::kNotFound, "a trial of it has failed: " + one.record->reason);
    }
    if (claim_.measure() == "tuned") return one.trial.tuned.value_or(std::nan(""));
    const double value = MeasuresOf(*one.record, plan_.file().spec).at(claim_.measure());
    if (!std::isinf(value)) return value;
    ++not_reached_;
    return static_cast<double>(claim_.measure().starts_with("samples_to") ? one.record->samples
                                                                          : one.record->steps);
  }

  // The axes whose values `where` leaves open, and the seed: what pairs a trial with one of the
  // other arm.
  using Key = std::pair<std::vector<int>, uint64_t>;
  std::map<Key, double> Samples(const Settings& where) {
    std::set<std::string> named;
    for (const v1::SettingSpec& setting : where) named.insert(setting.path());
    std::map<Key, double> samples;
    for (const TrialResult& one : outlook_.trials()) {
      const Cell& cell = plan_.cells()[one.trial.cell];
      if (one.trial.tuning || !Matches(plan_, cell, where)) continue;
      std::vector<int> open;
      for (size_t axis = 0; axis < cell.levels.size(); ++axis) {
        if (!named.contains(plan_.file().axes[axis].name)) open.push_back(cell.levels[axis]);
      }
      samples[{std::move(open), one.trial.seed}] = Sample(one);
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

  void Compare() {
    const bool ratio = claim_.compare() == v1::COMPARISON_RATIO;
    const std::map<Key, double> arm = Samples(claim_.arm());
    std::map<Key, double> against;
    judgement_.figure = claim_.measure() + ": " + WhereText(claim_.arm());
    if (!claim_.against().empty()) {
      against = Samples(claim_.against());
      judgement_.figure += (ratio ? " over " : " minus ") + WhereText(claim_.against());
    }
    std::vector<double> a, b;
    for (const auto& [key, value] : arm) {
      if (claim_.against().empty()) {
        a.push_back(value);
        b.push_back(0);
        continue;
      }
      const auto found = against.find(key);
      if (found == against.end()) continue;
      a.push_back(value);
      b.push_back(found->second);
    }
    Note(Plural(static_cast<long long>(a.size()), claim_.against().empty() ? "trial" : "pair"));
    if (claim_.has_equivalent_within()) {
      const double margin = claim_.equivalent_within();
      const Equivalence equivalence =
          ratio ? TestRatioEquivalence(a, b, 1 + margin) : TestEquivalence(a, b, margin);
      judgement_.interval = equivalence.inner;
      judgement_.level = 90;
      judgement_.verdict = Decide(equivalence);
      return;
    }
    judgement_.interval = ratio ? PairedRatio(a, b) : PairedDifference(a, b);
    judgement_.verdict = DecideByBounds(judgement_.interval, claim_);
  }

  void Follow() {
    const std::vector<Axis>& axes = plan_.file().axes;
    size_t over = 0;
    while (axes[over].name != claim_.over()) ++over;
    std::vector<double> x, y;
    for (const TrialResult& one : outlook_.trials()) {
      const Cell& cell = plan_.cells()[one.trial.cell];
      if (one.trial.tuning || !Matches(plan_, cell, claim_.arm())) continue;
      x.push_back(plan_.LevelOf(cell, over).number.value());
      y.push_back(Sample(one));
    }
    if (!AllTuned(claim_.arm())) {
      throw Error(ErrorCode::kNotFound, "not all of its trials have ended");
    }
    const bool slope = claim_.compare() == v1::COMPARISON_LOG_SLOPE;
    judgement_.figure = (slope ? "slope of log " : "rank correlation of ") + claim_.measure() +
                        (slope ? " over log " : " with ") + claim_.over() + ": " +
                        WhereText(claim_.arm());
    Note(Plural(static_cast<long long>(x.size()), "trial"));
    judgement_.interval = slope ? LogLogSlope(x, y) : Spearman(x, y).rho;
    judgement_.verdict = DecideByBounds(judgement_.interval, claim_);
  }

  void Note(std::string samples) {
    if (not_reached_ > 0) {
      samples += "; " + std::to_string(not_reached_) +
                 " did not reach it, and count with the end of their run";
    }
    judgement_.samples = std::move(samples);
  }

  const Plan& plan_;
  const Outlook& outlook_;
  const v1::ClaimSpec& claim_;
  Judgement judgement_;
  int not_reached_ = 0;
};

}  // namespace

std::string RuleText(const v1::ClaimSpec& claim) {
  if (claim.has_equivalent_within()) {
    const double margin = claim.equivalent_within();
    const std::string range =
        claim.compare() == v1::COMPARISON_RATIO
            ? "from " + FormatDouble(1 / (1 + margin)) + " to " + FormatDouble(1 + margin)
            : "from " + FormatDouble(-margin) + " to " + FormatDouble(margin);
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
