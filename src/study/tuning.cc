#include "study/tuning.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"

namespace syncbn::study {
namespace {

// What a trial that tunes came to.
struct Attempt {
  double value = 0;
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
    // Of equals the smallest goes on.
    std::ranges::stable_sort(
        attempts, [&](const Attempt& a, const Attempt& b) { return Better(a, b, more_); });
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

  // The best of the whole runs; where it is at an end of all that was tried, the next beyond.
  void Search() {
    int up = 0, down = 0;
    while (true) {
      std::ranges::sort(whole_, {}, &Attempt::value);
      tuned_.tried.clear();
      for (const Attempt& one : whole_) tuned_.tried.emplace_back(one.value, one.measure);
      if (!AllEnded(whole_)) return;
      // Of equals the smallest.
      const Attempt* best = &whole_.front();
      for (const Attempt& one : whole_) {
        if (Better(one, *best, more_)) best = &one;
      }
      const bool first = best->value <= grid_.front(), last = best->value >= grid_.back();
      if ((first && down < spec_.widen()) || (last && up < spec_.widen())) {
        const bool upward = last && up < spec_.widen();
        int& widened = upward ? up : down;
        widened = Widen(upward) ? widened + 1 : spec_.widen();
        continue;
      }
      tuned_.value = best->value;
      tuned_.on_edge = first || last;
      return;
    }
  }

  // False where no run may have the next value (a momentum above 1): the grid ends before it.
  bool Widen(bool upward) {
    const double next = NextOnGrid(grid_, upward);
    if (next == (upward ? grid_.back() : grid_.front())) return false;
    try {
      Try(next, std::nullopt, whole_);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kInvalidArgument) throw;
      return false;
    }
    grid_.insert(upward ? grid_.end() : grid_.begin(), next);
    return true;
  }

  void Try(double value, std::optional<int> rung, std::vector<Attempt>& attempts) {
    const TrialRecord* record =
        add_({.cell = cell_, .seed = spec_.seed(), .tuned = value, .tuning = true, .rung = rung});
    attempts.push_back({.value = value, .record = record, .measure = std::nan("")});
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
  std::vector<Attempt> whole_;
  Tuned tuned_;
};

}  // namespace

Tuned Tune(const Plan& plan, size_t cell,
           const std::function<const TrialRecord*(const Trial& trial)>& add) {
  return Tuning(plan, cell, add).Run();
}

}  // namespace syncbn::study
