// The file that is written before it takes the place of another, and what writers that were killed
// have left of theirs.
#pragma once

#include <cstdint>
#include <filesystem>

#include "base/descriptor.h"

namespace syncbn {

struct TemporaryFile {
  Descriptor descriptor;  // to write
  std::filesystem::path path;
};

// A new, empty file beside `path`, whose name nobody can know before, so that another user who may
// write to the folder has put neither a file nor a link in its place: PATH.tmp.PID.PLACE.RANDOM,
// where PLACE names the machine's start and the process's namespace. Throws as ThrowErrno does.
TemporaryFile CreateTemporaryBeside(const std::filesystem::path& path);

// Removes the files beside `path` that this user's killed writers of `path` have left: of a writer
// on this machine once there is no such process any more; of another, which nobody can ask, a day
// after it last wrote, by the clock of the file system, on which `own` has just been made. Never
// throws: what cannot be removed stays.
void RemoveAbandonedBeside(const std::filesystem::path& path, const TemporaryFile& own) noexcept;

}  // namespace syncbn
