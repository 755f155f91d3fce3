#include "app/run/run_session.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <set>
#include <thread>

#include "app/exit_code.h"
#include "app/run/backend_program.h"
#include "app/run/console_observer.h"
#include "app/run/continuation.h"
#include "app/run/exchange_choice.h"
#include "app/run/histogram_probe.h"
#include "app/run/load_dataset.h"
#include "app/run/memory_advice.h"
#include "app/run/output_folder.h"
#include "app/run/profile_report.h"
#include "app/run/run_ending.h"
#include "app/run/run_facts.h"
#include "app/run/run_notes.h"
#include "app/run/run_outputs.h"
#include "app/run/run_report.h"
#include "app/run/signals.h"
#include "app/terminal.h"
#include "app/versions.h"
#include "backend/out_of_device_memory.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/host.h"
#include "base/text.h"
#include "comm/handshake.h"
#include "comm/mpi/mpi_session.h"
#include "config/difference.h"
#include "config/run_file.h"
#include "config/validate.h"
#include "data/batch_plan.h"
#include "interchange/model_input.h"
#include "train/training_run.h"

namespace syncbn::app {
namespace {

namespace fs = std::filesystem;

constexpr const char* kStopHeard =
    "\nsyncbn: asked to stop: a checkpoint after this step, then the end; once more to end at "
    "once\n";

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

// Refuses what the back end cannot compute in before any data is read.
std::unique_ptr<backend::Backend> BackendFor(const v1::RunSpec& spec, const std::string& name) {
  std::unique_ptr<backend::Backend> backend = MakeBackend(name);
  train::RunBackend(*backend, spec);
  return backend;
}

// What this process reads before it meets the others: what is wrong in it is wrong for all.
struct RunInput {
  explicit RunInput(const RunRequest& request)
      : file(config::LoadRunFile(request.run_file, request.sets)),
        backend(BackendFor(file.spec, request.backend)),
        run(file.spec, datasets) {
    if (request.profile) CheckCanProfile(*backend);
  }

  config::RunFile file;
  std::unique_ptr<backend::Backend> backend;
  data::DatasetCache datasets{LoadDataset};
  train::PreparedRun run;
};

// Says how the process ends, to people and to the coordinator; returns the exit code.
using LeaveWith = std::function<int(const Error& error)>;

class Session {
 public:
  Session(const RunRequest& request, const RunInput& input, comm::Communicator& communicator,
          RunReport& report, const LeaveWith& leave)
      : request_(request),
        file_(input.file),
        run_(input.run),
        backend_(*input.backend),
        facts_(FactsOf(run_, backend_)),
        communicator_(communicator),
        report_(report),
        leave_(leave),
        root_(communicator.rank() == 0),
        out_(request.out.empty() ? fs::path("runs") / input.file.spec.name() : request.out),
        observer_({.quiet = request.quiet,
                   .live = request.live.value_or(!comm::MpiSession::UnderMpirun()),
                   .has_batch_norm = config::HasBatchNorm(input.file.spec.model())},
                  report),
        sink_(report, input.file.spec) {}

  // Returns the exit code.
  int Run();

 private:
  // All processes must be the same, and have the same in hand. Collective.
  void Compare();
  // The root's: the output folder is taken, and what it holds to go on from found.
  void TakeFolder(const comm::ReplicaMap& map);
  // The root's: the file of weights that the run begins with, if it has one.
  void ReadInitialWeights();
  train::RunEnvironment Environment();
  // Before the first step, in every process.
  void OnStart(const train::RunPlan& plan);
  void OpenOutput(const train::RunPlan& plan);
  // Shows, writes and reports how the run has ended; the exit code. Collective.
  int Finish(train::Summary summary);
  void Introduce(const comm::ReplicaMap& map) const;
  // What this process has met while it trained and evaluated.
  void TellDamagedFiles() const;

  const RunRequest& request_;
  const config::RunFile& file_;
  const train::PreparedRun& run_;
  const backend::Backend& backend_;
  const Facts facts_;
  comm::Communicator& communicator_;
  RunReport& report_;
  const LeaveWith& leave_;
  const bool root_;
  const fs::path out_;
  RunConsole observer_;
  RunSink sink_;
  std::optional<HistogramProbe> histograms_;
  std::vector<std::string> hosts_;
  ExchangeChoice exchange_;
  // The root's.
  std::optional<train::CheckpointStore> store_;
  std::optional<Continuation> from_;
  std::optional<train::WeightsFile> weights_;
  int attempt_ = 1;
  // What the folder holds says already how the run has ended.
  bool intact_ = false;
};

int Session::Run() {
  const v1::ClusterSpec& cluster = run_.spec().cluster();
  const comm::ReplicaMap map(cluster.replicas(), communicator_.size());
  Compare();
  report_.SetPhase(Activity::kStart);
  // Others wait while the root prepares the folder and reads a checkpoint.
  const std::chrono::duration<double> patience(kOutsidePatience * cluster.stall_timeout());
  communicator_.SetTimeout(
      std::max(comm::Communicator::kDefaultTimeout,
               std::chrono::duration_cast<std::chrono::milliseconds>(patience)));
  exchange_ =
      ChooseExchange(request_.exchange, backend_, communicator_,
                     std::chrono::nanoseconds(static_cast<int64_t>(cluster.stall_timeout() * 1e9)));
  if (root_) TakeFolder(map);
  // Nobody goes on before the root has found the folder to be right.
  communicator_.Barrier();
  SignalRequests signals(root_ ? kStopHeard : nullptr);
  train::RunEnvironment environment = Environment();
  environment.training.control_requests = [&] {
    train::ControlRequests requests = signals.Take();
    requests.stop |= report_.stop_wanted();
    return requests;
  };
  std::optional<train::Recorder> recorder;
  if (request_.profile) {
    recorder.emplace(map.OfProcess(communicator_.rank()), *request_.profile);
    environment.recorder = &*recorder;
  }
  train::RunResult result = train::RunTraining(run_, std::move(environment));
  observer_.Finish();
  if (recorder) {
    LeaveProfile(communicator_, *recorder, *request_.profile, run_.model(), out_ / "profile");
  }
  return Finish(std::move(result.summary));
}

void Session::Compare() {
  std::vector<comm::Fact> compared;
  for (const auto& [name, value] : facts_) compared.push_back({name, value});
  // Also what does not change the result, such as when to write a checkpoint: all processes must do it
  // at the same step.
  const std::string settings = config::CanonicalText(run_.spec(), config::CanonicalScope::kAll);
  compared.push_back({"run file with the settings that change no result",
                      DigestOf(std::as_bytes(std::span(settings))).Hex()});
  compared.push_back({"--exchange", request_.exchange});
  compared.push_back({"steps to profile (--profile-after + --profile-steps)",
                      request_.profile ? std::to_string(request_.profile->after) + " + " +
                                             std::to_string(request_.profile->count)
                                       : "none"});
  compared.push_back(
      {"steps to dump (--dump-from + --dump-steps)",
       std::to_string(request_.dump_from) + " + " + std::to_string(request_.dump_steps)});
  hosts_ = comm::Handshake(communicator_, HostName(), compared);
}

void Session::ReadInitialWeights() {
  const v1::InitSpec& init = run_.spec().model().init();
  if (init.from().empty()) return;
  weights_ = train::ReadWeights(init.from());
  train::CheckWeights(run_.model(), *weights_,
                      std::vector<std::string>(init.except().begin(), init.except().end()));
}

void Session::TakeFolder(const comm::ReplicaMap& map) {
  // What is wrong with the file is found before anything is there; a run that goes on does not need
  // it.
  if (!request_.resume) ReadInitialWeights();
  PrepareOutputFolder(out_, request_.resume      ? OutputUse::kResume
                            : request_.overwrite ? OutputUse::kOverwrite
                                                 : OutputUse::kNew);
  const v1::CheckpointSpec& checkpoint = run_.spec().train().checkpoint();
  store_.emplace(train::CheckpointStoreOptions{
      .out = out_, .keep = checkpoint.keep(), .on_warning = [this](const std::string& warning) {
        observer_.OnWarning(warning);
      }});
  // A coordinator's number means that it has given up the attempt before, whether that lives or
  // not.
  const bool takes_over = request_.overwrite || request_.attempt.has_value();
  attempt_ = store_->Claim(request_.attempt, takes_over ? train::LivingOwner::kReplaced
                                                        : train::LivingOwner::kRespected);
  if (request_.overwrite) RemoveFormerRun(out_, *store_);
  if (!request_.quiet) Introduce(map);
  if (!request_.resume) return;
  // In a job nobody is there to be asked.
  const bool any = checkpoint.resume_on() == v1::RESUME_ON_ANY ||
                   (checkpoint.resume_on() == v1::RESUME_ON_UNSPECIFIED && report_.active());
  from_ = FindContinuation(*store_, run_.spec(), facts_, any);
  if (!from_) ReadInitialWeights();
}

train::RunEnvironment Session::Environment() {
  train::RunEnvironment environment{
      .backend = &backend_,
      .communicator = &communicator_,
      .make_exchange = exchange_.make,
      .concurrency = request_.threads.value_or(CoresPerProcess()),
      .on_stuck = [this](const Error& error) { communicator_.Abort(leave_(error)); },
      .on_board = [this](comm::ProgressBoard* board) { report_.SetBoard(board); }};
  train::TrainerOptions& options = environment.training;
  options.evaluate = request_.evaluate;
  options.dump_from = request_.dump_from;
  options.dump_steps = request_.dump_steps;
  options.on_start = [this](const train::RunPlan& plan) { OnStart(plan); };
  options.on_phase = [this](Activity activity, int64_t steps, double epoch) {
    report_.SetPhase(activity, steps, epoch);
  };
  if (request_.fault.kind != Fault::Kind::kNone) {
    const Fault& fault = request_.fault;
    options.observe = [&](int64_t step, int replica) { return fault.Observe(step, replica); };
    options.on_batch = [&](int64_t step, int replica, data::Batch& batch) {
      fault.OnBatch(step, replica, batch);
    };
  }
  if (const int64_t every = run_.spec().probes().activations().every_steps();
      every > 0 && !request_.trial) {
    HistogramProbe::Take take;
    if (root_) {
      take = [this](int64_t step, const std::string& tag, tensorboard::HistogramProto histogram) {
        sink_.WriteHistogram(step, tag, std::move(histogram));
      };
    }
    options.probes = {&histograms_.emplace(every, std::move(take))};
  }
  if (!root_) return environment;
  options.manifest.environment = facts_;
  if (from_) {
    const auto& before = from_->checkpoint.manifest.environment;
    if (const auto known = before.find(kInitialWeights); known != before.end()) {
      options.manifest.environment.insert(*known);
    }
    environment.resume_from = std::move(from_->checkpoint);
  } else if (weights_) {
    options.manifest.environment[kInitialWeights] = weights_->content.digest.Hex();
    environment.weights = std::move(weights_);
  }
  options.metrics = &sink_;
  options.observer = &observer_;
  if (request_.write_checkpoints) options.checkpoints = &*store_;
  if (!request_.trial) options.out = out_;
  options.manifest.attempt = attempt_;
  options.manifest.run_file = file_.EffectiveYaml();
  return environment;
}

void Session::OnStart(const train::RunPlan& plan) {
  if (root_) OpenOutput(plan);
  if (plan.first_step > 0) {
    report_.SetCheckpoint(plan.first_step);
    observer_.SetSaved(plan.first_step);
  }
  report_.SetPlan(plan.end_step, plan.first_step);
}

void Session::OpenOutput(const train::RunPlan& plan) {
  const int64_t from = plan.first_step;
  if (request_.resume && !request_.quiet && from < plan.end_step) {
    Say(stdout,
        from > 0 ? "resumed after step %lld\n" : "no checkpoint yet: starting at the first step\n",
        static_cast<long long>(from));
  }
  if (from_ && !from_->other_bits.empty()) {
    const std::string note =
        "goes on after step " + std::to_string(from) +
        " with other bits than if it had not been stopped: " + from_->other_bits;
    report_.SetNote(note);
    observer_.OnWarning(note + "; its metrics, checkpoints and summary are marked");
  }
  intact_ = plan.done() && IsFinishedSummary(out_ / "summary.json", from);
  if (!intact_) {
    sink_.Open({.path = out_ / "metrics.jsonl",
                .resume_at_step = request_.resume ? std::optional<int64_t>(from) : std::nullopt,
                .evaluation_pending = plan.evaluation_pending,
                .every_steps = run_.spec().output().every_steps(),
                .on_warning = [this](const std::string& warning) { observer_.OnWarning(warning); }},
               // Nobody looks into the folder of a trial, which goes with its result.
               !request_.trial && run_.spec().output().event_files());
    WriteFileAtomically(out_ / interchange::kModelInputFile, interchange::InputOf(run_).ToJson());
    WriteFileAtomically(out_ / "run.yaml", file_.EffectiveYaml());
  }
  if (!plan.done()) return;
  Say(stdout, "already finished: the run has done %s and the run file asks for %lld%s. %s\n",
      Plural(from, "step").c_str(), static_cast<long long>(plan.end_step),
      intact_ ? "; nothing was changed" : "",
      HowToExtend(run_.spec(), plan.end_step < plan.total_steps).c_str());
}

int Session::Finish(train::Summary summary) {
  report_.SetPhase(Activity::kFinish, summary.steps, summary.epochs);
  if (root_ && !intact_) {
    // Also where no checkpoint was to be written: the folder may be another attempt's by now.
    try {
      store_->CheckAttempt(attempt_);
    } catch (const Error& error) {
      // What cannot be looked at has not been taken over, and does not change how the run has ended.
      if (error.code() == ErrorCode::kAborted) throw;
    }
    summary.command = request_.command;
    summary.hosts = hosts_;
    summary.processor = ProcessorName();
    summary.cores = AvailableCores();
    summary.versions = LibraryVersions();
    summary.back_end = facts_.at("back end");
    summary.classes = run_.data().train().classes();
    summary.attempt = attempt_;
    if (!request_.quiet) PrintSummary(summary, out_, config::HasBatchNorm(run_.spec().model()));
    LeaveSummary(out_ / "summary.json", summary);
  }
  TellDamagedFiles();
  AgreeOnEnd(communicator_, summary);
  report_.Finish(summary);
  if (root_) SayEnd(summary, observer_.saved());
  return ExitCodeOf(summary.end);
}

void Session::TellDamagedFiles() const {
  for (const data::Dataset* split : {&run_.data().train(), &run_.data().test()}) {
    const std::vector<std::string> files = split->Damaged();
    if (files.empty()) continue;
    std::string text = Plural(static_cast<int64_t>(files.size()), "file") +
                       " could not be decoded whole, and what was missing was grey:";
    constexpr size_t kMost = 20;
    for (size_t i = 0; i < std::min(files.size(), kMost); ++i) text += "\n  " + files[i];
    if (files.size() > kMost) text += "\n  and " + std::to_string(files.size() - kMost) + " more";
    Say(stderr, "syncbn: warning: rank %d: %s\n", communicator_.rank(), text.c_str());
  }
}

void Session::Introduce(const comm::ReplicaMap& map) const {
  const std::set<std::string> hosts(hosts_.begin(), hosts_.end());
  Say(stdout, "%s: %s\n", run_.spec().name().c_str(), DescriptionOf(run_).c_str());
  Say(stdout, "%s on %s, %s; SGD batch %lld\n", Plural(map.replicas(), "replica").c_str(),
      Plural(map.processes(), "process").c_str(),
      Plural(static_cast<long long>(hosts.size()), "host").c_str(),
      static_cast<long long>(data::SgdBatch(run_.spec().cluster())));
  for (const std::string& line : WhoHasWhat(hosts_, exchange_.devices))
    Say(stdout, "%s\n", line.c_str());
  if (!exchange_.description.empty()) {
    Say(stdout, "between processes: %s\n", exchange_.description.c_str());
  }
  PrintNotes(
      NotesOf(run_.spec(), &run_.model(),
              {.train = run_.train().dataset().size(), .test = run_.test().dataset().size()}));
  for (const data::Dataset* split : {&run_.data().train(), &run_.data().test()}) {
    for (const std::string& note : split->notes()) {
      Say(stderr, "syncbn: warning: %s\n", note.c_str());
    }
  }
  const int cores = AvailableCores(), local = map.OfProcess(0).size();
  if (cores == 1 && local > 1) {
    Say(stderr,
        "syncbn: warning: a process of %d replicas may use one core only; under mpirun add "
        "--bind-to none (or give each rank its cores)\n",
        local);
  }
  std::fflush(stdout);
}

}  // namespace

int RunSession(const RunRequest& given) {
  DieWithLauncher();
  RunRequest request = given;
  const LaunchPlace place = PlaceOfThisProcess();
  RunReport report(
      {.rank = place.rank, .processes = place.size, .coordinator = request.coordinator});
  if (!request.attempt) request.attempt = report.attempt();
  std::optional<RunInput> input;
  try {
    input.emplace(request);
    comm::ReplicaMap(input->file.spec.cluster().replicas(), place.size);
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
  const auto end = [&](const Error& error) {
    const int code = leave(error);
    if (mpi.uses_mpi()) communicator.Abort(code);
    return code;
  };
  try {
    // What fails outside of the run (a checkpoint larger than the memory) has a code and a text,
    // too.
    try {
      return Session(request, *input, communicator, report, leave).Run();
    } catch (const std::exception&) {
      train::RethrowAsError();
    }
  } catch (const backend::OutOfDeviceMemory& error) {
    Error advised(
        error.code(),
        error.message() + ". " +
            MemoryAdvice(input->run, *input->backend, communicator.rank(), communicator.size(),
                         request.threads.value_or(CoresPerProcess()), error.available()));
    for (const std::string& frame : error.frames()) advised.AddFrame(frame);
    return end(advised);
  } catch (const Error& error) {
    return end(error);
  }
}

}  // namespace syncbn::app
