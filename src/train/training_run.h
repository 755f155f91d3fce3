// A run as a library call: all that it needs of the outside is handed in. It prints nothing, ends
// no process, and any number of runs may go on side by side in one.
//
// Whoever trains calls this: the train command and its children under verify, replay, tests,
// benchmarks.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <optional>

#include "backend/backend.h"
#include "comm/communicator.h"
#include "comm/progress_board.h"
#include "comm/reducer.h"
#include "comm/reducer_options.h"
#include "data/dataset_cache.h"
#include "train/checkpoint_store.h"
#include "train/engine.h"
#include "train/initial_weights.h"
#include "train/prepared_run.h"
#include "train/run_backend.h"
#include "train/summary.h"
#include "train/trainer.h"

namespace syncbn::train {

// What is pointed at must outlive the run.
struct RunEnvironment {
  // Required. The run is computed in the precision of its run file, which this back end must have.
  const backend::Backend* backend = nullptr;
  // Where this process meets the others of the run; comm::ReplicaMap deals them the replicas. Null:
  // it is alone. A run duplicates it first of all and uses the duplicate alone: of several runs on
  // the same one all processes must begin in the same order, and what the runs do afterwards does
  // not mix (over MPI, where the exchanges of duplicates share one order, one run must be
  // constructed in all processes before the next begins).
  comm::Communicator* communicator = nullptr;
  // How processes exchange data; empty: messages. Changes no result.
  comm::MakeExchange make_exchange = {};
  // Where data sets come from. Null: they are loaded for this run alone.
  data::DatasetCache* datasets = nullptr;
  // Replicas of the process that compute at the same time, where they do not need each other.
  int concurrency = 1;
  // What the run goes on from. Only the root's (rank 0) is looked at; whether the checkpoint may be
  // continued is for the caller to say.
  std::optional<StoredCheckpoint> resume_from = std::nullopt;
  // The file of model.init.from, where the caller has read it. Only the root's is looked at;
  // without it the root reads the file, unless the run goes on from a checkpoint.
  std::optional<WeightsFile> weights = std::nullopt;
  // Sinks of metrics, checkpoints, observers, what stops it.
  TrainerOptions training = {};
  // Records some of its steps; null: nobody does. This process's alone.
  Recorder* recorder = nullptr;
  // See EngineOptions.
  std::function<void(const Error& failure)> on_stuck = {};
  // Told where it can be seen, from any thread, what the process and its replicas are doing; null
  // before that goes away, also where the run fails. May be empty.
  std::function<void(comm::ProgressBoard* board)> on_board = {};
};

struct RunResult {
  // What only the caller knows (command, hosts, versions, attempt) is left to it. `processes` is
  // filled in.
  Summary summary;
  // At the end, on the host; its digest is in the summary.
  TrainingState state;
};

// One process's part of a run, assembled: the reducer that its replicas meet in, their threads and
// workspaces, the trainer.
//
// Construction, which restores what the run goes on from, Run and destruction (unless a failure
// came first) are collective. They throw an Error, RESOURCE_EXHAUSTED where the memory does not
// suffice; the other processes are then told the cause, and fail with ABORTED.
class TrainingRun {
 public:
  // `run` must outlive it.
  TrainingRun(const PreparedRun& run, RunEnvironment environment);
  ~TrainingRun();
  TrainingRun(const TrainingRun&) = delete;
  TrainingRun& operator=(const TrainingRun&) = delete;

  Engine& engine() { return *engine_; }

  // See Trainer::Run. Once. On the CPU back end the calling thread computes too, and has one OpenMP
  // thread (omp_set_num_threads) from then on: the bits depend on their number.
  RunResult Run();

 private:
  // Takes the board back.
  struct BoardLoan {
    ~BoardLoan();
    std::function<void(comm::ProgressBoard* board)> on_board = {};
  };

  void Assemble();
  // Reducer, engine and trainer: what this process can fail at by itself.
  void AssembleAlone();
  // While an exception is handled: tells it to the others, and throws it on as an Error.
  [[noreturn]] void Fail();

  const PreparedRun& run_;
  RunEnvironment environment_;
  // Where none is given.
  std::unique_ptr<comm::Communicator> own_;
  // This run's alone.
  std::unique_ptr<comm::Communicator> communicator_;
  comm::Group local_;
  std::optional<RunBackend> backend_;
  std::unique_ptr<comm::Reducer> reducer_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Trainer> trainer_;
  BoardLoan board_loan_;
};

// To be called while an exception is handled: throws it on if it is an Error, else as one:
// RESOURCE_EXHAUSTED for std::bad_alloc, INTERNAL for others, whatever their type.
[[noreturn]] void RethrowAsError();

// Trains by a validated and complete run file, from its data to its end. Collective; throws what
// PreparedRun and TrainingRun throw. A process whose data or model are wrong has not met the
// others: it is the caller who ends them (as all have the same run file, they most likely found the
// same).
RunResult RunTraining(const v1::RunSpec& spec, RunEnvironment environment);
// The same where data and model are there already.
RunResult RunTraining(const PreparedRun& run, RunEnvironment environment);

}  // namespace syncbn::train
