// The messages that a forecast predicts are those that a run sends: counted by its reducers.
#include "comm/message_plan.h"

#include <gtest/gtest.h>

#include "forecast/step_program.h"
#include "tests/support/in_process_run.h"
#include "tests/support/small_run.h"
#include "train/prepared_run.h"
#include "train/run_end.h"

namespace syncbn::forecast {
namespace {

// By process, of whole runs.
std::vector<comm::ReducerCounters> Counted(const v1::RunSpec& spec, int processes, int64_t steps,
                                           data::DatasetCache& datasets) {
  v1::RunSpec run = spec;
  run.mutable_train()->set_max_steps(steps);
  std::vector<comm::ReducerCounters> counters(static_cast<size_t>(processes));
  RunInProcess(run,
               {.processes = processes,
                .datasets = &datasets,
                .adjust = [](int, train::TrainerOptions& options) { options.evaluate = false; },
                .after =
                    [&](int process, train::Engine& engine) {
                      counters[static_cast<size_t>(process)] = engine.reducer().counters();
                    }});
  return counters;
}

// What the second and third step add: a run's start and end cancel out.
void ExpectPredicted(const std::string& yaml, const std::vector<int>& all_processes) {
  const v1::RunSpec spec = RunSpecFromYaml(yaml);
  data::DatasetCache datasets;
  const train::PreparedRun prepared(spec, datasets);
  const auto backend = std::string_view(kTestBackend) == "cpu" ? backend::MakeCpuBackend()
                                                               : backend::MakeReferenceBackend();
  ProgramRecorder recorder(*backend, prepared.model().input());
  for (const int processes : all_processes) {
    const auto one = Counted(spec, processes, 1, datasets),
               three = Counted(spec, processes, 3, datasets);
    int64_t sent = 0;
    for (int rank = 0; rank < processes; ++rank) {
      SCOPED_TRACE("rank " + std::to_string(rank) + " of " + std::to_string(processes));
      const ProcessProgram program = recorder.OfProcess(spec, processes, rank);
      const auto at = static_cast<size_t>(rank);
      EXPECT_EQ(2 * program.messages(), three[at].messages - one[at].messages);
      EXPECT_EQ(2 * program.bytes(), three[at].bytes - one[at].bytes);
      sent += program.messages();
    }
    EXPECT_GT(sent, 0) << processes << " processes";
  }
}

TEST(MessagePlan, EqualsWhatRunsOfAResidualNetSend) {
  for (const char* norm : {"4", "16", "global"}) {
    SCOPED_TRACE(norm);
    ExpectPredicted(SmallRun(8, 4, norm), {2, 3, 4, 8});
  }
}

TEST(MessagePlan, EqualsWhatRunsSendWhereGroupsCrossProcessesUnevenly) {
  ExpectPredicted(SmallRun(6, 4, "8"), {4, 5});
  ExpectPredicted(SmallRun(5, 4, "global"), {2, 3, 4, 5});
}

TEST(MessagePlan, EqualsWhatRunsSendInRanges) {
  // Hidden layers of 256: buckets above what travels whole.
  const std::string wide =
      "data: {dataset: shapes, shapes: {train_samples: 64, test_samples: 8}}\n"
      "model: {architecture: mlp, hidden: [256], norm: {kind: batch, batch: global}}\n"
      "cluster: {replicas: 8, batch_per_replica: 2, bucket_mib: 1}\n"
      "train: {epochs: 10, learning_rate: 0.01}\n";
  ExpectPredicted(wide, {2, 3, 4, 8});
}

TEST(MessagePlan, EqualsWhatRunsWithoutBatchNormSend) {
  const std::string lenet =
      "data: {dataset: shapes, shapes: {train_samples: 64, test_samples: 8}}\n"
      "model: {architecture: lenet, norm: {kind: group, groups: 2}}\n"
      "cluster: {replicas: 8, batch_per_replica: 2}\n"
      "train: {epochs: 10, learning_rate: 0.01}\n";
  ExpectPredicted(lenet, {2, 4, 8});
}

TEST(MessagePlan, AProcessAloneSendsNothing) {
  const comm::ReplicaMap map(4, 1);
  EXPECT_TRUE(comm::TrafficOf(comm::MakeGroupPlan(map, {0, 4}, 0),
                              {.dtype = DType::kFloat32, .elements = 10}, {.replicas = 4})
                  .empty());
}

TEST(MessagePlan, GrowsWithTheLogarithmOfTheProcessesWhereMessagesAreSmall) {
  const comm::ReplicaMap map(1024, 1024);
  const auto rounds =
      comm::TrafficOf(comm::MakeGroupPlan(map, {0, 1024}, 7),
                      {.dtype = DType::kFloat64, .elements = 129}, {.replicas = 1024});
  ASSERT_EQ(rounds.size(), 10u);
  for (const comm::RoundTraffic& round : rounds) {
    EXPECT_EQ(round, (comm::RoundTraffic{1, 1, 129 * 8, 129 * 8, 129 * 8}));
  }
}

}  // namespace
}  // namespace syncbn::forecast
