#include "study/trial/curve_sink.h"

#include "train/evaluator.h"
#include "train/trainer.h"

namespace syncbn::study {

CurveSink::CurveSink(const v1::RunSpec& run, TrialRecord& record) : record_(record) {
  const auto& evaluations = run.train().evaluate().with();
  if (!evaluations.empty()) {
    evaluation_ = train::EvaluationName(static_cast<v1::EvaluationMode>(evaluations[0]));
  }
}

void CurveSink::Write(const train::MetricRecord& line) {
  for (const auto& [name, value] : line.figures) {
    record_.figures[name].emplace_back(line.step + 1, value);
  }
  if (line.split == "train") {
    if (line.epoch != epoch_) CloseEpoch();
    epoch_ = line.epoch;
    steps_ = line.step + 1;
    const auto samples = static_cast<double>(line.samples.value_or(0));
    samples_ += line.samples.value_or(0);
    sums_.Add(line.loss.value_or(0) * samples, line.accuracy.value_or(0) * samples, samples,
              !line.skipped);
    return;
  }
  const Evaluation evaluation{.steps = line.step + 1,
                              .samples = samples_,
                              .loss = line.loss.value_or(0),
                              .accuracy = line.accuracy.value_or(0)};
  if (!line.evaluation) return;
  if (*line.evaluation == evaluation_) record_.test.push_back(evaluation);
  record_.test_with[*line.evaluation].push_back(evaluation);
}

void CurveSink::Finish() {
  CloseEpoch();
  record_.steps = steps_;
  record_.samples = samples_;
}

void CurveSink::CloseEpoch() {
  if (const std::optional<train::Figures> means = sums_.Means()) {
    record_.train.push_back(
        {.steps = steps_, .samples = samples_, .loss = means->loss, .accuracy = means->accuracy});
  }
  sums_ = {};
}

}  // namespace syncbn::study
