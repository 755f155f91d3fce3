// Studies as orchestration: what `syncbn study` takes beside the trials.
//
//   study_bench commands [--trials 10000]                  a study with all its results: plan, run
//   (nothing is
//                                                          left to do), report
//   study_bench trials [--trials 200] [--seconds 3]        a study of short trials, one a core: the
//   share of its
//                                                          time in which none of them ran
//
// Each prints a JSON object a line.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "base/file.h"
#include "base/host.h"
#include "base/text.h"
#include "study/plan.h"
#include "study/result_log.h"
#include "study/study_folder.h"
#include "tests/support/process.h"
#include "tests/support/temp_folder.h"

namespace syncbn::bench {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using Results = std::map<std::string, study::TrialRecord>;

void Print(const Json& line) {
  std::printf("%s\n", line.dump().c_str());
  std::fflush(stdout);
}

// `syncbn study WORDS` has to end with success.
ProcessResult Run(std::vector<std::string> words) {
  words.insert(words.begin(), {SyncbnProgram(), "study"});
  ProcessResult result =
      RunProcess({.argv = words, .environment = {}, .timeout = std::chrono::hours(2)});
  if (result.status == 0) return result;
  throw std::runtime_error(Join(words, " ") + ": exit code " + std::to_string(result.status) +
                           ": " + result.err + result.out);
}

std::string WriteStudy(const fs::path& folder, const std::string& name, const std::string& epochs,
                       const std::string& axes) {
  const fs::path file = folder / (name + ".yaml");
  WriteFileAtomically(file, "name: " + name + R"(
run:
  data: {dataset: shapes, shapes: {train_samples: 512, test_samples: 128}}
  model: {architecture: mlp, hidden: [64, 64], norm: batch}
  cluster: {replicas: 2, batch_per_replica: 16}
  train: {epochs: )" + epochs + R"(}
targets: [{name: half, metric: test_accuracy, at_least: 0.5}]
)" + axes);
  return file.string();
}

Results ResultsIn(const fs::path& folder) {
  return study::ReadResults(folder / study::kResultsFile);
}

// -- A study with all its results

// Five seeds of so many cells; their results are one that was really run, with other figures.
void BenchCommands(int trials, const fs::path& folder) {
  constexpr int kSeeds = 5, kBatches = 10, kNorms = 10;
  const int rates = std::max(1, trials / (kSeeds * kBatches * kNorms));
  std::vector<std::string> rate, batch, norm;
  for (int i = 0; i < rates; ++i) rate.push_back(FormatDouble(0.01 + 0.001 * i));
  for (int i = 0; i < kBatches; ++i) batch.push_back(std::to_string(32 * (i + 1)));
  for (int i = 0; i < kNorms; ++i) norm.push_back(std::to_string(i + 2));
  const std::string small = WriteStudy(folder, "small", "20", "seeds: 1\n");
  Run({"run", small, "--out", (folder / "small").string(), "--quiet"});
  const study::TrialRecord real = ResultsIn(folder / "small").begin()->second;
  const std::string file =
      WriteStudy(folder, "large", "20",
                 "axes:\n  - {name: rate, path: train.learning_rate.base, values: [" +
                     Join(rate, ", ") + "]}\n  - {path: sgd_batch, values: [" + Join(batch, ", ") +
                     "]}\n  - {path: model.norm.batch, values: [" + Join(norm, ", ") +
                     "]}\nseeds: " + std::to_string(kSeeds) +
                     "\nclaims:\n  - {text: A larger batch is better, arm: {batch: " + norm.back() +
                     "}, against: {batch: " + norm.front() + "}, supported: {above: 0}}\n");
  const std::string out = (folder / "large").string();
  fs::create_directories(out);
  {
    const study::Plan plan(study::LoadStudyFile(file));
    std::ofstream results(fs::path(out) / study::kResultsFile);
    for (const study::Trial& trial : plan.FirstTrials()) {
      study::TrialRecord record = real;
      for (study::Evaluation& at : record.test) {
        at.accuracy *= 1 - 0.0001 * static_cast<double>(trial.cell % 97 + trial.seed % 89);
      }
      results << study::ToJsonLine(plan.IdOf(trial), record);
    }
  }
  const size_t known = ResultsIn(out).size();
  const std::vector<std::pair<std::string, std::vector<std::string>>> commands = {
      {"plan", {"plan", file, "--no-estimate"}},
      {"run, nothing left", {"run", file, "--out", out, "--quiet"}},
      {"report", {"report", out}}};
  for (const auto& [name, words] : commands) {
    const ProcessResult result = Run(words);
    if (name != "plan" && result.out.find("Of 1 claim: ") == std::string::npos) {
      throw std::runtime_error(name + " does not judge the claim: " + result.out);
    }
    if (ResultsIn(out).size() != known) throw std::runtime_error(name + " has changed the results");
    Print({{"case", name}, {"trials", known}, {"seconds", result.seconds}});
  }
}

// -- A study of short trials

void BenchTrials(int trials, double seconds, const fs::path& folder) {
  const auto run = [&](const std::string& name, double epochs, int seeds, int at_once) {
    const std::string file =
        WriteStudy(folder, name, FormatDouble(epochs), "seeds: " + std::to_string(seeds) + "\n");
    return Run({"run", file, "--out", (folder / name).string(), "--quiet", "--at-once",
                std::to_string(at_once)});
  };
  const auto trained = [&](const std::string& name) {
    double sum = 0;
    for (const auto& [id, record] : ResultsIn(folder / name)) sum += record.timings.at("seconds");
    return sum;
  };
  const int cores = AvailableCores();
  // As long as they are with a neighbour on each core.
  constexpr double kFew = 100;
  run("few", kFew, cores, cores);
  const double epochs = std::ceil(kFew * seconds * cores / trained("few"));
  const ProcessResult result = run("many", epochs, trials, cores);
  const double alone = trained("many") / cores;
  if (ResultsIn(folder / "many").size() != static_cast<size_t>(trials)) {
    throw std::runtime_error("not all trials have a result");
  }
  Print({{"case", "trials"},
         {"trials", trials},
         {"at_once", cores},
         {"seconds_of_a_trial", trained("many") / trials},
         {"seconds_of_the_study", result.seconds},
         {"lost_share", 1 - alone / result.seconds}});
}

}  // namespace
}  // namespace syncbn::bench

int main(int argc, char** argv) {
  CLI::App app("What a study takes beside its trials");
  app.require_subcommand(1, 1);
  int known = 10'000, trials = 200;
  double seconds = 3;
  syncbn::TempFolder folder;
  CLI::App* commands =
      app.add_subcommand("commands", "plan, run and report of a study with all its results");
  commands->add_option("--trials", known, "how many results it has (in steps of 500)")
      ->check(CLI::Range(500, 100'000));
  CLI::App* orchestration =
      app.add_subcommand("trials", "what is lost between the trials of a study");
  orchestration->add_option("--trials", trials, "how many")->check(CLI::Range(1, 100'000));
  orchestration->add_option("--seconds", seconds, "that each takes")
      ->check(CLI::Range(0.01, 1000.0));
  CLI11_PARSE(app, argc, argv);
  try {
    if (commands->parsed()) syncbn::bench::BenchCommands(known, folder.path());
    if (orchestration->parsed()) syncbn::bench::BenchTrials(trials, seconds, folder.path());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "study_bench: %s\n", error.what());
    return 1;
  }
  return 0;
}
