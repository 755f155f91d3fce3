#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/text.h"
#include "config/character.h"
#include "study/bounds.h"
#include "study/measures.h"
#include "study/study_check.h"

namespace syncbn::study {
namespace {

// Whether a table and a console can show it as one line.
bool IsOneLine(std::string_view text) {
  while (!text.empty()) {
    const size_t bytes = std::max<size_t>(1, Utf8CharacterLength(text));
    const char32_t code = config::CodePoint(text.substr(0, bytes));
    if (config::IsControl(code) || code == 0x2028 || code == 0x2029) return false;
    text.remove_prefix(bytes);
  }
  return true;
}

class Questions : private StudyCheck {
 public:
  using StudyCheck::StudyCheck;

  void Run() {
    if (file_.spec.has_tune()) {
      const std::string& measure = file_.spec.tune().measure();
      if (measure == "tuned") Fail("tune.measure", "is what is to be found");
      CheckMeasure("tune.measure", measure);
      if (IsTime(measure)) {
        Fail("tune.measure", "a time is never the same twice: the study would not be either");
      }
      CheckHalving();
    }
    CheckSkips();
    CheckTargets();
    for (int i = 0; i < file_.spec.claims_size(); ++i) CheckClaim(i);
  }

 private:
  using Settings = google::protobuf::RepeatedPtrField<v1::SettingSpec>;

  // Names of axes, and values that they have; a number is then written as the axis has it.
  void CheckWhere(Settings& where, const std::string& path) {
    std::vector<std::string> names;
    for (const Axis& axis : file_.axes) names.push_back(axis.name);
    for (int i = 0; i < where.size(); ++i) {
      const std::string below = path + "." + std::to_string(i);
      const Axis* axis = file_.FindAxis(where[i].path());
      if (axis == nullptr) {
        Fail(below,
             "there is no axis `" + where[i].path() + "`" + DidYouMean(where[i].path(), names),
             names.empty() ? "The study has no axes." : "Axes here: " + Join(names, ", ") + ".");
        continue;
      }
      const int level = axis->Find(LabelOf(where[i].value()));
      if (level >= 0) {
        where[i].set_value(axis->levels[static_cast<size_t>(level)].label);
        continue;
      }
      std::vector<std::string> labels;
      for (const Level& level : axis->levels) labels.push_back(level.label);
      Fail(below + ".value",
           "the axis `" + axis->name + "` has no value " + LabelOf(where[i].value()),
           "Its values: " + Join(labels, ", ") + ".");
    }
  }

  void CheckHalving() {
    const auto& rungs = file_.spec.tune().halving().rungs();
    for (int i = 1; i < rungs.size(); ++i) {
      if (rungs[i] > rungs[i - 1]) continue;
      Fail("tune.halving.rungs." + std::to_string(i), "is not larger than the rung before");
    }
  }

  void CheckSkips() {
    using Skips = google::protobuf::RepeatedPtrField<v1::SkipCellSpec>;
    const auto check = [&](Skips& skips, const std::string& path) {
      for (int i = 0; i < skips.size(); ++i) {
        CheckWhere(*skips[i].mutable_where(), path + "." + std::to_string(i) + ".where");
      }
    };
    check(*file_.spec.mutable_skip(), "skip");
    for (int i = 0; i < file_.spec.forms_size(); ++i) {
      check(*file_.spec.mutable_forms(i)->mutable_skip(), "forms." + std::to_string(i) + ".skip");
    }
    if (!file_.form_index) return;
    for (const v1::SkipCellSpec& skip : file_.spec.forms(*file_.form_index).skip()) {
      *file_.spec.add_skip() = skip;
    }
  }

  void CheckTargets() {
    std::set<std::string> names;
    for (int i = 0; i < file_.spec.targets_size(); ++i) {
      v1::TargetSpec& target = *file_.spec.mutable_targets(i);
      const std::string path = "targets." + std::to_string(i);
      CheckName(target.name(), path + ".name");
      if (target.has_at_least()) CheckShare(target, target.at_least(), path + ".at_least");
      if (target.has_at_most()) CheckShare(target, target.at_most(), path + ".at_most");
      if (!names.insert(target.name()).second) {
        Fail(path, "there is a target `" + target.name() + "` already");
      }
      if (target.has_share_of_best()) {
        CheckWhere(*target.mutable_share_of_best()->mutable_arm(), path + ".share_of_best.arm");
        if (target.metric() != v1::TARGET_METRIC_TEST_ACCURACY) {
          Fail(path + ".metric", "a share of the best accuracy is an accuracy");
        }
        if (file_.spec.has_tune() &&
            file_.spec.tune().measure().ends_with("_to " + target.name())) {
          Fail("tune.measure", "is known only when all have been tuned",
               "The target `" + target.name() + "` is a share of what an arm reaches.");
        }
      } else if (!target.has_at_least() && !target.has_at_most()) {
        Fail(path, "has no value to reach", "Give `at_least`, `at_most` or `share_of_best`.");
      }
    }
  }

  void CheckShare(const v1::TargetSpec& target, double value, const std::string& path) {
    if (target.metric() != v1::TARGET_METRIC_TEST_ACCURACY || (value > 0 && value <= 1)) return;
    Fail(path, "expected a share above 0, at most 1, found " + FormatDouble(value),
         "An accuracy of 90 % is 0.9.");
  }

  void CheckMeasure(const std::string& path, const std::string& measure) {
    if (IsMeasure(measure, file_.spec) || (file_.spec.has_tune() && measure == "tuned")) {
      if (IsTime(measure) && file_.spec.at_once() != 1) {
        Fail(path, "times of trials that go on side by side are not theirs", "Give `at_once: 1`.");
      }
      return;
    }
    const std::vector<std::string> names = KnownMeasures(file_.spec);
    Fail(path, "there is no measure `" + measure + "`" + DidYouMean(measure, names),
         "Measures here: " + Join(names, ", ") + ".");
  }

  void CheckClaim(int index) {
    v1::ClaimSpec& claim = *file_.spec.mutable_claims(index);
    const std::string path = "claims." + std::to_string(index);
    if (claim.measure() == "tuned") {
      Fail(path + ".measure", "a cell has one tuned value, and no seeds to judge it by");
    } else {
      CheckMeasure(path + ".measure", claim.measure());
    }
    CheckWhere(*claim.mutable_arm(), path + ".arm");
    CheckWhere(*claim.mutable_against(), path + ".against");
    CheckArms(claim, claim.against(), path, ".against");
    if (claim.has_along()) CheckAlong(claim, path + ".along");
    if (claim.has_less()) CheckLess(claim, path);
    if (claim.compare() == v1::COMPARISON_SAME_BITS) return CheckBits(claim, path);
    if (claim.compare() == v1::COMPARISON_RATIO && claim.against().empty()) {
      Fail(path, "a ratio needs `against`: what the arm is compared with");
    }
    if (claim.compare() == v1::COMPARISON_ABSOLUTE_DIFFERENCE) {
      if (claim.against().empty()) {
        Fail(path, "a distance needs `against`: what the arm is compared with");
      }
      if (claim.has_equivalent_within()) {
        Fail(path + ".equivalent_within", "is of a difference or a ratio",
             "Give `supported: {below: ...}`.");
      }
    }
    const bool paired = claim.compare() != v1::COMPARISON_RANK_CORRELATION &&
                        claim.compare() != v1::COMPARISON_LOG_SLOPE;
    if (!paired) CheckOver(claim, path);
    if (!claim.has_supported() && !claim.has_equivalent_within()) {
      Fail(path, "has no rule",
           "Give `supported: {above: ...}` (or below) or `equivalent_within`.");
    }
    CheckBounds(claim.supported(), claim.has_supported(), path + ".supported");
    CheckBounds(claim.refuted(), claim.has_refuted(), path + ".refuted");
    if (file_.origin == StudyOrigin::kNew) CheckReach(claim, path);
    if (claim.has_supported() && !claim.has_refuted() && claim.supported().has_above() &&
        claim.supported().has_below()) {
      Fail(path, "what lies on the other side of two bounds is not one thing",
           "Give `refuted` as well.");
    }
    if (claim.has_supported() && claim.has_refuted() &&
        Overlap(claim.supported(), claim.refuted())) {
      Fail(path + ".refuted", "overlaps with `supported`: an interval could be within both");
    }
    if (claim.has_refuted() && claim.has_equivalent_within()) {
      Fail(path + ".refuted", "has no effect beside `equivalent_within`");
    }
  }

  // A bound that no figure can pass decides before anything has run.
  void CheckReach(const v1::ClaimSpec& claim, const std::string& path) {
    const auto each = [&](const auto& check) {
      for (const auto& [bounds, name] :
           {std::pair(&claim.supported(), ".supported"), std::pair(&claim.refuted(), ".refuted")}) {
        if (bounds->has_above()) check(bounds->above(), path + name + ".above");
        if (bounds->has_below()) check(bounds->below(), path + name + ".below");
      }
    };
    if (claim.compare() == v1::COMPARISON_RANK_CORRELATION) {
      return each([&](double bound, const std::string& place) {
        if (std::abs(bound) <= 1) return;
        Fail(place, "no rank correlation is beyond -1 and 1, found " + FormatDouble(bound));
      });
    }
    const bool difference =
        claim.compare() != v1::COMPARISON_RATIO && claim.compare() != v1::COMPARISON_LOG_SLOPE;
    const bool value = claim.has_along() && (claim.along().take() == v1::TAKE_LARGEST_VALUE ||
                                             claim.along().take() == v1::TAKE_SMALLEST_VALUE);
    if (!difference || value || !IsAccuracy(claim.measure())) return;
    // What is taken off may be as large as its share.
    const double most = 1 + (claim.has_less() ? std::abs(claim.less().share()) : 0);
    const auto check = [&](double bound, const std::string& place) {
      if (std::abs(bound) < most) return;
      Fail(place,
           "expected a number between " + FormatDouble(-most) + " and " + FormatDouble(most) +
               " for accuracies and their differences, found " + FormatDouble(bound),
           "2 points are 0.02.");
    };
    each(check);
    if (claim.has_equivalent_within()) {
      check(claim.equivalent_within(), path + ".equivalent_within");
    }
  }

  void CheckOver(const v1::ClaimSpec& claim, const std::string& path) {
    if (!claim.against().empty()) {
      Fail(path + ".against", "has no effect where trials are compared over an axis");
    }
    if (claim.has_equivalent_within()) {
      Fail(path + ".equivalent_within", "is of a difference or a ratio",
           "Give `supported: {above: ..., below: ...}` and `refuted`.");
    }
    if (AxesOf(claim.arm()).contains(claim.over())) {
      Fail(path + ".over", "`arm` fixes the axis `" + claim.over() + "`, so that it has one value");
    }
    if (claim.has_along() && claim.along().over() == claim.over()) {
      Fail(path + ".over", "`along` makes one figure of the axis `" + claim.over() + "`");
    }
    const Axis* axis = file_.FindAxis(claim.over());
    if (claim.over().empty()) {
      Fail(path, "needs `over`: the name of the axis");
    } else if (axis == nullptr) {
      Fail(path + ".over", "there is no axis `" + claim.over() + "`");
    } else if (!axis->numeric()) {
      Fail(path + ".over", "the values of the axis `" + axis->name + "` are no numbers");
    } else if (axis->levels.size() < 3) {
      Fail(path + ".over", "the axis `" + axis->name + "` has " +
                               Plural(static_cast<long long>(axis->levels.size()), "value") +
                               "; three are the fewest");
    } else if (claim.has_range()) {
      CheckBounds(claim.range(), true, path + ".range");
      const auto within = std::ranges::count_if(
          axis->levels, [&](const Level& level) { return Contains(claim.range(), *level.number); });
      if (within < 3) {
        Fail(path + ".range", "leaves " + Plural(within, "value") + " of the axis `" + axis->name +
                                  "`; three are the fewest");
      }
    }
  }

  void CheckAlong(const v1::ClaimSpec& claim, const std::string& path) {
    const v1::AlongSpec& along = claim.along();
    const Axis* axis = file_.FindAxis(along.over());
    if (along.over().empty()) return;  // said already
    if (axis == nullptr) {
      return Fail(path + ".over", "there is no axis `" + along.over() + "`");
    }
    if (AxesOf(claim.arm()).contains(along.over())) {
      Fail(path + ".over", "`arm` fixes the axis `" + along.over() + "`, so that it has one value");
    }
    const bool value =
        along.take() == v1::TAKE_LARGEST_VALUE || along.take() == v1::TAKE_SMALLEST_VALUE;
    if (!value) return;
    if (!axis->numeric()) {
      Fail(path + ".take", "the values of the axis `" + axis->name + "` are no numbers");
    }
    if (!along.has_where()) {
      Fail(path, "needs `where`: the bounds of the measure", "E.g. `where: {above: 0.5}`.");
    } else {
      CheckBounds(along.where(), true, path + ".where");
    }
  }

  void CheckLess(v1::ClaimSpec& claim, const std::string& path) {
    CheckWhere(*claim.mutable_less()->mutable_arm(), path + ".less.arm");
    CheckWhere(*claim.mutable_less()->mutable_against(), path + ".less.against");
    CheckArms(claim, claim.less().arm(), path, ".less.arm");
    CheckArms(claim, claim.less().against(), path, ".less.against");
    if (claim.against().empty()) Fail(path, "needs `against`: `less` is taken off a difference");
  }

  void CheckBits(const v1::ClaimSpec& claim, const std::string& path) {
    if (claim.against().empty()) {
      Fail(path, "needs `against`: what the arm ends in the same bits as");
    }
    const auto useless = [&](bool given, const std::string& key) {
      if (given) Fail(path + "." + key, "has no effect with `compare: same_bits`");
    };
    useless(claim.has_supported(), "supported");
    useless(claim.has_refuted(), "refuted");
    useless(claim.has_equivalent_within(), "equivalent_within");
    useless(claim.has_along(), "along");
    useless(file_.origins.Given(path + ".measure"), "measure");
  }

  // Values, by the name of their axis.
  static std::map<std::string, std::string> AxesOf(const Settings& where) {
    std::map<std::string, std::string> axes;
    for (const v1::SettingSpec& one : where) axes[one.path()] = one.value();
    return axes;
  }

  void CheckArms(const v1::ClaimSpec& claim, const Settings& others, const std::string& path,
                 const std::string& key) {
    if (others.empty()) return;
    const auto arm = AxesOf(claim.arm()), other = AxesOf(others);
    const auto same_axis = [](const auto& a, const auto& b) { return a.first == b.first; };
    if (!std::ranges::equal(arm, other, same_axis)) {
      Fail(path + key, "names other axes than `arm`",
           "Name the same axes in both; trials are paired over all others.");
    } else if (arm == other && key == ".against") {
      Fail(path + key, "is the same as `arm`");
    }
  }

  static bool Overlap(const v1::BoundsSpec& a, const v1::BoundsSpec& b) {
    constexpr double kEnd = std::numeric_limits<double>::infinity();
    const double above =
        std::max(a.has_above() ? a.above() : -kEnd, b.has_above() ? b.above() : -kEnd);
    const double below =
        std::min(a.has_below() ? a.below() : kEnd, b.has_below() ? b.below() : kEnd);
    return above < below;
  }

  void CheckBounds(const v1::BoundsSpec& bounds, bool given, const std::string& path) {
    if (!given) return;
    if (!bounds.has_above() && !bounds.has_below()) {
      Fail(path, "has no bound", "Give `above`, `below` or both.");
    } else if (bounds.has_above() && bounds.has_below() && bounds.above() >= bounds.below()) {
      Fail(path, "`above` is not less than `below`");
    }
  }
};

}  // namespace

std::string LabelOf(const std::string& value) {
  return value.size() > 1 && value.front() == '"' ? value.substr(1, value.size() - 2) : value;
}

void StudyCheck::Fail(const std::string& path, std::string message, std::string hint) {
  if (file_.origins.Failed(path)) return;
  diagnostics_.Add(file_.PlaceOf(path), path, std::move(message), std::move(hint));
}

void StudyCheck::CheckName(const std::string& name, const std::string& path) {
  if (name.empty() && file_.origins.Given(path)) Fail(path, "is empty; give a name");
  if (!IsOneLine(name)) Fail(path, "a name has no line breaks and no control characters");
}

void CheckQuestions(StudyFile& file, config::Diagnostics& diagnostics) {
  Questions(file, diagnostics).Run();
}

}  // namespace syncbn::study
