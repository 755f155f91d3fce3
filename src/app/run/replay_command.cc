#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>

#include <nlohmann/json.hpp>

#include "app/commands.h"
#include "app/console.h"
#include "app/exit_code.h"
#include "app/run/backend_program.h"
#include "app/run/continuation.h"
#include "app/run/load_dataset.h"
#include "app/run/output_folder.h"
#include "app/run/range_report.h"
#include "app/run/run_facts.h"
#include "app/run/tensor_ranges.h"
#include "app/run/trained_run.h"
#include "app/terminal.h"
#include "app/validators.h"
#include "app/versions.h"
#include "base/error.h"
#include "base/file.h"
#include "base/host.h"
#include "base/storage_error.h"
#include "base/text.h"
#include "config/run_file.h"
#include "data/batch_plan.h"
#include "data/sampler.h"
#include "train/metrics.h"
#include "train/training_run.h"

namespace syncbn::app {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::string out;
  int64_t step = 0;
  std::string dump;
  // Where the file of model.init.from lies by now; empty: where it was.
  std::string weights;
  std::string backend = "cpu";
  bool layers = false;
  bool all = false;
};

// Shows warnings and keeps the last step's record.
class ReplayObserver : public train::RunObserver {
 public:
  void OnStep(const train::MetricRecord& record, const train::EpochSums&) override {
    last_ = record;
    line_.Update(Format("replaying step %lld", static_cast<long long>(record.step)));
  }
  void OnWarning(const std::string& warning) override {
    line_.Clear();
    Say(stderr, "syncbn: warning: %s\n", warning.c_str());
  }
  void Finish() { line_.Clear(); }
  const train::MetricRecord& last() const { return last_; }

 private:
  LiveLine line_{stderr};
  train::MetricRecord last_;
};

std::optional<train::MetricRecord> RecordedStep(const fs::path& out, int64_t step) {
  const fs::path path = out / "metrics.jsonl";
  if (!fs::exists(path)) return std::nullopt;
  for (const train::MetricRecord& record : train::ReadMetrics(path)) {
    if (record.split == "train" && record.step == step) return record;
  }
  return std::nullopt;
}

void WriteRanges(const fs::path& path, const std::vector<TensorRange>& ranges) {
  std::string text;
  for (const TensorRange& range : ranges) {
    text += nlohmann::json{{"replica", range.replica}, {"layer", range.layer},
                           {"tensor", range.what}, {"min", range.min}, {"max", range.max},
                           {"elements", range.elements}, {"not_finite", range.not_finite},
                           {"first_bad_sample", range.first_bad_sample}}
                .dump() +
            "\n";
  }
  WriteFileAtomically(path, text);
}

// Says whether the step came out as recorded; the exit code.
int Compare(const std::optional<train::MetricRecord>& recorded, const train::MetricRecord& replayed,
            const Digest& digest, bool native) {
  const char* const excuse =
      native ? "the run used `reduction: native`, which promises equal bits only on the same number of "
               "processes\n"
             : "";
  Say(stdout, "step %lld: loss %.17g, digest %s\n", static_cast<long long>(replayed.step),
      replayed.loss.value_or(NAN), digest.Hex().c_str());
  if (!recorded) {
    Say(stdout, "metrics.jsonl has no line of this step to compare with\n");
    return kSuccess;
  }
  if (recorded->digest) {
    const bool equal = *recorded->digest == digest;
    Say(stdout, "%s the digest that the run recorded%s%s\n%s",
        equal ? "identical to" : "different from", equal ? "" : ": ",
        equal ? "" : recorded->digest->Hex().c_str(), equal ? "" : excuse);
    return equal ? kSuccess : kNotIdentical;
  }
  auto same = [](std::optional<double> a, std::optional<double> b) {
    // The run records null for all that is not finite.
    return a == b || (a && b && !std::isfinite(*a) && !std::isfinite(*b));
  };
  const bool equal = same(recorded->loss, replayed.loss) &&
                     same(recorded->gradient_norm, replayed.gradient_norm);
  Say(stdout,
      "%s the loss and gradient norm that the run recorded (it recorded no digests: "
      "output.digests)\n%s",
      equal ? "identical to" : "different from", equal ? "" : excuse);
  return equal ? kSuccess : kNotIdentical;
}

// A step before the first checkpoint is played from the file that the run has begun with. It must
// still be that.
void CheckInitialWeights(const train::CheckpointStore& store, const train::WeightsFile& weights) {
  const auto later = store.Latest();
  if (!later) return;  // nothing says what it was
  const auto& environment = later->manifest.environment;
  const auto known = environment.find(kInitialWeights);
  const std::string digest = weights.content.digest.Hex();
  if (known == environment.end() || known->second == digest) return;
  throw Error(ErrorCode::kFailedPrecondition,
              weights.path.string() + " is not what the run has begun with: its digest is " +
                  digest + ", the run's " + known->second +
                  "; put the file back, name it (--weights FILE), or give a step behind the first "
                  "checkpoint");
}

// Those with which the run has begun; for a step before its first checkpoint.
train::WeightsFile ReadInitialWeights(const Arguments& arguments, const std::string& from,
                                      const train::CheckpointStore& store) {
  try {
    train::WeightsFile weights =
        train::ReadWeights(arguments.weights.empty() ? from : arguments.weights);
    CheckInitialWeights(store, weights);
    return weights;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNotFound || !arguments.weights.empty()) throw;
    throw Error(
        error.code(),
        "step " + std::to_string(arguments.step) +
            " is played from the weights that the run has begun with (model.init.from), for no "
            "checkpoint is before it: " +
            error.message() + "; if the file has moved, name its new place: syncbn replay " +
            arguments.out + " --step " + std::to_string(arguments.step) + " --weights FILE");
  }
}

int Replay(const Arguments& arguments) {
  const fs::path out = arguments.out;
  const config::RunFile file = StoredRunFileOf(out);
  const auto backend = MakeBackend(arguments.backend);
  data::DatasetCache datasets{LoadDataset};
  const train::PreparedRun run(file.spec, datasets);
  const fs::path dump = arguments.dump.empty() ? out / "replay" : fs::path(arguments.dump);
  MakeOutputFolder(dump, "--dump");

  ReplayObserver observer;
  RangeCollector ranges;
  train::RunEnvironment environment{.backend = backend.get(), .concurrency = AvailableCores()};
  const train::CheckpointStore store(
      {.out = out, .on_warning = [&](const std::string& warning) { observer.OnWarning(warning); }});
  if (auto stored = store.Latest(arguments.step)) {
    const Facts facts = FactsOf(run, *backend);
    CheckDataContinues(*stored, facts);
    if (const std::string other = OtherBits(*stored, facts); !other.empty()) {
      observer.OnWarning("the bits may be others than the run's: " + other);
    }
    environment.resume_from = std::move(stored);
    if (!arguments.weights.empty()) {
      observer.OnWarning("--weights is not used: there is a checkpoint before step " +
                         std::to_string(arguments.step));
    }
  } else if (const std::string& from = file.spec.model().init().from(); !from.empty()) {
    environment.weights = ReadInitialWeights(arguments, from, store);
  } else if (!arguments.weights.empty()) {
    observer.OnWarning("--weights is not used: the run began with weights of its own");
  }
  train::TrainerOptions& options = environment.training;
  options.observer = &observer;
  options.out = dump;
  options.dump_from = arguments.step;
  options.dump_steps = 1;
  options.stop_at = arguments.step + 1;
  options.evaluate = false;
  options.observe = [&](int64_t step, int replica) {
    return step == arguments.step ? ranges.Observer(replica) : nn::TensorObserver();
  };
  options.on_start = [&](const train::RunPlan& plan) {
    if (arguments.step < 0 || arguments.step >= plan.end_step) {
      throw Error(ErrorCode::kOutOfRange, "--step " + std::to_string(arguments.step) +
                                              ": the run has " + Plural(plan.end_step, "step") +
                                              ", 0 to " + std::to_string(plan.end_step - 1));
    }
    Say(stdout, "replaying step %lld on one process from %s\n",
        static_cast<long long>(arguments.step),
        plan.first_step > 0 ? ("the checkpoint after " + Plural(plan.first_step, "step")).c_str()
                            : "the initial state");
    std::fflush(stdout);
  };
  const train::Summary summary = train::RunTraining(run, std::move(environment)).summary;
  observer.Finish();
  const std::vector<TensorRange> all = ranges.Ranges();
  if (arguments.all || arguments.layers) {
    const RangeDetail detail = arguments.all ? RangeDetail::kReplicas : RangeDetail::kLayers;
    Say(stdout, "%s", RangeTable(all, detail).c_str());
  } else {
    Say(stdout, "%s", RangeSummary(all).c_str());
  }
  if (const TensorRange* bad = FirstNotFinite(all)) {
    const data::BatchPlan plan(run.train().dataset().size(), data::BatchPerReplica(run.spec().cluster()),
                               run.spec().data().last_batch());
    const int64_t in_epoch = arguments.step % plan.steps_per_epoch();
    const data::PositionRange slice = plan.Slice(in_epoch, bad->replica);
    const std::vector<uint64_t> order =
        data::Sampler({.samples = run.train().dataset().size(), .seed = run.spec().seed(),
                       .shuffle = run.spec().data().shuffle()})
            .Order(arguments.step / plan.steps_per_epoch());
    Say(stdout,
        "first value that is not finite: replica %d, layer %s (%s), sample %lld of its batch",
        bad->replica, bad->layer.c_str(), bad->what.c_str(),
        static_cast<long long>(bad->first_bad_sample));
    if (bad->first_bad_sample < slice.size()) {
      Say(stdout, " (training sample %llu)",
          static_cast<unsigned long long>(
              order[static_cast<size_t>(slice.begin + bad->first_bad_sample)]));
    }
    Say(stdout, "\n");
  } else {
    Say(stdout, "all values are finite\n");
  }
  if (summary.end == train::RunEnd::kStorage) throw StorageError(summary.reason);
  const std::string stem = Format("%06lld", static_cast<long long>(arguments.step));
  WriteRanges(dump / ("ranges-" + stem + ".jsonl"), all);
  Say(stdout, "written: %s and %s\n", (dump / "steps" / (stem + ".safetensors")).c_str(),
      (dump / ("ranges-" + stem + ".jsonl")).c_str());
  return Compare(RecordedStep(out, arguments.step), observer.last(), summary.digest.value(),
                 run.spec().cluster().reduction() == v1::REDUCTION_NATIVE);
}

}  // namespace

void AddReplayCommand(CommandLine& line) {
  auto arguments = std::make_shared<Arguments>();
  Command command = line.parser.add_subcommand(
      "replay", "Play one step of a run again, on one process, and look inside");
  command->footer("Exit codes: 0 as recorded, 8 different, else as `syncbn train --help` says.");
  command->add_option("OUT", arguments->out, "output folder of the run")->required();
  command->add_option("--step", arguments->step, "number of the step, from 0 as in metrics.jsonl")
      ->required()
      ->check(WholeNumberFrom(0, kAnyWhole));
  command->add_option("--dump", arguments->dump, "where to write the step (default: OUT/replay)")
      ->type_name("DIR");
  command
      ->add_option("--weights", arguments->weights,
                   "where the file of model.init.from lies now, for a step before any\n"
                   "checkpoint")
      ->type_name("FILE")
      ->check(NotEmpty());
  command->add_flag("--layers", arguments->layers,
                    "show the range of every layer's output and gradient");
  command->add_flag("--all", arguments->all, "show those of each replica");
  command->add_option("--backend", arguments->backend, kBackendHelp)->capture_default_str();
  command->callback([arguments, &line] {
    BecomeProgramOf(arguments->backend);
    line.exit_code = Replay(*arguments);
  });
}

}  // namespace syncbn::app
