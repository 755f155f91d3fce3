// A profile as a file for chrome://tracing and ui.perfetto.dev: the "Trace Event Format" of
// Chromium (JSON object format, complete events).
#pragma once

#include <filesystem>

#include "train/profile/profile.h"

namespace syncbn::train {

// A process of the run is a process of the trace. It has a track for its steps, one for each
// replica, where waits lie within layers, and as many for what is on its way between processes as
// are needed for none to lie on another. Times begin with the first step. Throws what
// WriteFileAtomically does.
void WriteTrace(const std::filesystem::path& path, const Profile& profile);

// The file's text.
std::string TraceJson(const Profile& profile);

}  // namespace syncbn::train
