#include "app/command_line.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <string_view>

#include "app/exit_code.h"
#include "app/parse_error.h"
#include "app/terminal.h"
#include "app/validators.h"

namespace syncbn::app {
namespace {

// CLI11's help, without what it says to programs only: that a flag is `{false}`, and which options
// it excludes where these are not shown.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_option_name(const CLI::Option* option, bool positional) const override {
    std::string name = Formatter::make_option_name(option, positional);
    constexpr std::string_view kOff = "{false}";
    for (size_t at = 0; (at = name.find(kOff)) != std::string::npos;) name.erase(at, kOff.size());
    return name;
  }
  std::string make_option_opts(const CLI::Option* option) const override {
    std::string text = Formatter::make_option_opts(option);
    const auto& excluded = option->get_excludes();
    const bool shown = std::ranges::any_of(
        excluded, [](const CLI::Option* other) { return !other->get_group().empty(); });
    if (!excluded.empty() && !shown) text.erase(text.rfind(" " + get_label("Excludes")));
    return text;
  }
};

}  // namespace

Option Option::type_name(const std::string& name) const {
  option_->type_name(name);
  return *this;
}

Option Option::group(const std::string& name) const {
  option_->group(name);
  return *this;
}

Option Option::required(bool value) const {
  option_->required(value);
  return *this;
}

Option Option::envname(const std::string& name) const {
  option_->envname(name);
  return *this;
}

Option Option::capture_default_str() const {
  option_->capture_default_str();
  return *this;
}

Option Option::default_str(const std::string& text) const {
  option_->default_str(text);
  return *this;
}

Option Option::delimiter(char character) const {
  option_->delimiter(character);
  return *this;
}

Option Option::allow_extra_args(bool value) const {
  option_->allow_extra_args(value);
  return *this;
}

Option Option::take_last() const {
  option_->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  return *this;
}

Option Option::excludes(const std::string& option) const {
  option_->excludes(option);
  return *this;
}

Option Option::needs(const std::string& option) const {
  option_->needs(option);
  return *this;
}

// What a check expects stands in the option's own words: CLI11 shall add nothing to the help.

Option Option::check(const Check& check) const {
  option_->check(CLI::Validator([check](std::string& text) { return check(text); }, ""));
  return *this;
}

Option Option::range(int least, int most) const {
  return check(WholeNumberFrom(least, most));
}

Option Option::range(double least, double most) const {
  return check([least, most](const std::string& text) {
    double value = 0;
    // CLI11 takes "nan" for a number within every range.
    const bool fits = CLI::detail::lexical_cast(text, value) && std::isfinite(value) &&
                      value >= least && value <= most;
    if (fits) return std::string();
    char bounds[64];
    std::snprintf(bounds, sizeof bounds, "%.9g to %.9g", least, most);
    return "expected a number from " + std::string(bounds) + ", found '" + text + "'";
  });
}

Option Option::is_member(const std::vector<std::string>& names) const {
  option_->check(CLI::IsMember(names).description(""));
  return *this;
}

Option Option::existing_directory() const {
  option_->check(CLI::ExistingDirectory.description(""));
  return *this;
}

Command Command::add_subcommand(const std::string& name, const std::string& description) const {
  return Command(command_->add_subcommand(name, description));
}

template <typename T>
Option Command::add_option(const std::string& name, T& value,
                           const std::string& description) const {
  return Option(command_->add_option(name, value, description));
}
template Option Command::add_option(const std::string&, std::string&, const std::string&) const;
template Option Command::add_option(const std::string&, int&, const std::string&) const;
template Option Command::add_option(const std::string&, int64_t&, const std::string&) const;
template Option Command::add_option(const std::string&, double&, const std::string&) const;
template Option Command::add_option(const std::string&, std::filesystem::path&,
                                    const std::string&) const;
template Option Command::add_option(const std::string&, std::optional<std::filesystem::path>&,
                                    const std::string&) const;
template Option Command::add_option(const std::string&, std::vector<std::filesystem::path>&,
                                    const std::string&) const;
template Option Command::add_option(const std::string&, std::vector<int>&,
                                    const std::string&) const;
template Option Command::add_option(const std::string&, std::vector<std::string>&,
                                    const std::string&) const;

Option Command::add_option_function(const std::string& name,
                                    const std::function<void(double)>& take,
                                    const std::string& description) const {
  return Option(command_->add_option_function<double>(
      name, [take](const double& value) { take(value); }, description));
}

Option Command::add_flag(const std::string& name, bool& value,
                         const std::string& description) const {
  return Option(command_->add_flag(name, value, description));
}

Command Command::group(const std::string& name) const {
  command_->group(name);
  return *this;
}

Command Command::footer(const std::string& text) const {
  command_->footer(text);
  return *this;
}

Command Command::callback(const std::function<void()>& run) const {
  command_->callback(run);
  return *this;
}

Command Command::require_subcommand(int least, int most) const {
  command_->require_subcommand(least, most);
  return *this;
}

size_t Command::count(const std::string& option) const {
  return command_->count(option);
}

bool Command::got_subcommand() const {
  return !command_->get_subcommands().empty();
}

bool Command::got_subcommand(const std::string& name) const {
  return command_->got_subcommand(name);
}

Command Command::subcommand(const std::string& name) const {
  return Command(command_->get_subcommand(name));
}

std::vector<Command> Command::subcommands() const {
  std::vector<Command> commands;
  for (CLI::App* command : command_->get_subcommands(nullptr)) commands.push_back(Command(command));
  return commands;
}

CommandLineParser::CommandLineParser(const std::string& name, const std::string& description,
                                     const std::string& version)
    : parser_(std::make_unique<CLI::App>(description, name)) {
  const auto formatter = std::make_shared<HelpFormatter>();
  formatter->column_width(26);
  parser_->formatter(formatter);
  parser_->require_subcommand(1);
  parser_->set_version_flag("--version", version);
}

CommandLineParser::~CommandLineParser() = default;

Command CommandLineParser::root() {
  return Command(parser_.get());
}

std::optional<int> CommandLineParser::Parse(const std::vector<std::string>& argv) {
  try {
    // In CLI11's order: the last word first, without the program's name.
    parser_->parse(std::vector<std::string>(argv.rbegin(), argv.rend() - 1));
  } catch (const CLI::ParseError& error) {
    // Of help and version, which are no faults.
    if (error.get_exit_code() == 0) return parser_->exit(error), kSuccess;
    const std::string name = parser_->get_name();
    const std::vector<std::string> words(argv.begin() + 1, argv.end());
    Say(stderr, "%s: %s\nRun '%s --help' or '%s COMMAND --help'.\n", name.c_str(),
        ExplainParseError(*parser_, words, error).c_str(), name.c_str(), name.c_str());
    return kWrongInput;
  }
  return std::nullopt;
}

}  // namespace syncbn::app
