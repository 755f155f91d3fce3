#include <cstdio>
#include <memory>

#include "app/commands.h"
#include "app/terminal.h"
#include "base/error.h"
#include "config/explain.h"
#include "study/resolve.h"

namespace syncbn::app {

namespace {

// A key of a study; or one that its `set` and its axes take, which are those of the run file and a
// few that only a study has.
std::string ExplainOfStudy(const std::string& key) {
  if (std::string own = study::ExplainOwnKey(key); !own.empty()) return own;
  try {
    return config::ExplainMessage("syncbn.v1.StudySpec", key);
  } catch (const Error&) {
    try {
      return config::Explain(key);
    } catch (const Error&) {
      // What was asked for is a study's.
    }
    throw;
  }
}

std::string ExplainOfRun(const std::string& key) {
  try {
    return config::Explain(key);
  } catch (const Error&) {
    if (study::ExplainOwnKey(key).empty()) throw;
    throw Error(ErrorCode::kNotFound, "there is no key `" + key +
                                          "` in a run file; a study has one: syncbn explain "
                                          "--study " +
                                          key);
  }
}

}  // namespace

void AddExplainCommand(CommandLine& line) {
  auto key = std::make_shared<std::string>();
  auto study = std::make_shared<bool>(false);
  Command command = line.parser.add_subcommand(
      "explain", "Explain a key of the run file: type, default, range and meaning");
  command->add_option("KEY", *key, "e.g. train.optimizer.momentum; none: the top level");
  command->add_flag("--study", *study, "a key of a study file instead, e.g. --study axes");
  command->callback([key, study] {
    const std::string text = *study ? ExplainOfStudy(*key) : ExplainOfRun(*key);
    Say(stdout, "%s", text.c_str());
  });
}

}  // namespace syncbn::app
