#include "train/training_run.h"

#include <chrono>
#include <new>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "base/unknown_value.h"
#include "comm/in_process.h"
#include "comm/make_reducer.h"
#include "train/checkpoint_exchange.h"

namespace syncbn::train {
namespace {

comm::ReducerKind KindOf(v1::Reduction reduction) {
  switch (reduction) {
    case v1::REDUCTION_TREE:
      return comm::ReducerKind::kTree;
    case v1::REDUCTION_NATIVE:
      return comm::ReducerKind::kNative;
    default:
      ThrowUnknownValue("cluster.reduction", static_cast<int>(reduction));
  }
}

comm::ReducerOptions ReducerOptionsOf(const PreparedRun& run, const backend::Backend& backend) {
  const v1::ClusterSpec& cluster = run.spec().cluster();
  return {.kind = KindOf(cluster.reduction()),
          .replicas = cluster.replicas(),
          .stall_timeout =
              std::chrono::nanoseconds(static_cast<int64_t>(cluster.stall_timeout() * 1e9)),
          .native_groups = run.model().statistics_groups(),
          .backend = &backend};
}

}  // namespace

TrainingRun::TrainingRun(const PreparedRun& run, RunEnvironment environment)
    : run_(run), environment_(std::move(environment)) {
  SYNCBN_CHECK(environment_.backend != nullptr);
  if (environment_.communicator == nullptr) {
    own_ = std::move(comm::MakeInProcessCommunicators(1).front());
    environment_.communicator = own_.get();
  }
  comm::Communicator& communicator = *environment_.communicator;
  local_ = comm::ReplicaMap(run.spec().cluster().replicas(), communicator.size())
               .OfProcess(communicator.rank());
  reducer_ = comm::MakeReducer(communicator, ReducerOptionsOf(run, *environment_.backend));
  try {
    Assemble();
  } catch (const std::exception& error) {
    Fail(error);
  }
  if (environment_.on_board) environment_.on_board(&reducer_->board());
}

TrainingRun::~TrainingRun() {
  if (environment_.on_board) environment_.on_board(nullptr);
}

void TrainingRun::Assemble() {
  engine_ = std::make_unique<Engine>(EngineOptions{.first_replica = local_.begin,
                                                   .replicas = local_.size(),
                                                   .concurrency = environment_.concurrency,
                                                   .on_stuck = environment_.on_stuck},
                                     run_.model(), *environment_.backend, *reducer_);
  trainer_ = std::make_unique<Trainer>(run_.spec(), *engine_, run_.train(), run_.test(),
                                       std::move(environment_.training));
  RestoreEverywhere(*environment_.communicator,
                    environment_.resume_from ? &*environment_.resume_from : nullptr,
                    environment_.backend->types().parameters, *trainer_);
  environment_.resume_from.reset();
}

RunResult TrainingRun::Run() {
  try {
    RunResult result{.summary = trainer_->Run(), .state = trainer_->state().OnHost()};
    result.summary.processes = environment_.communicator->size();
    return result;
  } catch (const std::exception& error) {
    Fail(error);
  }
}

void TrainingRun::Fail(const std::exception& error) {
  // Others may be waiting for this process: they are released, and the reducer ends without them.
  reducer_->Poison(local_.begin, error.what());
  RethrowAsError();
}

void RethrowAsError() {
  try {
    throw;
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::kResourceExhausted,
                "out of memory: the model, its gradients and the optimizer's state do not fit");
  } catch (const std::exception& error) {
    throw Error(ErrorCode::kInternal, error.what());
  }
}

RunResult RunTraining(const PreparedRun& run, RunEnvironment environment) {
  return TrainingRun(run, std::move(environment)).Run();
}

RunResult RunTraining(const v1::RunSpec& spec, RunEnvironment environment) {
  data::DatasetCache alone;
  const PreparedRun run(spec, environment.datasets != nullptr ? *environment.datasets : alone);
  return RunTraining(run, std::move(environment));
}

}  // namespace syncbn::train
