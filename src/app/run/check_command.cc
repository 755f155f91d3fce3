#include <cstdio>
#include <memory>

#include "app/commands.h"
#include "app/console.h"
#include "app/run/gpu_program.h"
#include "app/run/run_notes.h"
#include "app/terminal.h"
#include "backend/gpus.h"
#include "base/text.h"
#include "config/run_file.h"
#include "data/batch_plan.h"
#include "train/run_backend.h"

namespace syncbn::app {
namespace {

struct Arguments {
  std::string run_file;
  std::vector<std::string> sets;
  bool print = false;
};

// It may be meant for another machine.
void NotePrecision(const v1::RunSpec& spec, std::vector<RunNote>& notes) {
  const backend::Precision precision = train::PrecisionOf(spec);
  if (precision == backend::Precision::kFloat32) return;
  const GpuHost host = ThisHost();
  if (host.has_gpu && (backend::HasCuda() || HasCudaProgram(host))) return;
  notes.push_back(
      {.text = "precision: " + std::string(PrecisionName(precision)) +
               " is computed on GPUs alone, by the cuda back end, which this machine has not: here "
               "the run would be refused. `precision: float32` is computed everywhere",
       .warning = true});
}

}  // namespace

void AddCheckCommand(CommandLine& line) {
  auto arguments = std::make_shared<Arguments>();
  Command command = line.parser.add_subcommand(
      "check", "Validate a run file without running it; reports all its errors");
  command->add_option("RUN.yaml", arguments->run_file, "the run file")->required();
  command->add_option("--set", arguments->sets, "override a key, e.g. --set train.epochs=3; of two values\nthe last counts")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  command->add_flag("--print", arguments->print,
                    "print the effective run file with the origin of each value");
  command->callback([arguments] {
    const config::RunFile file = config::LoadRunFile(arguments->run_file, arguments->sets);
    if (arguments->print) {
      SayExactly(file.EffectiveYaml());
      return;
    }
    std::vector<RunNote> notes = NotesOf(file.spec);
    NotePrecision(file.spec, notes);
    Say(stdout, "%s: no errors. %s, SGD batch %lld.\n", arguments->run_file.c_str(),
        Plural(file.spec.cluster().replicas(), "replica").c_str(),
        static_cast<long long>(data::SgdBatch(file.spec.cluster())));
    PrintNotes(notes);
  });
}

}  // namespace syncbn::app
