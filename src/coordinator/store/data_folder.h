// The data folder of a coordinator: that it has one owner, that the store in it is that of its
// jobs, and that both stay what they were while it is used.
//
//   lock           held by the owner; says who that is, and the id of the store
//   store.db       the store (store.h), whose id is in its table `meta`
//   jobs/store-id  the id of the store that knows the jobs in this folder
//   backups/       copies of the store that were asked for
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>

#include "base/clock.h"
#include "coordinator/store/folder_lock.h"

namespace syncbn::coordinator {

class DataFolder {
 public:
  // Makes the folder if it is not there and takes its lock. FAILED_PRECONDITION, naming process and
  // host, when another coordinator has it; and, saying which backup to put back, when the store is
  // missing beside what it must have known: a new one would forget its jobs and its tokens in
  // silence.
  explicit DataFolder(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path store() const { return path_ / "store.db"; }

  // The store is open and has this id: from here on it is watched. FAILED_PRECONDITION when the
  // jobs in the folder are another store's.
  void Adopt(const std::string& store_id);

  // Why what is written into the store now is lost, or is not this coordinator's to write; empty
  // while all is in place. Two looks at the file system.
  std::string WhyLost() const;
  // It is the store that is gone, not only the lock.
  bool HasLostStore() const;

 private:
  std::filesystem::path path_;
  FolderLock lock_;
  dev_t device_ = 0;
  ino_t inode_ = 0;  // of the store; 0: not adopted yet
};

// The name of a new copy of the store: in the folder's backups, which are made if need be.
std::filesystem::path BackupFile(const std::filesystem::path& data, const std::string& prefix,
                                 WallTime now);

// What to do about a store that is damaged or missing: the newest copy that is there, and how to
// put it in the store's place.
std::string RestoreAdvice(const std::filesystem::path& data);

}  // namespace syncbn::coordinator
