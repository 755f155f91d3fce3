// Which checkpoints lie in the output folder of a run that somebody else writes, or has written.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "train/manifest/manifest.h"

namespace syncbn::train {

struct ListedCheckpoint {
  int64_t step = 0;
  // Of its files together.
  int64_t bytes = 0;
  // Nothing where it is damaged.
  std::optional<Manifest> manifest;
  // What is wrong with it, in UTF-8; empty: it is complete.
  std::string damage;
};

struct CheckpointListing {
  // The highest steps, highest first.
  std::vector<ListedCheckpoint> checkpoints;
  // Lower ones.
  int64_t left_out = 0;
};

// At most so many of OUT/checkpoints, as they are at this moment; none where that is not there.
// Tensors are not read. Follows no link below `out`, waits for no pipe, and reads what a checkpoint
// of ours can be at most: whoever writes there is not believed. Throws FAILED_PRECONDITION where
// the folder holds what no run leaves there, and for what the file system refuses. A look that may
// hang where the file system does.
CheckpointListing ListCheckpoints(const std::filesystem::path& out, size_t most);

}  // namespace syncbn::train
