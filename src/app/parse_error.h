// What is wrong with a command line, in words that name what was typed.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
class ParseError;
}  // namespace CLI

namespace syncbn::app {

// Of an error of CLI11 over the words after the program's name: an unknown command or option is
// named, with the nearest that there is; an option that was given by its short name is called by
// that.
std::string ExplainParseError(const CLI::App& parser, const std::vector<std::string>& words,
                              const CLI::ParseError& error);

}  // namespace syncbn::app
