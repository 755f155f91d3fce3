// The subcommands: each adds itself to the command line and, when chosen, leaves its exit code.
#pragma once

#include <CLI/CLI.hpp>

#include <string>
#include <vector>

namespace syncbn::app {

struct CommandLine {
  CLI::App& parser;
  // argv as given, for records.
  std::vector<std::string> argv;
  int exit_code = 0;
};

void AddCancelCommand(CommandLine& line);
void AddCheckCommand(CommandLine& line);
void AddDeleteCommand(CommandLine& line);
void AddExplainCommand(CommandLine& line);
void AddInfoCommand(CommandLine& line);
void AddHostsCommand(CommandLine& line);
void AddJobCommand(CommandLine& line);
void AddJobsCommand(CommandLine& line);
void AddLogsCommand(CommandLine& line);
void AddMetricsCommand(CommandLine& line);
void AddPauseCommand(CommandLine& line);
void AddQueueCommand(CommandLine& line);
void AddReplayCommand(CommandLine& line);
void AddServeCommand(CommandLine& line);
void AddSuperviseCommands(CommandLine& line);
void AddResumeCommand(CommandLine& line);
void AddRetryCommand(CommandLine& line);
void AddSubmitCommand(CommandLine& line);
void AddServiceCommands(CommandLine& line);
void AddTokenCommand(CommandLine& line);
void AddTrainCommand(CommandLine& line);
void AddVerifyCommand(CommandLine& line);
void AddWatchCommand(CommandLine& line);

}  // namespace syncbn::app
