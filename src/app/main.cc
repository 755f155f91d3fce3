#include <fcntl.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <new>
#include <optional>

#include "app/commands.h"
#include "app/exit_code.h"
#include "app/terminal.h"
#include "app/versions.h"
#include "base/error.h"
#include "base/home.h"
#include "coordinator/launch/rank_relay.h"

namespace {

// A file that is opened must never get the number of a standard stream: what is printed would go
// into it.
void HoldStandardStreams() {
  for (int stream = 0; stream < 3; ++stream) {
    if (::fcntl(stream, F_GETFD) >= 0) continue;
    [[maybe_unused]] const int opened = ::open("/dev/null", stream == 0 ? O_RDONLY : O_WRONLY);
  }
}

// A shell expands `--out ~/x` and not `--out=~/x` (nor '~/x' out of a variable): whichever way a
// path is given, it means the home folder. Whoever wants a folder named ~ writes ./~.
std::vector<std::string> WithHome(int argc, char** argv) {
  std::vector<std::string> words;
  for (int i = 0; i < argc; ++i) {
    const std::string word = argv[i];
    const size_t equals = word.starts_with("-") ? word.find('=') : std::string::npos;
    const size_t value = equals == std::string::npos ? 0 : equals + 1;
    words.push_back(word.substr(0, value) +
                    syncbn::ExpandHome(std::string_view(word).substr(value)));
  }
  return words;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace syncbn;
  HoldStandardStreams();
  coordinator::RelayOutputIfWanted();
  // A closed pipe (`syncbn ... | head`) must not end a run: writes report it instead.
  std::signal(SIGPIPE, SIG_IGN);
  app::CommandLineParser parser(
      "syncbn",
      "syncbn trains networks with synchronized batch normalization: the same result, to the last\n"
      "bit, at any number of processes.\n\n"
      "  syncbn train configs/shapes-demo.yaml               one process\n"
      "  mpirun -np 4 syncbn train configs/shapes-demo.yaml  the same run on four\n"
      "  syncbn submit configs/shapes-demo.yaml --follow     queued and run by a coordinator",
      "syncbn " + app::ProgramVersion());
  app::CommandLine line{parser.root(), WithHome(argc, argv)};
  app::AddTrainCommand(line);
  app::AddCheckCommand(line);
  app::AddExplainCommand(line);
  app::AddVerifyCommand(line);
  app::AddReplayCommand(line);
  app::AddEvaluateCommand(line);
  app::AddPredictCommand(line);
  app::AddExportCommand(line);
  app::AddInfoCommand(line);
  app::AddStudyCommand(line);
  app::AddForecastCommand(line);
  for (app::Command command : line.parser.subcommands()) command.group("Training");
  app::AddServeCommand(line);
  app::AddSuperviseCommands(line);
  app::AddSubmitCommand(line);
  app::AddJobsCommand(line);
  app::AddJobCommand(line);
  app::AddWatchCommand(line);
  app::AddLogsCommand(line);
  app::AddMetricsCommand(line);
  app::AddCancelCommand(line);
  app::AddPauseCommand(line);
  app::AddResumeCommand(line);
  app::AddRetryCommand(line);
  app::AddDeleteCommand(line);
  app::AddQueueCommand(line);
  app::AddHostsCommand(line);
  app::AddTokenCommand(line);
  app::AddStatusCommand(line);
  app::AddBackupCommand(line);
  app::AddAuditCommand(line);
  for (const char* name : {"serve", "status", "token", "backup", "audit"}) {
    line.parser.subcommand(name).group("Service");
  }
  try {
    if (const std::optional<int> code = parser.Parse(line.argv)) return *code;
  } catch (const Error& error) {
    app::Say(stderr, "syncbn: %s\n", error.what());
    return app::ExitCodeOf(error);
  } catch (const std::bad_alloc&) {
    app::Say(stderr, "syncbn: out of memory\n");
    return app::kResources;
  } catch (const std::exception& error) {
    app::Say(stderr, "syncbn: %s\n", error.what());
    return app::kFailure;
  }
  // What was asked for has not arrived; a run's own files are not concerned.
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    app::Say(stderr, "syncbn: standard output could not be written: is the disk full?\n");
    if (line.exit_code == app::kSuccess && !line.parser.got_subcommand("train"))
      return app::kStorage;
  }
  return line.exit_code;
}
