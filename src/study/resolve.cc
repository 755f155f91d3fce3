#include "study/resolve.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "base/error.h"
#include "base/text.h"
#include "config/run_file.h"
#include "config/scalar.h"
#include "data/batch_plan.h"

namespace syncbn::study {
namespace {

// Samples of `batch` for each of the replicas, evenly.
std::string BatchesText(int64_t batch, int replicas) {
  std::vector<std::string> parts;
  for (int i = 0; i < replicas; ++i) {
    parts.push_back(std::to_string(batch / replicas + (i < batch % replicas ? 1 : 0)));
  }
  return batch % replicas == 0 ? parts.front() : "[" + Join(parts, ", ") + "]";
}

data::BatchPlan BatchPlanOf(const v1::RunSpec& run, int64_t samples) {
  return {samples, data::BatchPerReplica(run.cluster()), run.data().last_batch()};
}

// The whole steps whose samples come nearest; the last of an epoch may have fewer.
int64_t StepsOfSamples(const data::BatchPlan& plan, int64_t samples) {
  const int64_t of_epoch = plan.Step(plan.steps_per_epoch() - 1).end;
  const auto seen = [&](int64_t steps) {
    const int64_t rest = steps % plan.steps_per_epoch();
    return steps / plan.steps_per_epoch() * of_epoch + rest * plan.batch();
  };
  int64_t best = std::max<int64_t>(1, samples / of_epoch * plan.steps_per_epoch());
  for (int64_t steps = best; steps <= best + plan.steps_per_epoch(); ++steps) {
    if (std::abs(seen(steps) - samples) < std::abs(seen(best) - samples)) best = steps;
    if (seen(steps) >= samples) break;
  }
  return best;
}

class Resolving {
 public:
  Resolving(const StudyFile& file, const std::vector<Setting>& settings) : file_(file) {
    for (const Setting& setting : settings) {
      if (setting.path == kSgdBatch) {
        batch_ = &setting;
      } else if (setting.path == kSteps || setting.path == kSamples) {
        length_ = &setting;
      } else if (setting.path == kProcesses) {
        processes_ = &setting;
      } else {
        Add(setting.path + "=" + setting.value, setting);
      }
    }
  }

  ResolvedRun Run() {
    Check();
    if (batch_ != nullptr) SetBatch();
    if (length_ != nullptr && result_.faults.empty()) SetLength();
    if (processes_ != nullptr && result_.faults.empty()) SetProcesses();
    for (const config::Diagnostic& fault : checked_.diagnostics.all()) {
      const Setting* cause = nullptr;
      for (size_t i = 0; i < overrides_.size(); ++i) {
        if (fault.source == "--set " + overrides_[i]) cause = from_[i];
      }
      result_.faults.emplace_back(fault, cause);
    }
    result_.run = std::move(checked_.file.spec);
    return std::move(result_);
  }

 private:
  const v1::RunSpec& run() const { return checked_.file.spec; }

  void Add(std::string text, const Setting& setting) {
    overrides_.push_back(std::move(text));
    from_.push_back(&setting);
  }

  void Check() { checked_ = config::CheckRunFile(*file_.run, overrides_); }

  void Fail(const Setting& setting, std::string message, std::string hint = "") {
    result_.faults.push_back(
        {{.path = setting.path, .message = std::move(message), .hint = std::move(hint)}, &setting});
  }

  // A whole number of at least 1, which is what the keys of a study are; else 0.
  int64_t WholeOf(const Setting& setting, const std::string& of) {
    const config::Parsed<int64_t> parsed = config::ParseWhole(setting.value);
    if (parsed.value && *parsed.value >= 1) return *parsed.value;
    Fail(setting, "expected a whole number of " + of + " of at least 1, found " + setting.value,
         parsed.hint);
    return 0;
  }

  void SetBatch() {
    const int64_t whole = WholeOf(*batch_, "samples");
    if (whole < 1) return;
    const int replicas = std::max(1, run().cluster().replicas());
    if (whole < replicas) {
      return Fail(*batch_, Plural(whole, "sample") + (whole == 1 ? " is" : " are") +
                               " not enough for " + Plural(replicas, "replica"));
    }
    const std::optional<int64_t> all = TrainingSamples(run());
    if (file_.origin == StudyOrigin::kNew && all && whole > *all) {
      return Fail(*batch_, Plural(whole, "sample") + (whole == 1 ? " is" : " are") +
                               " more than the " + std::to_string(*all) +
                               " that there are to train on");
    }
    Add("cluster.batch_per_replica=" + BatchesText(whole, replicas), *batch_);
    Check();
  }

  void SetLength() {
    const bool steps = length_->path == kSteps;
    const int64_t whole = WholeOf(*length_, steps ? "steps" : "samples");
    if (whole < 1 || !checked_.diagnostics.empty()) return;
    const std::optional<int64_t> samples = TrainingSamples(run());
    if (!samples) {
      return Fail(*length_, "needs the number of training samples",
                  "Give data.train_limit, at most as many as there are.");
    }
    try {
      const data::BatchPlan plan = BatchPlanOf(run(), *samples);
      const int64_t wanted = steps ? whole : StepsOfSamples(plan, whole);
      const int64_t most = run().train().max_steps();
      if (most > 0 && most < wanted) {
        return Fail(*length_,
                    "train.max_steps ends the run after " + Plural(most, "step") + ", before its " +
                        std::to_string(wanted),
                    "Remove train.max_steps.");
      }
      Add("train.epochs=" + FormatDouble(static_cast<double>(wanted) /
                                         static_cast<double>(plan.steps_per_epoch())),
          *length_);
    } catch (const Error& error) {
      return Fail(*length_, error.message());
    }
    Check();
  }

  void SetProcesses() {
    const int64_t whole = WholeOf(*processes_, "processes");
    if (whole < 1) return;
    const int replicas = std::max(1, run().cluster().replicas());
    if (whole > replicas) {
      return Fail(*processes_, Plural(whole, "process") + " for " + Plural(replicas, "replica") +
                                   ": each process has one replica at least");
    }
    result_.processes = static_cast<int>(whole);
  }

  const StudyFile& file_;
  const Setting* batch_ = nullptr;
  const Setting* length_ = nullptr;
  const Setting* processes_ = nullptr;
  std::vector<std::string> overrides_;
  // By override: what it came from.
  std::vector<const Setting*> from_;
  config::CheckedRunFile checked_;
  ResolvedRun result_;
};

}  // namespace

std::string ExplainOwnKey(std::string_view key) {
  struct OwnKey {
    std::string_view name, unit, text;
  };
  static constexpr std::array<OwnKey, 4> kKeys = {
      {{kSgdBatch, "samples",
        "Samples of a step over all replicas, which are given cluster.batch_per_replica for it: "
        "evenly, the first ones one more. So it stays while the replicas change."},
       {kSteps, "steps",
        "The length of a run in optimizer steps, which is given train.epochs for it whatever its "
        "SGD batch is; the learning rate's schedule is as long. Needs the number of training "
        "samples in the run file: data.train_limit, or the generated data set."},
       {kSamples, "samples",
        "The length of a run in training samples, rounded to whole steps; otherwise as `steps`."},
       {kProcesses, "processes",
        "Processes of mpirun, at most as many as the run has replicas. They decide how long a "
        "trial takes, and never what it computes."}}};
  const auto* const found = std::ranges::find(kKeys, key, &OwnKey::name);
  if (found == kKeys.end()) return "";
  return std::string(key) + "\n" + config::WrapText(found->text, 100, 2) +
         "\n\ntype              whole number\nrange             1 or more\nunit              " +
         std::string(found->unit) +
         "\nstands in         `set`, and the `path` and the cases of an axis; no run file has it\n";
}

std::string_view KeyOf(std::string_view path) {
  if (path == kSgdBatch) return "cluster.batch_per_replica";
  if (path == kSteps || path == kSamples) return "train.epochs";
  return path;
}

ResolvedRun Resolve(const StudyFile& file, const std::vector<Setting>& settings) {
  return Resolving(file, settings).Run();
}

std::optional<int64_t> TrainingSamples(const v1::RunSpec& run) {
  const int64_t limit = run.data().train_limit();
  if (run.data().dataset() == v1::DATASET_SHAPES) {
    const int64_t all = run.data().shapes().train_samples();
    return limit > 0 ? std::min(limit, all) : all;
  }
  return limit > 0 ? std::optional(limit) : std::nullopt;
}

int64_t WholeSteps(const v1::RunSpec& run, int64_t training_samples) {
  return data::StepsOfEpochs(run.train().epochs(),
                             BatchPlanOf(run, training_samples).steps_per_epoch());
}

}  // namespace syncbn::study
