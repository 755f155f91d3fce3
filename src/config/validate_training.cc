// The optimizer, the learning rate, evaluation, probes.
#include <algorithm>
#include <set>

#include "base/text.h"
#include "config/schema.h"
#include "config/validate.h"

namespace syncbn::config {
namespace {

// "1 epoch", "0.5 epochs"
std::string Epochs(double epochs) {
  return FormatDouble(epochs) + (epochs == 1 ? " epoch" : " epochs");
}

void ValidateOptimizer(const RunCheck& check) {
  if (!check.Readable({"train.optimizer"})) return;
  const v1::OptimizerSpec& optimizer = check.spec.train().optimizer();
  if (optimizer.kind() == v1::OPTIMIZER_KIND_SGD && optimizer.nesterov() &&
      optimizer.momentum() == 0) {
    check.Report("train.optimizer.nesterov", "needs a momentum above 0",
                 "Give `momentum`, for example 0.9, or remove `nesterov`.");
  }
  if (optimizer.kind() == v1::OPTIMIZER_KIND_ADAMW &&
      optimizer.weight_decay_mode() == v1::WEIGHT_DECAY_MODE_COUPLED) {
    check.Report("train.optimizer.weight_decay_mode", "adamw's weight decay is always decoupled",
                 "Remove it, or write `decoupled`.");
  }
}

void ValidateMilestones(const RunCheck& check) {
  const v1::LearningRateSpec& rate = check.spec.train().learning_rate();
  const std::string path = "train.learning_rate.milestones";
  if (rate.milestones().empty()) {
    check.ReportKey("train.learning_rate",
                    "`schedule: step` needs `milestones`: the epochs at which "
                    "the rate falls",
                    "For example: `milestones: [10, 15]`.");
    return;
  }
  for (int i = 1; i < rate.milestones_size(); ++i) {
    if (rate.milestones(i) > rate.milestones(i - 1)) continue;
    check.Report(path + "." + std::to_string(i),
                 "milestones must increase: " + FormatDouble(rate.milestones(i)) + " follows " +
                     FormatDouble(rate.milestones(i - 1)));
  }
  // A file that is tried for a few epochs (--set train.epochs=2) keeps its milestones.
  const double epochs = check.spec.train().epochs(), last = *rate.milestones().rbegin();
  if (check.IsShortened() || last < epochs) return;
  const Origin* origin = check.origins.Find(path);
  const std::string place = origin != nullptr && origin->single
                                ? path
                                : path + "." + std::to_string(rate.milestones_size() - 1);
  check.Report(place,
               "is never reached: the run has " + Epochs(epochs) + " (" +
                   check.origins.Describe("train.epochs") + ")",
               "Milestones are epochs counted from the start of the run.");
}

void ValidateLearningRate(const RunCheck& check) {
  if (!check.Readable({"train.learning_rate", "train.epochs"})) return;
  const v1::LearningRateSpec& rate = check.spec.train().learning_rate();
  const double epochs = check.spec.train().epochs();
  const std::string warmup = "train.learning_rate.warmup_epochs";
  if (rate.schedule() == v1::SCHEDULE_STEP) ValidateMilestones(check);
  if (rate.schedule() == v1::SCHEDULE_ONE_CYCLE && rate.warmup_epochs() > 0) {
    check.Report(warmup, "`schedule: one_cycle` rises by itself",
                 "Remove it; `rise` is the share of the run in which the rate rises.");
  } else if (rate.warmup_epochs() > epochs && !check.IsShortened()) {
    check.Report(warmup,
                 "the warm-up of " + Epochs(rate.warmup_epochs()) +
                     " must not be longer than the run of " + FormatDouble(epochs) + " (" +
                     check.origins.Describe("train.epochs") +
                     "): the rate would never reach its peak",
                 "For a short trial of this file give --set train.epochs=" + FormatDouble(epochs) +
                     ", which cuts the warm-up off, or --set train.max_steps=N, which the rate "
                     "does not see.");
  }
}

void ValidateEvaluation(const RunCheck& check) {
  if (!check.Readable({"train.evaluate", "model"})) return;
  const v1::EvaluateSpec& evaluate = check.spec.train().evaluate();
  const v1::ModelSpec& model = check.spec.model();
  const std::string path = "train.evaluate.with";
  std::set<int> seen;
  for (int i = 0; i < evaluate.with_size(); ++i) {
    const Origin* origin = check.origins.Find(path);
    const std::string place =
        origin == nullptr || origin->single ? path : path + "." + std::to_string(i);
    const std::string mode =
        EnumText(*v1::EvaluationMode_descriptor()->FindValueByNumber(evaluate.with(i)));
    if (!seen.insert(evaluate.with(i)).second) {
      check.Report(place, "`" + mode + "` is given twice; remove one of them");
    } else if (EvaluationFits(model, evaluate.with(i))) {
      continue;
    } else if (HasBatchNorm(model)) {
      check.Report(place,
                   "`" + mode + "` needs running statistics, and model.norm.running is `none`",
                   "Write `batch`.");
    } else {
      check.Report(place,
                   "`" + mode + "` needs batch normalization, which this model does not have",
                   "Remove it: without batch normalization all ways of evaluating are the same.");
    }
  }
}

void ValidateLandscape(const RunCheck& check) {
  if (!check.Readable({"probes.landscape"})) return;
  const v1::LandscapeSpec& landscape = check.spec.probes().landscape();
  if (landscape.every_steps() == 0 || landscape.from() < landscape.to()) return;
  check.Report("probes.landscape.from",
               "the shortest step, " + FormatDouble(landscape.from()) +
                   ", must be shorter than the longest, `to`: " + FormatDouble(landscape.to()));
}

void ValidateNoiseScale(const RunCheck& check) {
  if (!check.Readable({"probes.noise_scale", "cluster"})) return;
  if (check.spec.probes().noise_scale().every_steps() == 0) return;
  if (ReplicasWithSamples(check.spec.cluster()) >= 2) return;
  check.Report("probes.noise_scale.every_steps",
               "compares the gradients of single replicas with that of all: it needs at least 2 "
               "replicas with samples",
               "Give `cluster.replicas` a larger number (processes need not be as many), or remove "
               "`noise_scale`.");
}

}  // namespace

int ReplicasWithSamples(const v1::ClusterSpec& cluster) {
  return static_cast<int>(
      std::ranges::count_if(cluster.batch_per_replica(), [](int32_t batch) { return batch > 0; }));
}

void ValidateTraining(const RunCheck& check) {
  ValidateOptimizer(check);
  ValidateLearningRate(check);
  ValidateEvaluation(check);
  ValidateNoiseScale(check);
  ValidateLandscape(check);
}

}  // namespace syncbn::config
