#include "study/tuning.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <vector>

#include "base/error.h"
#include "base/text.h"

namespace syncbn::study {
namespace {

// What a trial that tunes came to.
struct Attempt {
  double value = 0;
  // From the middle of the given grid, in half steps of it.
  int distance = 0;
  const TrialRecord* record = nullptr;
  double measure = 0;
};

// Whether `a` is better than `b`: one that finished always is better than one that did not,
// whatever the measure of guessing comes to; what is not a number is never better.
bool Better(const Attempt& a, const Attempt& b, bool more) {
  const bool a_finished = a.record->end == TrialEnd::kFinished;
  const bool b_finished = b.record->end == TrialEnd::kFinished;
  if (a_finished != b_finished) return a_finished;
  if (std::isnan(a.measure)) return false;
  if (std::isnan(b.measure)) return true;
  return more ? a.measure > b.measure : a.measure < b.measure;
}

// Whether any can be chosen by what it came to: it finished, and its measure is a number (a target
// that it did not reach has none).
bool AnyTells(const std::vector<Attempt>& attempts) {
  return std::ranges::any_of(attempts, [](const Attempt& one) {
    return one.record->end == TrialEnd::kFinished && std::isfinite(one.measure);
  });
}

// Why none can.
std::string SilenceText(const std::vector<Attempt>& attempts, const std::string& measure) {
  const auto ended = [&](TrialEnd end) {
    return std::ranges::count_if(attempts,
                                 [&](const Attempt& one) { return one.record->end == end; });
  };
  if (ended(TrialEnd::kFinished) == 0) {
    return ended(TrialEnd::kFailed) == 0     ? "all trials diverged"
           : ended(TrialEnd::kDiverged) == 0 ? "all trials failed"
                                             : "all trials failed or diverged";
  }
  const size_t to = measure.find("_to ");
  return to == std::string::npos ? "no trial has the measure " + measure
                                 : "no trial reached " + measure.substr(to + 4);
}

class Tuning {
 public:
  Tuning(const Plan& plan, size_t cell,
         const std::function<const TrialRecord*(const Trial& trial)>& add)
      : plan_(plan),
        cell_(cell),
        add_(add),
        spec_(plan.file().spec.tune()),
        more_(MoreIsBetter(spec_.measure())),
        grid_(plan.file().tuning_grid) {}

  Tuned Run() {
    std::vector<double> left = grid_;
    for (int rung = 0; rung < spec_.halving().rungs_size(); ++rung) {
      if (!Halve(rung, left)) return tuned_;
    }
    for (const double value : left) Try(value, std::nullopt, whole_);
    Search();
    return tuned_;
  }

 private:
  // Runs the values to the rung, and leaves the better ones; false: not all have ended.
  bool Halve(int rung, std::vector<double>& left) {
    std::vector<Attempt> attempts;
    for (const double value : left) Try(value, rung, attempts);
    if (!AllEnded(attempts)) return false;
    // By nothing none is given up.
    if (!AnyTells(attempts)) return true;
    std::ranges::stable_sort(attempts,
                             [&](const Attempt& a, const Attempt& b) { return Before(a, b); });
    const auto share =
        static_cast<size_t>(std::ceil(spec_.halving().keep() * static_cast<double>(left.size())));
    const size_t kept = std::min(left.size(), std::max<size_t>(2, share));
    left.clear();
    for (size_t i = 0; i < attempts.size(); ++i) {
      (i < kept ? left : tuned_.given_up).push_back(attempts[i].value);
    }
    std::ranges::sort(left);
    std::ranges::sort(tuned_.given_up);
    return true;
  }

  // Whether `a` is to be chosen before `b`.
  bool Before(const Attempt& a, const Attempt& b) const {
    if (Better(a, b, more_)) return true;
    if (Better(b, a, more_)) return false;
    return a.distance != b.distance ? a.distance < b.distance : a.value < b.value;
  }

  // The best of the whole runs; where it alone is so, at an end of all that was tried, the next
  // beyond.
  void Search() {
    int up = 0, down = 0;
    while (true) {
      std::ranges::sort(whole_, {}, &Attempt::value);
      tuned_.tried.clear();
      for (const Attempt& one : whole_) tuned_.tried.emplace_back(one.value, one.measure);
      if (!AllEnded(whole_)) return;
      const Attempt* best = &whole_.front();
      for (const Attempt& one : whole_) {
        if (Before(one, *best)) best = &one;
      }
      // One that others equal is no optimum.
      const bool alone = std::ranges::all_of(
          whole_, [&](const Attempt& one) { return &one == best || Better(*best, one, more_); });
      const bool first = alone && best->value <= grid_.front();
      const bool last = alone && best->value >= grid_.back();
      if ((first && down < spec_.widen()) || (last && up < spec_.widen())) {
        const bool upward = last && up < spec_.widen();
        int& widened = upward ? up : down;
        widened = Widen(upward) ? widened + 1 : spec_.widen();
        continue;
      }
      tuned_.value = best->value;
      tuned_.on_edge = first || last;
      if (!AnyTells(whole_)) {
        tuned_.by_nothing = SilenceText(whole_, spec_.measure()) + "; " +
                            FormatDouble(best->value) +
                            " was taken, nearest to the middle of the grid";
      }
      return;
    }
  }

  // False where no run may have the next value (a momentum above 1): the grid ends before it.
  bool Widen(bool upward) {
    const auto size = static_cast<int>(grid_.size());
    const double next = BeyondLogGrid(spec_.log(), (upward ? size : -1) - below_);
    if (next == (upward ? grid_.back() : grid_.front())) return false;
    try {
      Try(next, std::nullopt, whole_, upward ? size : -1);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kInvalidArgument) throw;
      return false;
    }
    grid_.insert(upward ? grid_.end() : grid_.begin(), next);
    if (!upward) ++below_;
    return true;
  }

  // `at`: where the grid as it is has, or would have, the value; it is looked for if not given.
  void Try(double value, std::optional<int> rung, std::vector<Attempt>& attempts,
           std::optional<int> at = std::nullopt) {
    if (!at) at = static_cast<int>(std::ranges::find(grid_, value) - grid_.begin());
    const int last = static_cast<int>(plan_.file().tuning_grid.size()) - 1;
    const TrialRecord* record =
        add_({.cell = cell_, .seed = spec_.seed(), .tuned = value, .tuning = true, .rung = rung});
    attempts.push_back({.value = value,
                        .distance = std::abs(2 * (*at - below_) - last),
                        .record = record,
                        .measure = std::nan("")});
    if (record == nullptr) return;
    const v1::StudySpec& study = plan_.file().spec;
    attempts.back().measure = MeasureOf(spec_.measure(), *record, study, StatedThresholds(study));
  }

  static bool AllEnded(const std::vector<Attempt>& attempts) {
    return std::ranges::all_of(attempts, [](const Attempt& one) { return one.record != nullptr; });
  }

  const Plan& plan_;
  const size_t cell_;
  const std::function<const TrialRecord*(const Trial& trial)>& add_;
  const v1::TuneSpec& spec_;
  const bool more_;
  // With what it was widened by.
  std::vector<double> grid_;
  // Of these, those below the given grid.
  int below_ = 0;
  std::vector<Attempt> whole_;
  Tuned tuned_;
};

}  // namespace

Tuned Tune(const Plan& plan, size_t cell,
           const std::function<const TrialRecord*(const Trial& trial)>& add) {
  return Tuning(plan, cell, add).Run();
}

}  // namespace syncbn::study
