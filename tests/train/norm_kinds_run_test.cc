// Whole runs of models with norms over the batch of every kind, noise, branches and dropout between
// layers: the same bits on any number of processes, and behind a checkpoint.
#include <gtest/gtest.h>

#include <string>

#include "tests/support/in_process_run.h"
#include "tests/support/temp_folder.h"

namespace syncbn::train {
namespace {

// 42 samples in batches of 18 end in one of 6; a replica has none throughout. `model`: keys of the run
// file's model.
v1::RunSpec RunOf(const std::string& model, int steps = 6) {
  v1::RunSpec spec = RunSpecFromYaml(
      "seed: 5\n"
      "data: {dataset: shapes, shapes: {train_samples: 42, test_samples: 10}}\n"
      "model: {" +
      model +
      "}\n"
      "cluster: {replicas: 4, batch_per_replica: [4, 5, 0, 9]}\n"
      "train:\n"
      "  epochs: 2\n"
      "  clip_norm: 1\n"
      "  optimizer: {momentum: 0.9, weight_decay: 0.001}\n"
      "  learning_rate: {base: 0.05}\n"
      "  evaluate: {with: [running, precise, batch], precise_samples: 20}\n"
      "output: {digests: true}\n");
  spec.mutable_train()->set_max_steps(steps);
  return spec;
}

std::string Small(const std::string& norm, const std::string& more = "") {
  return "architecture: vgg_small, width: 0.5, norm: " + norm + more;
}

class NormKindsRun : public testing::TestWithParam<std::string> {};

TEST_P(NormKindsRun, EndsInTheSameBitsOnAnyNumberOfProcesses) {
  const v1::RunSpec spec = RunOf(GetParam());
  const InProcessRunResult one = RunInProcess(spec, {.processes = 1});
  ASSERT_EQ(one.StepDigests().size(), 6u);
  EXPECT_NE(one.StepDigests().at(0), one.StepDigests().at(5)) << "nothing was learned";
  EXPECT_EQ(one.summary.skipped_steps, 0);
  for (const int processes : {2, 3, 4}) {
    SCOPED_TRACE(processes);
    const InProcessRunResult many = RunInProcess(spec, {.processes = processes});
    EXPECT_EQ(many.StepDigests(), one.StepDigests());
    ASSERT_EQ(many.records.size(), one.records.size());
    for (size_t i = 0; i < one.records.size(); ++i) {  // those of evaluations, too
      EXPECT_EQ(many.records[i].loss, one.records[i].loss) << i;
      EXPECT_EQ(many.records[i].evaluation, one.records[i].evaluation) << i;
    }
  }
}

TEST_P(NormKindsRun, ResumesWithTheSameBitsOnAnotherNumberOfProcesses) {
  const InProcessRunResult whole = RunInProcess(RunOf(GetParam()), {.processes = 2});
  TempFolder out;
  RunInProcess(RunOf(GetParam(), 4), {.processes = 3, .out = out.path()});  // inside an epoch of 3
  const InProcessRunResult rest =
      RunInProcess(RunOf(GetParam()), {.processes = 1, .out = out.path(), .resume = true});
  EXPECT_EQ(rest.digests[0], whole.digests[0]);
  EXPECT_EQ(rest.StepDigests().size(), 2u);
  EXPECT_EQ(rest.records.back().loss, whole.records.back().loss);
}

INSTANTIATE_TEST_SUITE_P(
    Models, NormKindsRun,
    testing::Values(
        Small("batch_renorm"), Small("{kind: batch_renorm, batch: 9, renorm: {ramp_steps: 3}}"),
        Small("{kind: batch_renorm, batch: 3}"), Small("iterative", ", activation: gelu"),
        Small("{kind: iterative, batch: 9, group_channels: 6}"),
        Small("{kind: iterative, batch: 3}", ", activation: silu"),
        Small("{kind: iterative, batch: replica, running: cumulative}"),
        Small("{noise: {shift: 0.5, scale: 1.25}}", ", dropout: 0.2, dropout_place: before_norm"),
        Small("{placement: after_activation}", ", dropout: 0.2, dropout_place: after_activation"),
        "architecture: inception_bn_small, width: 0.25, norm: {initial_scale: 0.5}",
        "norm: {kind: iterative, batch: 9}, layers: [{conv: {out: 4, stride: 4, kernel: 4}}, norm, "
        "gelu, {concat: {branches: [{body: [{conv: {out: 3, padding: 1}}, {norm: {kind: batch}}]}, "
        "{}]}}, silu, global_average_pool, {linear: 10}]"),
    [](const auto& info) { return std::to_string(info.index); });

}  // namespace
}  // namespace syncbn::train
