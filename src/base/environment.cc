#include "base/environment.h"

#include <unistd.h>

#include <algorithm>

namespace syncbn {
namespace {

bool Names(std::string_view entry, std::string_view name) {
  return entry.size() > name.size() && entry.starts_with(name) && entry[name.size()] == '=';
}

}  // namespace

std::string VariableName(std::string_view entry) {
  return std::string(entry.substr(0, entry.find('=')));
}

std::vector<std::string> OwnEnvironment() {
  std::vector<std::string> environment;
  for (char** variable = environ; *variable != nullptr; ++variable)
    environment.emplace_back(*variable);
  return environment;
}

bool HasVariable(const std::vector<std::string>& environment, std::string_view name) {
  return std::ranges::any_of(environment,
                             [&](const std::string& entry) { return Names(entry, name); });
}

void SetVariable(std::vector<std::string>& environment, const std::string& name,
                 const std::string& value) {
  std::erase_if(environment, [&](const std::string& entry) { return Names(entry, name); });
  environment.push_back(name + "=" + value);
}

std::vector<char*> ExecPointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace syncbn
