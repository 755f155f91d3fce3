// What this program is and what it was built and runs with: for `syncbn info`, summaries, and the comparison
// of ranks at start.
#pragma once

#include <filesystem>
#include <map>
#include <string>

namespace syncbn::app {

// "0.1.0"
std::string ProgramVersion();
// The file this process was started from.
std::filesystem::path ProgramPath();
// Digest of that file: equal on two hosts if they run the same build.
std::string ProgramDigest();
// Name to version, of the libraries in use: "oneDNN", "Open MPI", "gRPC", ...
std::map<std::string, std::string> LibraryVersions();
// This process's share of the cores it may use, when mpirun started several on this host.
int CoresPerProcess();

}  // namespace syncbn::app
