#include "forecast/step_program.h"

#include <algorithm>
#include <memory>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "comm/reducer_options.h"
#include "forecast/recording_reducer.h"
#include "nn/parameters.h"
#include "train/engine.h"
#include "train/train_step.h"

namespace syncbn::forecast {
namespace {

// Enough for every layer to have work: which messages a step has does not depend on the samples.
constexpr int64_t kRecordedBatch = 2;

data::Batch SomeBatch(const nn::InputSpec& input) {
  data::Batch batch{
      .images = Tensor::Zeros({kRecordedBatch, input.height, input.width, input.channels},
                              DType::kFloat32),
      .labels = Tensor::Zeros({kRecordedBatch}, DType::kInt32),
      .sample_ids = std::vector<uint64_t>(static_cast<size_t>(kRecordedBatch))};
  std::iota(batch.sample_ids.begin(), batch.sample_ids.end(), uint64_t{0});
  return batch;
}

std::string KeyOf(const v1::RunSpec& spec, const nn::Model& model, int replica) {
  std::string key = std::to_string(spec.cluster().replicas()) + " " + std::to_string(replica) +
                    " " + std::to_string(spec.cluster().bucket_mib());
  for (const comm::Group group : model.statistics_groups()) {
    key += " " + std::to_string(group.begin) + "-" + std::to_string(group.end);
  }
  return key + " " + spec.model().SerializeAsString();
}

int64_t Sum(const std::vector<std::vector<comm::RoundTraffic>>& groups,
            int64_t comm::RoundTraffic::*member) {
  int64_t sum = 0;
  for (const auto& rounds : groups) {
    for (const comm::RoundTraffic& round : rounds) sum += round.*member;
  }
  return sum;
}

}  // namespace

std::string StepProgram::NameOf(const ProgramEvent& event) const {
  return (event.kind == EventKind::kStart ? "start " : "wait ") +
         reductions[static_cast<size_t>(event.reduction)].name;
}

int64_t ProcessReduction::messages() const {
  return Sum(groups, &comm::RoundTraffic::messages_out);
}
int64_t ProcessReduction::bytes() const {
  return Sum(groups, &comm::RoundTraffic::bytes_out);
}

int64_t ProcessProgram::messages() const {
  int64_t sum = 0;
  for (const ProcessReduction& reduction : reductions) sum += reduction.messages();
  return sum;
}

int64_t ProcessProgram::bytes() const {
  int64_t sum = 0;
  for (const ProcessReduction& reduction : reductions) sum += reduction.bytes();
  return sum;
}

StepProgram ProgramRecorder::OfReplica(const v1::RunSpec& spec, int replica) {
  const std::unique_ptr<nn::Model> model = nn::BuildModelOf(spec, input_);
  const std::string key = KeyOf(spec, *model, replica);
  std::lock_guard lock(mutex_);
  if (const auto found = recorded_.find(key); found != recorded_.end()) return found->second;
  const int replicas = spec.cluster().replicas();
  RecordingReducer reducer(replicas, backend_);
  train::Engine engine({.first_replica = replica, .replicas = 1}, *model, backend_, reducer);
  train::TrainStep step(engine, train::BucketBytes(spec.cluster()));
  backend::Executor& main = engine.executors().main();
  const train::StepSettings settings{
      .global_batch = kRecordedBatch * replicas,
      .parameters = nn::ParameterSet(
          main.NewZeros({model->parameters().flat_elements()}, backend_.types().parameters)),
      .running_statistics =
          main.NewZeros({model->running_statistics().flat_elements()}, DType::kFloat64)};
  step.Run(settings, [&](int) { return SomeBatch(input_); });
  StepProgram program = reducer.last();
  for (ProgramEvent& event : program.events) event.compute = 0;
  return recorded_.emplace(key, std::move(program)).first->second;
}

ProcessProgram ProgramRecorder::OfProcess(const v1::RunSpec& spec, int processes, int rank) {
  if (spec.cluster().reduction() != v1::REDUCTION_TREE) {
    throw Error(
        ErrorCode::kUnimplemented,
        "cluster.reduction: the messages of `native` are the MPI library's own; a forecast is "
        "of `tree`");
  }
  const comm::ReplicaMap map(spec.cluster().replicas(), processes);
  const comm::Group local = map.OfProcess(rank);
  ProcessProgram process{.program = OfReplica(spec, local.begin)};
  const StepProgram last = OfReplica(spec, local.end - 1);
  SYNCBN_CHECK_EQ(last.reductions.size(), process.program.reductions.size())
      << "replicas of a process do not run the same step";
  const comm::ReducerOptions options{.replicas = spec.cluster().replicas()};
  std::map<std::pair<int, int>, comm::GroupPlan> plans;
  for (size_t i = 0; i < process.program.reductions.size(); ++i) {
    ProcessReduction& reduction = process.reductions.emplace_back();
    reduction.reduction = process.program.reductions[i];
    const ProgramReduction& other = last.reductions[i];
    SYNCBN_CHECK(other.name == reduction.reduction.name) << other.name;
    std::vector<comm::Group> groups = {reduction.reduction.group};
    if (other.group != groups.front()) groups.push_back(other.group);
    for (const comm::Group group : groups) {
      auto found = plans.find({group.begin, group.end});
      if (found == plans.end()) {
        found =
            plans.emplace(std::pair(group.begin, group.end), MakeGroupPlan(map, group, rank)).first;
      }
      auto rounds = comm::TrafficOf(found->second, reduction.reduction.content(), options);
      if (!rounds.empty()) reduction.groups.push_back(std::move(rounds));
    }
  }
  return process;
}

}  // namespace syncbn::forecast
