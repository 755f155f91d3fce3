#include "train/training_run.h"

#include <algorithm>
#include <chrono>
#include <new>
#include <string>
#include <utility>

#include "base/activity.h"
#include "base/check.h"
#include "base/error.h"
#include "base/exception_text.h"
#include "base/unknown_value.h"
#include "comm/in_process.h"
#include "comm/make_reducer.h"
#include "comm/shared_failure.h"
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

comm::ReducerOptions ReducerOptionsOf(const PreparedRun& run, const RunEnvironment& environment) {
  const v1::ClusterSpec& cluster = run.spec().cluster();
  comm::OnPassage on_passage;
  if (Recorder* const recorder = environment.recorder; recorder != nullptr) {
    on_passage = [recorder](const comm::Passage& passage) { recorder->Passed(passage); };
  }
  return {.kind = KindOf(cluster.reduction()),
          .replicas = cluster.replicas(),
          .stall_timeout =
              std::chrono::nanoseconds(static_cast<int64_t>(cluster.stall_timeout() * 1e9)),
          .native_groups = run.model().statistics_groups(),
          .make_exchange = environment.make_exchange,
          .on_passage = std::move(on_passage),
          .backend = environment.backend};
}

}  // namespace

TrainingRun::TrainingRun(const PreparedRun& run, RunEnvironment environment)
    : run_(run), environment_(std::move(environment)) {
  SYNCBN_CHECK(environment_.backend != nullptr);
  if (environment_.communicator == nullptr) {
    own_ = std::move(comm::MakeInProcessCommunicators(1).front());
    environment_.communicator = own_.get();
  }
  try {
    Assemble();
  } catch (...) {
    Fail();
  }
}

TrainingRun::~TrainingRun() = default;

TrainingRun::BoardLoan::~BoardLoan() {
  if (!on_board) return;
  try {
    on_board(nullptr);
  } catch (...) {
    // Whoever cannot be told has no use for the board either, and the run has its end already.
  }
}

void TrainingRun::Assemble() {
  // First of all: from here on nothing of this run meets other runs on the caller's communicator.
  communicator_ = environment_.communicator->Duplicate();
  // Others wait while the root restores a checkpoint.
  const std::chrono::duration<double> patience(kOutsidePatience *
                                               run_.spec().cluster().stall_timeout());
  communicator_->SetTimeout(
      std::max(comm::Communicator::kDefaultTimeout,
               std::chrono::duration_cast<std::chrono::milliseconds>(patience)));
  local_ = comm::ReplicaMap(run_.spec().cluster().replicas(), communicator_->size())
               .OfProcess(communicator_->rank());
  std::exception_ptr failure;
  try {
    AssembleAlone();
  } catch (...) {
    failure = std::current_exception();
  }
  // No reduction is waited for yet in which the others could hear of it.
  comm::ShareFailure(*communicator_, failure, "begin the run");
  const DType type = backend_->get().types().parameters;
  const bool goes_on = RestoreEverywhere(
      *communicator_, environment_.resume_from ? &*environment_.resume_from : nullptr, type,
      *trainer_);
  const v1::InitSpec& init = run_.spec().model().init();
  if (!goes_on && !init.from().empty()) {
    TakeWeightsEverywhere(*communicator_, init,
                          environment_.weights ? &*environment_.weights : nullptr, run_.model(),
                          type, *trainer_);
  }
  environment_.resume_from.reset();
  environment_.weights.reset();
  if (environment_.on_board) {
    // Before it is called: also who throws may have kept the board.
    board_loan_.on_board = environment_.on_board;
    environment_.on_board(&reducer_->board());
  }
}

void TrainingRun::AssembleAlone() {
  backend_.emplace(*environment_.backend, run_.spec());
  const backend::Backend& backend = backend_->get();
  reducer_ = comm::MakeReducer(*communicator_, ReducerOptionsOf(run_, environment_));
  engine_ = std::make_unique<Engine>(EngineOptions{.first_replica = local_.begin,
                                                   .replicas = local_.size(),
                                                   .concurrency = environment_.concurrency,
                                                   .recorder = environment_.recorder,
                                                   .on_stuck = environment_.on_stuck},
                                     run_.model(), backend, *reducer_);
  // Files are decoded by as many threads as replicas compute at once; bytes in memory need one.
  if (!run_.data().train().in_memory()) {
    environment_.training.loader_threads = environment_.concurrency;
  }
  trainer_ = std::make_unique<Trainer>(run_.spec(), *engine_, run_.train(), run_.test(),
                                       std::move(environment_.training));
}

RunResult TrainingRun::Run() {
  try {
    RunResult result{.summary = trainer_->Run(), .state = trainer_->state().OnHost()};
    result.summary.processes = communicator_->size();
    return result;
  } catch (...) {
    Fail();
  }
}

void TrainingRun::Fail() {
  const std::string cause = ExceptionText(std::current_exception());
  // Others may be waiting for this process: they are released, and the reducer ends without them.
  if (reducer_) reducer_->Poison(local_.begin, cause);
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
  } catch (...) {
    throw Error(ErrorCode::kInternal, kUnknownException);
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
