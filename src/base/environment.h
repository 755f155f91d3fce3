// Environments and argument lists as values: what a process is to be started with is put together
// before fork. Between fork and exec of a process that may have threads nothing may allocate, and
// setenv does.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace syncbn {

// "NAME" of "NAME=value".
std::string VariableName(std::string_view entry);

// This process's own, "NAME=value" each.
std::vector<std::string> OwnEnvironment();

bool HasVariable(const std::vector<std::string>& environment, std::string_view name);

// Sets one, in place of what it was: of two entries of a name programs see the first.
void SetVariable(std::vector<std::string>& environment, const std::string& name,
                 const std::string& value);

// What execve takes: a pointer to each text, then null. Good as long as `texts` stays as it is.
std::vector<char*> ExecPointers(std::vector<std::string>& texts);

}  // namespace syncbn
