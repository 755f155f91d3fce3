// The command line as the commands see it. CLI11 does the parsing and is included in
// command_line.cc alone: it is one header of 10,000 lines whose inline classes every file that sees
// it compiles anew (seven seconds each). Names and meanings are CLI11's, so that its manual holds:
// https://cliutils.github.io/CLI11. A Command and an Option are handles: copied freely, valid as
// long as the CommandLineParser.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace syncbn::app {

// What an option's value must satisfy: "" or what is wrong with it.
using Check = std::function<std::string(const std::string&)>;

class Option {
 public:
  explicit Option(CLI::Option* option) : option_(option) {}
  const Option* operator->() const { return this; }

  Option type_name(const std::string& name) const;
  Option group(const std::string& name) const;  // "": not shown
  Option required(bool value = true) const;
  Option envname(const std::string& name) const;
  Option capture_default_str() const;
  Option default_str(const std::string& text) const;
  Option delimiter(char character) const;
  Option allow_extra_args(bool value = true) const;
  // Of several values the last counts.
  Option take_last() const;
  Option excludes(const std::string& option) const;  // added before
  Option needs(const std::string& option) const;     // likewise
  Option check(const Check& check) const;
  Option range(int least, int most) const;
  Option range(double least, double most) const;
  Option is_member(const std::vector<std::string>& names) const;
  Option existing_directory() const;

 private:
  CLI::Option* option_;
};

class Command {
 public:
  explicit Command(CLI::App* command = nullptr) : command_(command) {}
  const Command* operator->() const { return this; }

  Command add_subcommand(const std::string& name, const std::string& description) const;
  // T: std::string, int, int64_t, double, path, an optional path, and vectors of int, std::string and path.
  template <typename T>
  Option add_option(const std::string& name, T& value, const std::string& description) const;
  // `take` is called with the value once it is checked.
  Option add_option_function(const std::string& name, const std::function<void(double)>& take,
                             const std::string& description) const;
  Option add_flag(const std::string& name, bool& value, const std::string& description) const;

  Command group(const std::string& name) const;
  Command footer(const std::string& text) const;
  Command callback(const std::function<void()>& run) const;
  Command require_subcommand(int least, int most) const;
  // How often an option was given.
  size_t count(const std::string& option) const;
  bool got_subcommand() const;  // any
  bool got_subcommand(const std::string& name) const;
  Command subcommand(const std::string& name) const;
  std::vector<Command> subcommands() const;

 private:
  CLI::App* command_;
};

// The parser of a program.
class CommandLineParser {
 public:
  CommandLineParser(const std::string& name, const std::string& description,
                    const std::string& version);
  ~CommandLineParser();

  Command root();
  // Runs the chosen command's callback, whose exceptions pass through. Returns the exit code where
  // there is nothing more to do: after help and version (kSuccess), after wrong words told on
  // stderr (kWrongInput).
  std::optional<int> Parse(const std::vector<std::string>& argv);

 private:
  std::unique_ptr<CLI::App> parser_;
};

}  // namespace syncbn::app
