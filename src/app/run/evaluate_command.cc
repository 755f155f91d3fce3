#include <cstdio>
#include <memory>
#include <optional>

#include <nlohmann/json.hpp>

#include "app/commands.h"
#include "app/console.h"
#include "app/run/backend_program.h"
#include "app/run/continuation.h"
#include "app/run/load_dataset.h"
#include "app/run/run_facts.h"
#include "app/run/trained_run.h"
#include "app/terminal.h"
#include "app/validators.h"
#include "base/error.h"
#include "base/host.h"
#include "config/validate.h"
#include "train/checkpoint_evaluation.h"
#include "train/trainer.h"

namespace syncbn::app {
namespace {

struct Arguments {
  std::string run, data;
  std::vector<std::string> with = {"running"};
  std::string backend = "cpu";
  int64_t step = -1, precise_samples = -1;
  bool json = false;
};

// Without batch normalization all ways are the same, and one is taken for all.
v1::EvaluationMode ModeOf(const std::string& name, const v1::ModelSpec& model) {
  for (const v1::EvaluationMode mode :
       {v1::EVALUATION_MODE_RUNNING, v1::EVALUATION_MODE_PRECISE, v1::EVALUATION_MODE_BATCH}) {
    if (name != train::EvaluationName(mode)) continue;
    if (config::EvaluationFits(model, mode)) return mode;
    if (!config::HasBatchNorm(model)) return v1::EVALUATION_MODE_RUNNING;
    throw Error(
        ErrorCode::kInvalidArgument,
        "--with " + name +
            ": the model keeps no running statistics (norm.running: none); give --with batch");
  }
  throw Error(ErrorCode::kInvalidArgument,
              "--with " + name + ": expected running, precise or batch");
}

void Evaluate(const Arguments& arguments) {
  const TrainedRun run = OpenTrainedRun(
      arguments.run, arguments.step < 0 ? std::nullopt : std::optional(arguments.step));
  v1::RunSpec spec = run.file.spec;
  if (!arguments.data.empty()) spec.mutable_data()->set_path(arguments.data);
  train::CheckpointEvaluationOptions options{
      .modes = {},
      .precise_samples = arguments.precise_samples > 0 ? arguments.precise_samples
                                                       : spec.train().evaluate().precise_samples(),
      .concurrency = AvailableCores()};
  for (const std::string& name : arguments.with)
    options.modes.push_back(ModeOf(name, spec.model()));
  const bool batch_norm = config::HasBatchNorm(spec.model());
  if (!batch_norm) options.modes.resize(1);
  const auto backend = MakeBackend(arguments.backend);
  data::DatasetCache datasets{LoadDataset};
  const train::PreparedRun prepared(spec, datasets);
  CheckDataContinues(run.checkpoint, FactsOf(prepared, *backend));
  const std::vector<train::EvaluationResult> results =
      train::EvaluateCheckpoint(prepared, *backend, run.checkpoint, options);
  std::vector<std::vector<std::string>> rows = {{"statistics", "loss", "accuracy", "samples"}};
  nlohmann::ordered_json json = {{"step", run.checkpoint.manifest.counters.step}};
  for (size_t i = 0; i < arguments.with.size(); ++i) {
    const std::string& name = arguments.with[i];
    const train::EvaluationResult& result = results[batch_norm ? i : 0];
    json[name] = {
        {"loss", result.loss}, {"accuracy", result.accuracy}, {"samples", result.samples}};
    rows.push_back(
        {name, Fixed(result.loss, 4), Fixed(result.accuracy, 4), std::to_string(result.samples)});
  }
  if (!batch_norm && arguments.with.size() > 1) {
    Say(stderr, "note: without batch normalization all ways of evaluating are the same\n");
  }
  if (arguments.json) {
    Say(stdout, "%s\n", json.dump().c_str());
  } else {
    Say(stdout, "%s", FormatTable(rows, {false, true, true, true}).c_str());
  }
}

}  // namespace

void AddEvaluateCommand(CommandLine& line) {
  auto arguments = std::make_shared<Arguments>();
  Command command = line.parser.add_subcommand(
      "evaluate",
      "Evaluate a trained run again, with the statistics asked for");
  command->footer(
      "running: the running averages, as inference has them. precise: moments over training "
      "samples at\n"
      "the weights of the checkpoint. batch: those of each test batch, in the groups of "
      "training.\n\n"
      "  syncbn evaluate runs/r20 --with running,precise,batch\n"
      "  syncbn evaluate /archive/r20 --data /archive/cifar-10-batches-bin");
  command->add_option("RUN", arguments->run, "output folder of the run")->required();
  command->add_option("--with", arguments->with, "running, precise, batch (default: running)")
      ->type_name("NAMES")
      ->delimiter(',');
  command
      ->add_option("--data", arguments->data,
                   "the folder that holds the data now (default: data.path of the run)")
      ->type_name("DIR");
  command
      ->add_option("--precise-samples", arguments->precise_samples,
                   "training samples of `precise` (default: as the run file says)")
      ->type_name("N")
      ->check(WholeNumberFrom(1, kAnyWhole));
  command
      ->add_option("--step", arguments->step, "the checkpoint after N steps (default: the newest)")
      ->type_name("N")
      ->check(WholeNumberFrom(0, kAnyWhole));
  command->add_option("--backend", arguments->backend, kBackendHelp)->capture_default_str();
  command->add_flag("--json", arguments->json, "print one JSON object");
  command->callback([arguments] {
    BecomeProgramOf(arguments->backend);
    Evaluate(*arguments);
  });
}

}  // namespace syncbn::app
