#include <cstdio>
#include <memory>

#include "app/commands.h"
#include "app/terminal.h"
#include "config/explain.h"

namespace syncbn::app {

void AddExplainCommand(CommandLine& line) {
  auto key = std::make_shared<std::string>();
  Command command = line.parser.add_subcommand(
      "explain", "Explain a key of the run file: type, default, range and meaning");
  command->add_option("KEY", *key, "e.g. train.optimizer.momentum; none: the top level");
  command->callback([key] { Say(stdout, "%s", config::Explain(*key).c_str()); });
}

}  // namespace syncbn::app
