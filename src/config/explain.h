// What a key of a file of settings means, from the schema and its comments.
#pragma once

#include <string>
#include <string_view>

namespace syncbn::config {

// Text for people, at most 100 characters wide, ending in a line feed.
//
// `path` is a key's path in the run file ("train.optimizer.momentum", "model.layers.conv"; the
// index of a list may stand or be left out), empty for the run file itself. A value has its type,
// default, range, unit, allowed values, and whether it changes the result; a mapping lists its
// keys. Throws NOT_FOUND for a path that does not exist, with what was probably meant.
std::string Explain(std::string_view path = "");

// The same for another file of settings: the full name of its message, "syncbn.v1.HostsFile".
std::string ExplainMessage(const std::string& message, std::string_view path = "");

}  // namespace syncbn::config
