// Where the coordinator listens, and whether workers find it there.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace syncbn::app {

bool HasPortZero(const std::string& address);

// The address of the coordinator that ran before on this folder, if it had a free port of the same
// interface chosen: workers that it has left behind know it by that. A file that says no such thing
// is no reason not to start: `note` gets why it is of no use.
std::optional<std::string> FormerAddress(const std::filesystem::path& file,
                                         const std::string& wanted,
                                         const std::function<void(const std::string&)>& note);

// Where workers reach a server that listens on all interfaces: by this machine's name.
std::string ReachableAddress(const std::string& address);

// Why workers on other machines (`elsewhere`, in words; empty: there are none) cannot reach a server
// that listens there and is looked for at `told`, with what to do; nothing where they can.
std::optional<std::string> WhyUnheard(const std::vector<std::string>& listens,
                                      const std::string& told, const std::string& elsewhere);

}  // namespace syncbn::app
