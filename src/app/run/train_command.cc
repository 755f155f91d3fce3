#include <memory>

#include "app/commands.h"
#include "app/run/backend_program.h"
#include "app/run/exchange_choice.h"
#include "app/run/run_session.h"
#include "app/validators.h"

namespace syncbn::app {

void AddTrainCommand(CommandLine& line) {
  auto request = std::make_shared<RunRequest>();
  auto fault = std::make_shared<std::string>();
  auto threads = std::make_shared<int>(0);
  auto live = std::make_shared<bool>(false);
  auto attempt = std::make_shared<int>(0);
  auto coordinator = std::make_shared<std::string>();
  auto profiles = std::make_shared<bool>(false);
  auto profile =
      std::make_shared<train::Recorder::Steps>(train::Recorder::Steps{.after = 3, .count = 10});
  Command command = line.parser.add_subcommand(
      "train", "Train by a run file; under mpirun, on all its processes");
  command->footer(
      "The output folder holds run.yaml (the effective run file), metrics.jsonl (a JSON object a "
      "line),\n"
      "events.out.tfevents.* (the same figures for TensorBoard: tensorboard --logdir DIR), "
      "summary.json\nand checkpoints/. SIGUSR1 writes a checkpoint at the next step; SIGTERM or "
      "Ctrl-C\n"
      "writes one and stops, and --resume goes on from it, on any number of processes, with the "
      "same bits.\n\n"
      "Exit codes: 0 finished, 2 wrong input, 4 out of memory, 5 a process stalled, 6 a process failed,\n"
      "7 damaged files, 12 diverged (train.max_skipped), 13 a disk is full or the last checkpoint could\n"
      "not be written, 75 stopped on request, 76 given up by the coordinator, 1 anything else. A rank\n"
      "that is killed under mpirun gives mpirun's code: 128 + the signal.\n"
      "Steps are numbered from 0 in all files; the console shows how many are done.\n\n"
      "  mpirun --bind-to none -np 4 syncbn train configs/resnet20-cifar10.yaml --out runs/r20");
  command->add_option("RUN.yaml", request->run_file, "the run file")->required();
  command->add_option("--set", request->sets, "override a key, e.g. --set train.epochs=3; of two values\nthe last counts")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  command->add_option("--out", request->out, "output folder (default: runs/NAME)")
      ->type_name("DIR")
      ->check(NotEmpty());
  command->add_flag("--resume", request->resume, "go on from the newest checkpoint of the output folder");
  command->add_flag("--overwrite", request->overwrite, "replace a run that the output folder holds")
      ->excludes("--resume");
  command->add_option("--backend", request->backend, kBackendHelp)->capture_default_str();
  command->add_option("--exchange", request->exchange, kExchangeHelp)
      ->type_name("NAME")
      ->capture_default_str();
  command
      ->add_option("--dump-steps", request->dump_steps,
                   "write the first N steps whole, into OUT/steps")
      ->type_name("N")
      ->check(WholeNumberFrom(0, kAnyWhole));
  command->add_option("--dump-from", request->dump_from, "first step that --dump-steps counts")
      ->type_name("N")
      ->check(WholeNumberFrom(0, kAnyWhole));
  command->add_flag("--profile", *profiles,
                    "print where the time of some steps goes, layer by layer, and write\n"
                    "OUT/profile/layers.csv and trace.json (for ui.perfetto.dev)");
  command->add_option("--profile-steps", profile->count, "so many steps")
      ->type_name("N")
      ->check(WholeNumberFrom(1, 1000))
      ->needs("--profile")
      ->capture_default_str();
  command->add_option("--profile-after", profile->after, "but not the first ones of this start")
      ->type_name("N")
      ->check(WholeNumberFrom(0, kAnyWhole))
      ->needs("--profile")
      ->capture_default_str();
  command->add_option("--threads", *threads,
                      "replicas that compute at once where they can take turns\n"
                      "(default: the share of the cores); changes no result")
      ->type_name("N")
      ->check(WholeNumberFrom(1));
  command->add_flag("!--no-evaluation", request->evaluate, "do not evaluate on the test split");
  command->add_flag("!--no-checkpoints", request->write_checkpoints, "write no checkpoints");
  command->add_flag("--quiet", request->quiet, "print warnings and errors only");
  command->add_flag("--live,!--no-live", *live,
                    "a live line (default: on a terminal, not under mpirun)");
  command->add_option("--coordinator", *coordinator,
                      "report to this coordinator (default: SYNCBN_COORDINATOR); only a\n"
                      "run that was submitted as a job does: see syncbn submit")
      ->type_name("HOST:PORT");
  command->add_option("--attempt", *attempt, "which start of a job this is")->group("");
  command->add_flag("--trial", request->trial, "one of a study, which removes the output folder")
      ->excludes("--dump-steps")
      ->group("");
  command->add_option("--fault", *fault, "fail on purpose")->group("");
  command->callback([=, &line] {
    BecomeProgramOf(request->backend);
    if (!fault->empty()) request->fault = Fault::Parse(*fault);
    if (*profiles) request->profile = *profile;
    if (*attempt > 0) request->attempt = *attempt;
    if (*threads > 0) request->threads = *threads;
    if (command->count("--live") > 0) request->live = *live;
    request->coordinator = *coordinator;
    request->command = line.argv;
    line.exit_code = RunSession(*request);
  });
}

}  // namespace syncbn::app
