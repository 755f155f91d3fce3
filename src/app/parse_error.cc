#include "app/parse_error.h"

#include <CLI/CLI.hpp>

#include <algorithm>

#include "base/text.h"

namespace syncbn::app {
namespace {

bool IsOption(const std::string& word) {
  return word.size() > 1 && word[0] == '-';
}

std::vector<std::string> CommandsOf(const CLI::App& parser) {
  std::vector<std::string> names;
  for (const CLI::App* command : parser.get_subcommands([](const CLI::App*) { return true; })) {
    // Those that the program itself uses are in no group.
    if (!command->get_group().empty()) names.push_back(command->get_name());
  }
  return names;
}

// Where the command line leaves what there is.
struct Place {
  const CLI::App* command;
  std::string name;  // "syncbn token"
  // The word that should be one of its commands and is none; empty where there is none.
  std::string unknown;
};

Place Walk(const CLI::App& parser, const std::vector<std::string>& words) {
  Place place{&parser, parser.get_name(), ""};
  for (size_t i = 0; i < words.size(); ++i) {
    if (IsOption(words[i])) break;
    const std::vector<std::string> commands = CommandsOf(*place.command);
    if (commands.empty()) break;
    const auto next = place.command->get_subcommands(
        [&](const CLI::App* one) { return one->get_name() == words[i]; });
    if (next.empty()) {
      place.unknown = words[i];
      break;
    }
    place.command = next[0];
    place.name += " " + words[i];
  }
  return place;
}

// The first option of the command line that the command does not have.
std::string UnknownOption(const CLI::App& command, const std::vector<std::string>& words,
                          std::vector<std::string>& known) {
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
    for (const std::string& name : option->get_snames()) known.push_back("-" + name);
  }
  for (size_t i = 0; i < words.size() && words[i] != "--"; ++i) {
    if (!words[i].starts_with("--")) continue;
    const std::string name = words[i].substr(0, words[i].find('='));
    if (std::find(known.begin(), known.end(), name) == known.end()) return name;
  }
  return "";
}

// The message says "--processes: ..." also to who wrote "-n": its short name stands there then.
std::string ByNameGiven(const CLI::App& command, const std::vector<std::string>& words,
                        std::string message) {
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& lname : option->get_lnames()) {
      if (!message.starts_with("--" + lname + ":") && !message.starts_with("--" + lname + " "))
        continue;
      const auto given = [&](const std::string& name) {
        return std::any_of(words.begin(), words.end(),
                           [&](const std::string& word) { return word.starts_with(name); });
      };
      for (const std::string& sname : option->get_snames()) {
        if (given("--" + lname) || !given("-" + sname)) continue;
        return "-" + sname + message.substr(2 + lname.size());
      }
    }
  }
  return message;
}

}  // namespace

std::string ExplainParseError(const CLI::App& parser, const std::vector<std::string>& words,
                              const CLI::ParseError& error) {
  const Place place = Walk(parser, words);
  if (!place.unknown.empty()) {
    return "there is no command '" + place.unknown + "'" +
           (place.command == &parser ? "" : " of '" + place.name + "'") +
           DidYouMean(place.unknown, CommandsOf(*place.command), '\'');
  }
  const std::string message = error.what();
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    std::vector<std::string> known;
    const std::string option = UnknownOption(*place.command, words, known);
    if (!option.empty())
      return "'" + place.name + "' has no option " + option + DidYouMean(option, known, '\'');
  }
  if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr && place.command == &parser)
    return "say what to do: a command is missing";
  return ByNameGiven(*place.command, words, message);
}

}  // namespace syncbn::app
