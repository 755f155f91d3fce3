// Whole runs of recurrent models: bits and state, with statistics of every time step.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "tests/support/in_process_run.h"
#include "tests/support/temp_folder.h"

namespace syncbn::train {
namespace {

// 38 samples in batches of 18 end in one of 2, which leaves replicas without samples; images of 32
// rows, of which training reads 5. `model`: keys of the run file's model.
v1::RunSpec SmallRecurrentRun(const std::string& model, int steps = 9) {
  v1::RunSpec spec = RunSpecFromYaml(
      "seed: 5\n"
      "data: {dataset: shapes, shapes: {train_samples: 38, test_samples: 10}}\n"
      "model: {" +
      model +
      "}\n"
      "cluster: {replicas: 4, batch_per_replica: [5, 4, 2, 7]}\n"
      "train:\n"
      "  epochs: 3\n"
      "  clip_norm: 1\n"
      "  optimizer: {momentum: 0.9, weight_decay: 0.001}\n"
      "  learning_rate: {base: 0.05}\n"
      "  evaluate: {with: [running, precise, batch], precise_samples: 20}\n"
      "output: {digests: true}\n");
  spec.mutable_train()->set_max_steps(steps);
  return spec;
}

std::string Lstm(const std::string& norm, const std::string& more = "") {
  return "architecture: lstm, norm: " + norm + ", recurrent: {hidden: 6, train_rows: 5" + more +
         "}";
}

InProcessRunResult RunOn(int processes, const v1::RunSpec& spec) {
  return RunInProcess(spec, {.processes = processes, .adjust = [](int, TrainerOptions& options) {
                               options.evaluate = true;
                             }});
}

class RecurrentRun : public testing::TestWithParam<std::string> {};

TEST_P(RecurrentRun, EndsInTheSameBitsOnAnyNumberOfProcesses) {
  const v1::RunSpec spec = SmallRecurrentRun(GetParam());
  const InProcessRunResult one = RunOn(1, spec);
  ASSERT_EQ(one.StepDigests().size(), 9u);
  EXPECT_NE(one.StepDigests().at(0), one.StepDigests().at(8)) << "nothing was learned";
  EXPECT_EQ(one.summary.skipped_steps, 0);
  for (const int processes : {2, 3, 4}) {
    SCOPED_TRACE(processes);
    const InProcessRunResult many = RunOn(processes, spec);
    EXPECT_EQ(many.StepDigests(), one.StepDigests());
    ASSERT_EQ(many.records.size(), one.records.size());
    for (size_t i = 0; i < one.records.size(); ++i) {  // those of evaluations, too
      EXPECT_EQ(many.records[i].loss, one.records[i].loss) << i;
      EXPECT_EQ(many.records[i].evaluation, one.records[i].evaluation) << i;
    }
  }
}

TEST_P(RecurrentRun, ResumesWithTheSameBitsOnAnotherNumberOfProcesses) {
  const InProcessRunResult whole = RunInProcess(SmallRecurrentRun(GetParam()), {.processes = 2});
  TempFolder out;
  RunInProcess(SmallRecurrentRun(GetParam(), 5),
               {.processes = 3, .out = out.path()});  // inside an epoch of 3
  const InProcessRunResult rest = RunInProcess(SmallRecurrentRun(GetParam()),
                                               {.processes = 1, .out = out.path(), .resume = true});
  EXPECT_EQ(rest.digests[0], whole.digests[0]);
  EXPECT_EQ(rest.StepDigests().size(), 4u);
  EXPECT_EQ(rest.records.back().loss, whole.records.back().loss);
}

INSTANTIATE_TEST_SUITE_P(
    Norms, RecurrentRun,
    testing::Values(Lstm("batch"), Lstm("{batch: 9}"), Lstm("{batch: 3}"), Lstm("{batch: replica}"),
                    Lstm("batch", ", statistics: shared"),
                    "norm: {initial_scale: 0.1}, layers: [{conv: {out: 4, stride: 4, kernel: 4}}, "
                    "{rnn: {hidden: 8}}, {linear: 10}]"),
    [](const auto& info) { return std::to_string(info.index); });

// Running averages of every step, which evaluation takes: 5 steps of three norms.
TEST(RecurrentRunState, HasRunningStatisticsOfEveryTimeStep) {
  const InProcessRunResult run = RunOn(1, SmallRecurrentRun(Lstm("batch")));
  const int64_t of_gates = 2 * 24 + 1, of_cell = 2 * 6 + 1;
  EXPECT_EQ(run.state.running_statistics.elements(), 5 * (2 * of_gates + of_cell));
  const auto evaluated = [&](const char* with) {
    return std::count_if(run.records.begin(), run.records.end(),
                         [&](const MetricRecord& record) { return record.evaluation == with; });
  };
  for (const char* with : {"running", "precise", "batch"}) EXPECT_GT(evaluated(with), 0) << with;
}

}  // namespace
}  // namespace syncbn::train
