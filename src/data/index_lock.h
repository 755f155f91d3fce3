// Of several processes that want a folder looked at, one does it: the lock is a file of our own
// beside the index (INDEX.lock), locked by flock(2), and gone when it is done.
//
// Whoever holds it shows that it lives by the file's time, so that neither a process that stands
// nor a stranger who has locked the file is waited for for ever. One that goes on showing that it
// lives may well have millions of files to look at: how long that has been waited for is said again
// and again, and that removing the lock file ends it.
//
// What it has found it tells by a line in the lock file, which those who wait have open: they need
// not look at the files, too.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <thread>
#include <vector>

#include "base/descriptor.h"
#include "data/image_index.h"

namespace syncbn::data {

class IndexLock {
 public:
  // Beside the first of `files` where that is possible; where it is nowhere, without a lock. Waits
  // while somebody else has it, and says so; without a lock, too, where that one told something.
  IndexLock(const std::vector<std::filesystem::path>& files, const std::filesystem::path& folder,
            const IndexOptions& options);
  ~IndexLock();
  IndexLock(const IndexLock&) = delete;
  IndexLock& operator=(const IndexLock&) = delete;

  // ImageIndex::begun of the index that holds, by who had it meanwhile.
  std::optional<int64_t> told() const { return told_; }
  // Tells those who wait.
  void Tell(int64_t begun) const;

 private:
  enum class Attempt { kLocked, kElsewhere, kAgain, kWithout };
  Attempt TryAt(const std::filesystem::path& file);
  bool WaitFor(const Descriptor& descriptor, const std::filesystem::path& file);
  void Beat(const std::stop_token& stop) const;

  const std::filesystem::path& folder_;
  const IndexOptions& options_;
  std::optional<int64_t> told_;
  Descriptor descriptor_;
  std::filesystem::path file_;
  std::jthread beat_;
};

}  // namespace syncbn::data
