// The subcommands, by folder: each adds itself to the command line and, when chosen, leaves its exit code.
#pragma once

#include <string>
#include <vector>

#include "app/command_line.h"

namespace syncbn::app {

struct CommandLine {
  Command parser;
  // argv as given, for records.
  std::vector<std::string> argv;
  int exit_code = 0;
};

// run: training, and what was trained
void AddCheckCommand(CommandLine& line);
void AddEvaluateCommand(CommandLine& line);
void AddExplainCommand(CommandLine& line);
void AddExportCommand(CommandLine& line);
void AddInfoCommand(CommandLine& line);
void AddPredictCommand(CommandLine& line);
void AddReplayCommand(CommandLine& line);
void AddTrainCommand(CommandLine& line);
void AddVerifyCommand(CommandLine& line);

// forecast: what a run would cost elsewhere
void AddForecastCommand(CommandLine& line);

// study: many runs and what they say
void AddStudyCommand(CommandLine& line);

// jobs: asking a coordinator about jobs
void AddCancelCommand(CommandLine& line);
void AddDeleteCommand(CommandLine& line);
void AddJobCommand(CommandLine& line);
void AddJobsCommand(CommandLine& line);
void AddLogsCommand(CommandLine& line);
void AddMetricsCommand(CommandLine& line);
void AddPauseCommand(CommandLine& line);
void AddQueueCommand(CommandLine& line);
void AddResumeCommand(CommandLine& line);
void AddRetryCommand(CommandLine& line);
void AddSubmitCommand(CommandLine& line);
void AddWatchCommand(CommandLine& line);

// admin: looking after a coordinator
void AddAuditCommand(CommandLine& line);
void AddBackupCommand(CommandLine& line);
void AddHostsCommand(CommandLine& line);
void AddStatusCommand(CommandLine& line);
void AddTokenCommand(CommandLine& line);

// serve: being one
void AddServeCommand(CommandLine& line);
void AddSuperviseCommands(CommandLine& line);

}  // namespace syncbn::app
