// The two hidden commands that the coordinator itself starts: `supervise`, the process between it
// and mpirun, and `sweep`, by which a supervisor clears another host.
#include <memory>

#include "app/commands.h"
#include "coordinator/launch/supervisor.h"

namespace syncbn::app {

void AddSuperviseCommands(CommandLine& line) {
  auto options = std::make_shared<coordinator::SupervisorOptions>();
  Command supervise = line.parser.add_subcommand("supervise", "Watch over an attempt of a job");
  supervise->group("");
  supervise->add_option("--folder", options->folder, "the attempt's folder")->required();
  supervise->add_flag("!--foreground", options->detach, "stay until the attempt is over");
  supervise->callback([options, &line] { line.exit_code = coordinator::RunSupervisor(*options); });

  auto sweep_options = std::make_shared<coordinator::SweepOptions>();
  Command sweep = line.parser.add_subcommand("sweep", "End what is left of an attempt here");
  sweep->group("");
  sweep->add_option("--marker", sweep_options->marker, "the attempt's marker")->required();
  sweep->add_flag("--terminate", sweep_options->terminate, "only ask the ranks to leave");
  sweep->add_flag("--look", sweep_options->look,
                  "only print what the ranks have had of the processors");
  sweep->add_option("--send-spool", sweep_options->send_spool, "write this spool folder to the output");
  sweep->add_option("--drop-spool", sweep_options->drop_spool, "remove this spool folder");
  sweep->add_option("--home", sweep_options->home, "the file by which a shared disk is known");
  sweep->callback(
      [sweep_options, &line] { line.exit_code = coordinator::RunSweep(*sweep_options); });
}

}  // namespace syncbn::app
