#include <cstdio>
#include <memory>

#include "app/commands.h"
#include "app/terminal.h"
#include "config/explain.h"

namespace syncbn::app {

void AddExplainCommand(CommandLine& line) {
  auto key = std::make_shared<std::string>();
  auto study = std::make_shared<bool>(false);
  Command command = line.parser.add_subcommand(
      "explain", "Explain a key of the run file: type, default, range and meaning");
  command->add_option("KEY", *key, "e.g. train.optimizer.momentum; none: the top level");
  command->add_flag("--study", *study, "a key of a study file instead, e.g. --study axes");
  command->callback([key, study] {
    const std::string text =
        *study ? config::ExplainMessage("syncbn.v1.StudySpec", *key) : config::Explain(*key);
    Say(stdout, "%s", text.c_str());
  });
}

}  // namespace syncbn::app
