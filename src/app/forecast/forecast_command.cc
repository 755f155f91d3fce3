#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>

#include "app/commands.h"
#include "app/console.h"
#include "app/exit_code.h"
#include "app/forecast/forecast_text.h"
#include "app/run/backend_program.h"
#include "app/run/run_facts.h"
#include "app/terminal.h"
#include "app/validators.h"
#include "app/versions.h"
#include "base/error.h"
#include "base/text.h"
#include "config/diagnostic.h"
#include "config/run_file.h"
#include "data/batch_plan.h"
#include "forecast/measure.h"
#include "forecast/units.h"
#include "train/run_backend.h"

namespace syncbn::app {
namespace {

constexpr int kMostProcesses = 65536;
constexpr int kMostSgdBatch = 1 << 24;

struct Arguments {
  std::string run_file;
  std::vector<std::string> sets;
  std::string processes = "2..1024";
  std::string latency, bandwidth;
  int cores = 1;
  int64_t sgd_batch = 0;
  std::string noise_scale, reached, sgd_batches;
  std::string from, target;
  double accuracy = -1;
  std::string profile, save_profile;
  std::string backend = "cpu";
  bool json = false;
};

template <typename Parse>
Check Parses(Parse parse) {
  return [parse](const std::string& text) {
    try {
      parse(text);
      return std::string();
    } catch (const Error& error) {
      return error.message();
    }
  };
}

std::vector<int> ParseProcesses(const std::string& text) {
  return forecast::ParseDoublings(text, kMostProcesses);
}

std::vector<int> ParseSgdBatches(const std::string& text) {
  return forecast::ParseDoublings(text, kMostSgdBatch);
}

// "3910@128"
forecast::CountedSteps ParseReached(const std::string& text) {
  const size_t at = text.find('@');
  const auto whole = [&](const std::string& part) {
    return at != std::string::npos && WholeNumberFrom(1)(part).empty();
  };
  if (at == std::string::npos || !whole(text.substr(0, at)) || !whole(text.substr(at + 1))) {
    throw Error(ErrorCode::kInvalidArgument,
                "expected STEPS@BATCH such as 3910@128, found '" + text + "'");
  }
  return {.batch = std::stod(text.substr(at + 1)), .steps = std::stod(text.substr(0, at))};
}

std::optional<forecast::NoiseSource> SourceOf(const Arguments& arguments) {
  if (!arguments.from.empty()) {
    return forecast::FromFolder(
        arguments.from, arguments.accuracy < 0 ? std::nullopt : std::optional(arguments.accuracy),
        arguments.target);
  }
  if (arguments.noise_scale.empty()) return std::nullopt;
  std::optional<forecast::CountedSteps> counted;
  if (!arguments.reached.empty()) counted = ParseReached(arguments.reached);
  forecast::NoiseSource source{.noise_scale = forecast::ParseInterval(arguments.noise_scale)};
  source.law = forecast::LawOf(source.noise_scale, counted);
  source.description = "--noise-scale";
  if (counted) source.description += " and --reached " + arguments.reached;
  return source;
}

// From a quarter of the run's own to 64 times as many, as far as there are images.
std::vector<int64_t> SgdBatches(const Arguments& arguments, int64_t own, int64_t images) {
  std::vector<int64_t> batches;
  if (!arguments.sgd_batches.empty()) {
    for (const int batch : ParseSgdBatches(arguments.sgd_batches)) batches.push_back(batch);
    return batches;
  }
  for (int64_t batch = own % 4 == 0 ? own / 4 : own; batch <= std::min(64 * own, images);
       batch *= 2) {
    batches.push_back(batch);
  }
  return batches;
}

// The batches of a replica that the forecast is of.
std::vector<int64_t> ReplicaBatches(const forecast::RunForecast& run,
                                    const std::vector<int>& processes,
                                    const std::vector<std::optional<int64_t>>& sgd_batches) {
  std::vector<int64_t> batches;
  for (const int count : processes) {
    for (const std::optional<int64_t>& sgd_batch : sgd_batches) {
      try {
        batches.push_back(forecast::ReplicaBatch(run.SpecOf(count, sgd_batch).cluster()));
      } catch (const Error&) {
        // Said where it is asked for.
      }
    }
  }
  return batches;
}

void CheckTogether(const Arguments& arguments) {
  const auto refuse = [](const std::string& what) {
    throw Error(ErrorCode::kInvalidArgument, what);
  };
  const bool noise = !arguments.noise_scale.empty(), from = !arguments.from.empty();
  if (noise && from) refuse("--noise-scale and --from both say what the noise scale is; give one");
  if (!arguments.reached.empty() && !noise) refuse("--reached is used with --noise-scale");
  if (!from && (arguments.accuracy >= 0 || !arguments.target.empty())) {
    refuse("--accuracy and --target are used with --from");
  }
  if (!arguments.sgd_batches.empty() && !noise && !from) {
    refuse("--sgd-batches is used with --noise-scale or --from");
  }
}

void Forecast(const Arguments& arguments) {
  CheckTogether(arguments);
  const std::vector<int> processes = ParseProcesses(arguments.processes);
  const forecast::Network network{.latency = forecast::ParseDuration(arguments.latency),
                                  .bandwidth = forecast::ParseBandwidth(arguments.bandwidth)};
  const std::optional<int64_t> sgd_batch =
      arguments.sgd_batch > 0 ? std::optional(arguments.sgd_batch) : std::nullopt;
  const std::optional<forecast::NoiseSource> source = SourceOf(arguments);
  const config::RunFile file = config::LoadRunFile(arguments.run_file, arguments.sets);
  const auto given = MakeBackend(arguments.backend);
  const train::RunBackend of_run(*given, file.spec);
  const backend::Backend& backend = of_run.get();
  data::DatasetCache datasets;
  const train::PreparedRun prepared(file.spec, datasets);
  const int64_t images = prepared.train().dataset().size();
  const std::vector<int64_t> sgd_batches =
      SgdBatches(arguments, data::SgdBatch(file.spec.cluster()), images);
  forecast::ProgramRecorder recorder(backend, prepared.model().input());
  const std::vector<std::string> model = forecast::ModelLines(file.spec, prepared.model().input());
  forecast::MachineProfile profile;
  forecast::RunForecast run(file.spec, profile, recorder,
                            {.network = network, .cores = arguments.cores});
  if (!arguments.profile.empty()) {
    profile = forecast::ReadProfile(arguments.profile);
    forecast::RequireModel(profile, model);
  } else {
    const int64_t own = forecast::ReplicaBatch(file.spec.cluster());
    std::vector<std::optional<int64_t>> of = {sgd_batch};
    if (source) of.insert(of.end(), sgd_batches.begin(), sgd_batches.end());
    std::vector<int64_t> wanted = ReplicaBatches(run, processes, of);
    // Time grows along a line with large batches: measuring them is not worth their time.
    std::erase_if(wanted, [&](int64_t batch) { return batch < 1 || batch > 4 * own; });
    LiveLine live(stderr);
    profile = forecast::MeasureProfile(
        file.spec, backend, datasets,
        {.batches = forecast::BatchesToMeasure(own, wanted, images),
         .on_batch = [&](int64_t batch) {
           live.Update("measuring a replica's step with " + Plural(batch, "sample"));
         }});
    profile.by = "syncbn " + ProgramVersion() + ", " + std::string(backend.name()) + ": " +
                 backend.Description();
    profile.run = DescriptionOf(prepared);
    profile.model = model;
    if (!arguments.save_profile.empty()) forecast::WriteProfile(arguments.save_profile, profile);
  }
  std::vector<ClusterRow> rows;
  for (const int count : processes) {
    ClusterRow& row = rows.emplace_back(ClusterRow{.cluster = run.At(count, sgd_batch)});
    if (row.cluster.impossible.empty()) row.free = run.FreeAt(count, sgd_batch);
  }
  if (std::ranges::none_of(rows,
                           [](const ClusterRow& row) { return row.cluster.impossible.empty(); })) {
    throw Error(ErrorCode::kInvalidArgument, "there is no such run:\n" + ImpossibleText(rows));
  }
  forecast::TargetTimes times;
  if (source) {
    const std::vector<forecast::Setting> settings = run.Settings(processes, sgd_batches);
    if (settings.empty()) {
      throw Error(ErrorCode::kInvalidArgument,
                  "none of the SGD batches can be shared out to the replicas of these processes "
                  "evenly; give others with --sgd-batches");
    }
    times = forecast::PredictTimes(source->law, settings, source->most_advised());
  }
  if (arguments.json) {
    Say(stdout, "%s", ForecastJson(profile, rows, source, times).c_str());
    return;
  }
  const Terminal terminal = Terminal::Of(stdout);
  const std::string title = file.spec.name() + ": " + DescriptionOf(prepared);
  Say(stdout, "%s\n%s%s\n%s", config::WrapText(title, kForecastWidth, 0).c_str(),
      MeasuredText(profile, arguments.profile).c_str(), ModelText(network, arguments.cores).c_str(),
      ClusterText(rows, arguments.cores, terminal).c_str());
  if (const std::string free = FreeText(rows); !free.empty()) Say(stdout, "\n%s", free.c_str());
  if (source) Say(stdout, "\n%s", TargetText(*source, times, terminal).c_str());
}

}  // namespace

void AddForecastCommand(CommandLine& line) {
  auto arguments = std::make_shared<Arguments>();
  Command command = line.parser.add_subcommand(
      "forecast", "Predict steps, SyncBN's share and time to a target on clusters of any size");
  command->footer(
      "A few steps are timed on one core of this machine; messages are those of the reducer's own\n"
      "plan, over a network of the latency and bandwidth that are given. Processes share the\n"
      "replicas of the run file; where they are more, each brings a replica and its batch, or its\n"
      "share of --sgd-batch.\n"
      "  syncbn forecast RUN.yaml --latency 5us --bandwidth 25Gbit\n"
      "  syncbn forecast RUN.yaml --latency 5us --bandwidth 25Gbit --from studies/batch\n"
      "  syncbn forecast RUN.yaml --latency 5us --bandwidth 25Gbit --noise-scale 300..500 \\\n"
      "    --reached 3910@128");
  command->add_option("RUN.yaml", arguments->run_file, "the run file")->required();
  command->add_option("--set", arguments->sets, "override a key of the run file")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  command
      ->add_option("--processes", arguments->processes, "by doubling (2..1024), or a list (2,3,8)")
      ->type_name("RANGE")
      ->check(Parses(ParseProcesses))
      ->capture_default_str();
  command->add_option("--latency", arguments->latency, "of a small message, one way: 5us")
      ->type_name("TIME")
      ->required()
      ->check(Parses(forecast::ParseDuration));
  command
      ->add_option("--bandwidth", arguments->bandwidth,
                   "of a process's link, out and in at once: 25Gbit")
      ->type_name("RATE")
      ->required()
      ->check(Parses(forecast::ParseBandwidth));
  command->add_option("--cores", arguments->cores, "of each process")
      ->type_name("N")
      ->check(WholeNumberFrom(1, 1024))
      ->capture_default_str();
  command->add_option("--sgd-batch", arguments->sgd_batch, "keep this SGD batch at every size")
      ->type_name("N")
      ->check(WholeNumberFrom(1, kMostSgdBatch));
  command
      ->add_option("--noise-scale", arguments->noise_scale,
                   "time to a target: a noise scale, or its 95 % interval (300..500)")
      ->type_name("N")
      ->check(Parses(forecast::ParseInterval));
  command->add_option("--reached", arguments->reached, "that target: steps it took at an SGD batch")
      ->type_name("STEPS@BATCH")
      ->check(Parses(ParseReached));
  command
      ->add_option("--from", arguments->from,
                   "time to a target: folder of a run with probes.noise_scale, or of a study")
      ->type_name("DIR")
      ->check(NotEmpty());
  command
      ->add_option_function(
          "--accuracy", [arguments](double value) { arguments->accuracy = value; },
          "the target of a run (default: its last test accuracy)")
      ->type_name("SHARE")
      ->range(0.0, 1.0);
  command->add_option("--target", arguments->target, "the target of a study, by name")
      ->type_name("NAME")
      ->check(NotEmpty());
  command
      ->add_option("--sgd-batches", arguments->sgd_batches,
                   "SGD batches to compare (default: from the run's / 4 to 64 times it)")
      ->type_name("RANGE")
      ->check(Parses(ParseSgdBatches));
  command->add_option("--profile", arguments->profile, "measure nothing: a profile that was saved")
      ->type_name("FILE")
      ->check(NotEmpty());
  command
      ->add_option("--save-profile", arguments->save_profile,
                   "keep what was measured, e.g. on a host of the cluster")
      ->type_name("FILE")
      ->check(NotEmpty())
      ->excludes("--profile");
  command->add_option("--backend", arguments->backend, "cpu, or reference (double, slow)")
      ->capture_default_str();
  command->add_flag("--json", arguments->json,
                    "an object a line: measured, clusters, law, settings");
  command->callback([arguments] {
    BecomeProgramOf(arguments->backend);
    Forecast(*arguments);
  });
}

}  // namespace syncbn::app
