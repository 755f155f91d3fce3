#include "app/run/run_session.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <set>
#include <thread>

#include "app/exit_code.h"
#include "app/run/checkpoint_exchange.h"
#include "app/run/console_observer.h"
#include "app/run/local_run.h"
#include "app/run/output_folder.h"
#include "app/run/run_ending.h"
#include "app/run/run_notes.h"
#include "app/run/run_report.h"
#include "app/run/signals.h"
#include "app/terminal.h"
#include "app/versions.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/host.h"
#include "base/text.h"
#include "base/unknown_value.h"
#include "comm/handshake.h"
#include "comm/make_reducer.h"
#include "comm/mpi/mpi_session.h"
#include "config/difference.h"
#include "config/validate.h"
#include "nn/statistics_scope.h"

namespace syncbn::app {
namespace {

namespace fs = std::filesystem;

// What mpirun or srun tells a process before MPI is started.
struct LaunchPlace {
  int rank = 0;
  int size = 1;
};

int FromEnvironment(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::atoi(text);
}

LaunchPlace PlaceOfThisProcess() {
  if (!comm::MpiSession::UnderMpirun()) return {};
  // `srun --mpi=pmix` gives the rank alone; the number of processes is Slurm's word.
  const int pmi_rank = FromEnvironment("PMIX_RANK", FromEnvironment("PMI_RANK", 0));
  const int pmi_size = FromEnvironment("PMI_SIZE", FromEnvironment("SLURM_STEP_NUM_TASKS", 1));
  return {.rank = FromEnvironment("OMPI_COMM_WORLD_RANK", pmi_rank),
          .size = FromEnvironment("OMPI_COMM_WORLD_SIZE", pmi_size)};
}

void PrintError(const Error& error, const LaunchPlace& place) {
  if (place.size > 1) {
    Say(stderr, "syncbn: rank %d on %s: %s\n", place.rank, HostName().c_str(), error.what());
  } else {
    Say(stderr, "syncbn: %s\n", error.what());
  }
  std::fflush(stderr);
}

comm::ReducerKind KindOf(v1::Reduction reduction) {
  switch (reduction) {
    case v1::REDUCTION_TREE: return comm::ReducerKind::kTree;
    case v1::REDUCTION_NATIVE: return comm::ReducerKind::kNative;
    default: ThrowUnknownValue("cluster.reduction", static_cast<int>(reduction));
  }
}

// The replicas whose statistics are merged across replicas, for a reducer that must know them before.
std::vector<comm::Group> StatisticsGroups(const v1::RunSpec& spec) {
  std::set<int> sizes;
  auto add = [&](const v1::NormSpec& norm) {
    if (norm.kind() == v1::NORM_KIND_BATCH) {
      sizes.insert(nn::ResolveScope(norm.batch(), spec.cluster()).replicas_per_group);
    }
  };
  auto add_layers = [&](const auto& self, const auto& layers) -> void {
    for (const v1::LayerSpec& layer : layers) {
      if (layer.has_norm()) add(layer.norm());
      if (layer.has_residual()) {
        self(self, layer.residual().body());
        self(self, layer.residual().shortcut());
      }
    }
  };
  add(spec.model().norm());
  add_layers(add_layers, spec.model().layers());
  std::vector<comm::Group> groups;
  const int replicas = spec.cluster().replicas();
  for (int size : sizes) {
    if (size <= 1 || size == replicas) continue;
    for (int begin = 0; begin + size <= replicas; begin += size) groups.push_back({begin, begin + size});
  }
  return groups;
}

// The console, and what the coordinator is to know of what is shown there.
class Observer : public ConsoleObserver {
 public:
  Observer(const Options& options, RunReport& report) : ConsoleObserver(options), report_(report) {}
  void OnCheckpoint(const fs::path& folder, int64_t step) override {
    ConsoleObserver::OnCheckpoint(folder, step);
    report_.SetCheckpoint(step);
    saved_ = step;
  }
  // Of the newest checkpoint of this run, also of the one it goes on from.
  void SetSaved(int64_t step) { saved_ = step; }
  std::optional<int64_t> saved() const { return saved_; }

 private:
  RunReport& report_;
  std::optional<int64_t> saved_;
};

// metrics.jsonl and the coordinator. Where the trainer writes is known once it is restored, so the file
// comes later.
class RunSink : public train::MetricSink {
 public:
  RunSink(RunReport& report, const v1::RunSpec& spec) : report_(report) {
    const auto& evaluations = spec.train().evaluate().with();
    if (!evaluations.empty()) {
      evaluation_ = train::EvaluationName(static_cast<v1::EvaluationMode>(evaluations[0]));
    }
  }
  void Open(const train::JsonlSinkOptions& options) { file_.emplace(options); }
  void Write(const train::MetricRecord& record) override {
    file_->Write(record);
    report_.Write(record, evaluation_);
  }
  void Flush() override {
    report_.Flush();
    if (file_) file_->Flush();
  }

 private:
  RunReport& report_;
  std::string evaluation_;
  std::optional<train::JsonlSink> file_;
};

// For the time in which a reducer can be looked at.
class ReducerView {
 public:
  ReducerView(RunReport& report, comm::Reducer& reducer) : report_(report) {
    report_.SetReducer(&reducer);
  }
  ~ReducerView() { report_.SetReducer(nullptr); }

 private:
  RunReport& report_;
};

// Says how the process ends, to people and to the coordinator; returns the exit code.
using LeaveWith = std::function<int(const Error& error)>;

class Session {
 public:
  Session(const RunRequest& request, const LocalRun& run, comm::Communicator& communicator,
          RunReport& report, const LeaveWith& leave)
      : request_(request),
        run_(run),
        communicator_(communicator),
        report_(report),
        leave_(leave),
        root_(communicator.rank() == 0) {}

  // Returns the exit code.
  int Run();

 private:
  int Train(const comm::ReplicaMap& map, comm::Reducer& reducer, Observer& observer,
            std::optional<train::CheckpointStore>& store,
            const std::map<std::string, std::string>& facts);
  // Shows, writes and reports how the run has ended; the exit code. Collective. `intact`: what the
  // folder holds says so already.
  int Finish(train::Summary summary, bool intact, const Observer& observer,
             const train::CheckpointStore* store);
  void Introduce(const comm::ReplicaMap& map) const;

  const RunRequest& request_;
  const LocalRun& run_;
  comm::Communicator& communicator_;
  RunReport& report_;
  const LeaveWith& leave_;
  const bool root_;
  std::vector<std::string> hosts_;
  fs::path out_;
  int attempt_ = 1;
};

int Session::Run() {
  const v1::RunSpec& spec = run_.spec();
  const int replicas = spec.cluster().replicas();
  const comm::ReplicaMap map(replicas, communicator_.size());
  const std::map<std::string, std::string> facts = run_.Facts();
  std::vector<comm::Fact> compared;
  for (const auto& [name, value] : facts) compared.push_back({name, value});
  // Also what does not change the result, such as when to write a checkpoint: all processes must do it
  // at the same step.
  const std::string settings = config::CanonicalText(spec, config::CanonicalScope::kAll);
  compared.push_back({"run file with the settings that change no result",
                      DigestOf(std::as_bytes(std::span(settings))).Hex()});
  compared.push_back(
      {"steps to dump (--dump-from + --dump-steps)",
       std::to_string(request_.dump_from) + " + " + std::to_string(request_.dump_steps)});
  hosts_ = comm::Handshake(communicator_, HostName(), compared);
  report_.SetPhase(Activity::kStart);
  const std::chrono::nanoseconds stall_timeout(
      static_cast<int64_t>(spec.cluster().stall_timeout() * 1e9));
  // Others wait while the root prepares the folder and reads a checkpoint.
  communicator_.SetTimeout(std::max<std::chrono::milliseconds>(
      comm::Communicator::kDefaultTimeout,
      std::chrono::duration_cast<std::chrono::milliseconds>(kOutsidePatience * stall_timeout)));

  Observer observer({.quiet = request_.quiet,
                     .live = request_.live.value_or(!comm::MpiSession::UnderMpirun()),
                     .has_batch_norm = config::HasBatchNorm(spec.model())},
                    report_);
  out_ = request_.out.empty() ? fs::path("runs") / spec.name() : request_.out;
  std::optional<train::CheckpointStore> store;
  if (root_) {
    PrepareOutputFolder(out_, request_.resume      ? OutputUse::kResume
                              : request_.overwrite ? OutputUse::kOverwrite
                                                   : OutputUse::kNew);
    store.emplace(train::CheckpointStoreOptions{
        .out = out_,
        .keep = spec.train().checkpoint().keep(),
        .on_warning = [&](const std::string& warning) { observer.OnWarning(warning); }});
    // A coordinator's number means that it has given up the attempt before, whether that lives or
    // not.
    const bool takes_over = request_.overwrite || request_.attempt.has_value();
    attempt_ = store->Claim(request_.attempt, takes_over ? train::LivingOwner::kReplaced
                                                         : train::LivingOwner::kRespected);
    if (request_.overwrite) RemoveFormerRun(out_, *store);
    if (!request_.quiet) Introduce(map);
  }
  // Nobody goes on before the root has found the folder to be right.
  communicator_.Barrier();

  const std::unique_ptr<comm::Reducer> reducer = comm::MakeReducer(
      communicator_,
      {.kind = KindOf(spec.cluster().reduction()),
       .replicas = replicas,
       .stall_timeout = stall_timeout,
       .native_groups = StatisticsGroups(spec)});
  const ReducerView view(report_, *reducer);
  try {
    return Train(map, *reducer, observer, store, facts);
  } catch (const Error& error) {
    // Others may be waiting for this process: release them, and let the reducer end without them.
    reducer->Poison(map.OfProcess(communicator_.rank()).begin, error.what());
    throw;
  }
}

int Session::Train(const comm::ReplicaMap& map, comm::Reducer& reducer, Observer& observer,
                   std::optional<train::CheckpointStore>& store,
                   const std::map<std::string, std::string>& facts) {
  const v1::RunSpec& spec = run_.spec();
  const comm::Group local = map.OfProcess(communicator_.rank());
  train::Engine engine({.first_replica = local.begin,
                        .replicas = local.size(),
                        .concurrency = request_.threads.value_or(CoresPerProcess()),
                        .on_stuck = [&](const Error& error) { communicator_.Abort(leave_(error)); }},
                       run_.model(), run_.backend(), reducer);
  SignalWishes signals(root_);
  train::TrainerOptions options;
  options.evaluate = request_.evaluate;
  options.dump_from = request_.dump_from;
  options.dump_steps = request_.dump_steps;
  options.wishes = [&] {
    train::Wishes wishes = signals.Take();
    wishes.stop |= report_.stop_wanted();
    return wishes;
  };
  options.on_phase = [&](Activity activity, int64_t steps, double epoch) {
    report_.SetPhase(activity, steps, epoch);
  };
  if (request_.fault.kind != Fault::Kind::kNone) {
    options.observe = [&](int64_t step, int replica) { return request_.fault.Observe(step, replica); };
    options.on_batch = [&](int64_t step, int replica, data::Batch& batch) {
      request_.fault.OnBatch(step, replica, batch);
    };
  }
  RunSink sink(report_, spec);
  if (root_) {
    options.metrics = &sink;
    options.observer = &observer;
    if (request_.write_checkpoints) options.checkpoints = &*store;
    options.out = out_;
    options.manifest.attempt = attempt_;
    options.manifest.run_file = run_.file().EffectiveYaml();
    options.manifest.environment = facts;
  }
  train::Trainer trainer(spec, engine, run_.train(), run_.test(), options);
  int64_t from = 0;
  if (request_.resume) {
    const v1::ResumeOn resume_on = spec.train().checkpoint().resume_on();
    // In a job nobody is there to be asked.
    const bool any = resume_on == v1::RESUME_ON_ANY ||
                     (resume_on == v1::RESUME_ON_UNSPECIFIED && report_.active());
    const Resumption resumption = RestoreEverywhere(communicator_, root_ ? &*store : nullptr, spec,
                                                    facts, any, run_.backend().dtype(), trainer);
    from = resumption.step;
    if (root_ && !request_.quiet && from < trainer.end_step()) {
      Say(stdout,
          from > 0 ? "resumed after step %lld\n"
                   : "no checkpoint yet: starting at the first step\n",
          static_cast<long long>(from));
    }
    if (!resumption.other_bits.empty()) {
      const std::string note =
          "goes on after step " + std::to_string(from) +
          " with other bits than if it had not been stopped: " + resumption.other_bits;
      report_.SetNote(note);
      if (root_) observer.OnWarning(note + "; its metrics, checkpoints and summary are marked");
    }
  }
  const bool done = from > 0 && from >= trainer.end_step() && !trainer.EvaluationIsPending();
  const bool intact = done && root_ && IsFinishedSummary(out_ / "summary.json", from);
  if (root_ && !intact) {
    sink.Open({.path = out_ / "metrics.jsonl",
               .resume_at_step = request_.resume ? std::optional<int64_t>(from) : std::nullopt,
               .evaluation_pending = trainer.EvaluationIsPending(),
               .every_steps = run_.spec().output().every_steps(),
               .on_warning = [&](const std::string& warning) { observer.OnWarning(warning); }});
    WriteFileAtomically(out_ / "run.yaml", run_.file().EffectiveYaml());
  }

  if (from > 0) {
    report_.SetCheckpoint(from);
    observer.SetSaved(from);
  }
  report_.SetPlan(trainer.end_step(), from);
  if (root_ && done) {
    Say(stdout, "already finished: the run has done %s and the run file asks for %lld%s. %s\n",
        Plural(from, "step").c_str(), static_cast<long long>(trainer.end_step()),
        intact ? "; nothing was changed" : "",
        HowToExtend(spec, trainer.end_step() < trainer.total_steps()).c_str());
  }
  train::Summary summary = trainer.Run();
  observer.Finish();
  return Finish(std::move(summary), intact, observer, root_ ? &*store : nullptr);
}

int Session::Finish(train::Summary summary, bool intact, const Observer& observer,
                    const train::CheckpointStore* store) {
  report_.SetPhase(Activity::kFinish, summary.steps, summary.epochs);
  if (root_ && !intact) {
    // Also where no checkpoint was to be written: the folder may be another attempt's by now.
    try {
      store->CheckAttempt(attempt_);
    } catch (const Error& error) {
      // What cannot be looked at has not been taken over, and does not change how the run has ended.
      if (error.code() == ErrorCode::kAborted) throw;
    }
    summary.command = request_.command;
    summary.processes = communicator_.size();
    summary.hosts = hosts_;
    summary.versions = LibraryVersions();
    summary.attempt = attempt_;
    if (!request_.quiet) PrintSummary(summary, out_, config::HasBatchNorm(run_.spec().model()));
    LeaveSummary(out_ / "summary.json", summary);
  }
  AgreeOnEnd(communicator_, summary);
  report_.Finish(summary);
  if (root_) SayEnd(summary, observer.saved());
  return ExitCodeOf(summary.end);
}

void Session::Introduce(const comm::ReplicaMap& map) const {
  const std::set<std::string> hosts(hosts_.begin(), hosts_.end());
  Say(stdout, "%s: %s\n", run_.spec().name().c_str(), run_.Description().c_str());
  Say(stdout, "%s on %s, %s; SGD batch %lld\n", Plural(map.replicas(), "replica").c_str(),
      Plural(map.processes(), "process").c_str(),
      Plural(static_cast<long long>(hosts.size()), "host").c_str(),
      static_cast<long long>(run_.sgd_batch()));
  PrintNotes(
      NotesOf(run_.spec(), &run_.model(),
              {.train = run_.train().dataset().size(), .test = run_.test().dataset().size()}));
  const int cores = AvailableCores(), local = map.OfProcess(0).size();
  if (cores == 1 && local > 1) {
    Say(stderr,
        "syncbn: warning: a process of %d replicas may use one core only; under mpirun add "
        "--bind-to none (or give each rank its cores)\n",
        local);
  }
  std::fflush(stdout);
}

// Only Errors leave it: what fails outside a step (a model larger than the memory) has a code and a
// text, too.
int RunSession(const RunRequest& request, const LocalRun& run, comm::Communicator& communicator,
               RunReport& report, const LeaveWith& leave) {
  try {
    return Session(request, run, communicator, report, leave).Run();
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::kResourceExhausted,
                "out of memory: the model, its gradients and the optimizer's state do not fit");
  } catch (const std::exception& error) {
    throw Error(ErrorCode::kInternal, error.what());
  }
}

}  // namespace

int RunTraining(const RunRequest& given) {
  DieWithLauncher();
  RunRequest request = given;
  const LaunchPlace place = PlaceOfThisProcess();
  RunReport report(
      {.rank = place.rank, .processes = place.size, .coordinator = request.coordinator});
  if (!request.attempt) request.attempt = report.attempt();
  std::optional<LocalRun> run;
  try {
    run.emplace(config::LoadRunFile(request.run_file, request.sets), request.backend);
    comm::ReplicaMap(run->spec().cluster().replicas(), place.size);
  } catch (const Error& error) {
    // Most likely all ranks found the same: the root says it, and mpirun ends the others before they
    // repeat it.
    if (place.rank == 0) PrintError(error, LaunchPlace());
    report.Fail(error);
    const int code = ExitCodeOf(error);
    // A process that just leaves makes mpirun explain at length that one did.
    comm::MpiSession mpi;
    if (place.rank > 0) {
      std::this_thread::sleep_for(std::chrono::seconds(2));
      PrintError(error, place);
    }
    if (mpi.uses_mpi()) mpi.world().Abort(code);
    return code;
  }

  report.SetPhase(Activity::kJoin);
  comm::MpiSession mpi;
  comm::Communicator& communicator = mpi.world();
  const LeaveWith leave = [&](const Error& error) {
    const bool superseded = dynamic_cast<const train::AttemptSuperseded*>(&error) != nullptr;
    // Who only heard of a failure gives the one who had it time to speak, and to end everybody; so do
    // those who found what every rank found.
    const bool speaks_last =
        communicator.size() > 1 &&
        (error.code() == ErrorCode::kAborted ||
         (error.code() == ErrorCode::kFailedPrecondition && place.rank > 0));
    if (!speaks_last) PrintError(error, place);
    report.Fail(error);
    if (speaks_last) {
      std::this_thread::sleep_for(std::chrono::seconds(2));
      PrintError(error, place);
    }
    return superseded ? kGivenUp : ExitCodeOf(error);
  };
  try {
    return RunSession(request, *run, communicator, report, leave);
  } catch (const Error& error) {
    const int code = leave(error);
    if (!mpi.uses_mpi()) return code;
    communicator.Abort(code);
    return code;  // not reached: GCC does not see it through the reference
  }
}

}  // namespace syncbn::app
