// Tries the machines of a hosts file before a job does: `syncbn hosts check`.
#pragma once

#include <filesystem>

namespace syncbn::app {

// On every host: is it reached, is the same build there, the same processor kind and MPI, is
// `folder` (the coordinator's) shared and writable, does its clock agree; then one training step
// under mpirun across all. Prints a table and what is wrong, each with what to do. kSuccess, or
// kFailure where something is wrong. Throws INVALID_ARGUMENT for a wrong hosts file or a folder
// that cannot be written.
int CheckHosts(const std::filesystem::path& hosts_file, const std::filesystem::path& folder);

}  // namespace syncbn::app
