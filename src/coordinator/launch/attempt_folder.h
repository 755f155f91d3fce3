// The folder of an attempt: where the coordinator and the supervisor leave each other word
// (syncbn/v1/attempt.proto tells which file is whose). Every file is written whole; what disks and
// people have made of it since is told by DamagedFile.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "coordinator/job/job_record.h"
#include "coordinator/launch/process.h"
#include "coordinator/launch/stop_ladder.h"
#include "coordinator/store/folder_lock.h"
#include "syncbn/v1/attempt.pb.h"

namespace syncbn::coordinator {

// A file of the folder is there, but cannot be what was written: cut off, overwritten, of another
// attempt, or not to be read by this user. Looking again will not help. DATA_LOSS.
class DamagedFile : public Error {
 public:
  DamagedFile(const std::filesystem::path& path, const std::string& why)
      : Error(ErrorCode::kDataLoss, path.string() + " is damaged: " + why) {}
};

class AttemptFolder {
 public:
  // With a marker, files that carry another one are damaged. All that read a file throw
  // DamagedFile, and the error of ReadFile where another look may go better.
  explicit AttemptFolder(std::filesystem::path path, std::string marker = "")
      : path_(std::move(path)), marker_(std::move(marker)) {}

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path output_log() const { return path_ / "output.log"; }
  std::filesystem::path supervisor_log() const { return path_ / "supervisor.log"; }
  // Where workers keep what the coordinator has not acknowledged.
  std::filesystem::path spool() const { return path_ / "spool"; }

  // Makes the folder, sets space aside for orders to stop and the record of the end, so that they
  // are written on a full disk, too, and writes attempt.json. Once; before the supervisor is started.
  void Create(const v1::AttemptSpec& spec) const;
  // NOT_FOUND without it.
  v1::AttemptSpec Spec() const;

  void WriteSupervisor(const v1::SupervisorRecord& record) const;
  std::optional<v1::SupervisorRecord> Supervisor() const;

  // Replaces a milder order, and one that cannot be read; a more severe one stays.
  void WriteStop(const v1::StopOrder& order) const;
  std::optional<v1::StopOrder> Stop() const;

  // Final: whoever holds the lock writes it, once. False where a record is there that can be read,
  // whoever wrote it, even if this host does not see it yet: that one stays. What is left of the
  // space set aside is free then.
  bool WriteExit(const v1::ExitRecord& record) const;
  // Puts a record with what was learnt since in the place of the one that was read.
  void AmendExit(const v1::ExitRecord& record) const;
  std::optional<v1::ExitRecord> Exit() const;

  // Bytes in output.log and in the spools now.
  int64_t Written() const;

  // The lock that the supervisor holds while it lives; nothing while another process has it.
  std::optional<FolderLock> TryLock() const;

 private:
  std::filesystem::path path_;
  std::string marker_;
};

// What read() returns; nothing where the file is damaged, and then why is added to `damage`.
template <typename Read>
auto ReadOrNote(Read&& read, std::string& damage)
    -> std::optional<std::decay_t<decltype(*read())>> {
  try {
    return read();
  } catch (const DamagedFile& error) {
    damage += (damage.empty() ? "" : "; ") + error.message();
    return std::nullopt;
  }
}

// The attempts below a data folder that were begun and have no exit record.
std::vector<AttemptId> UnendedAttempts(const std::filesystem::path& data);

// Two folders for temporary files of an attempt, on disk and in shared memory, named after its
// marker so that whoever clears up after it finds them. mpirun killed hard leaves files there.
struct ScratchFolders {
  std::filesystem::path disk;
  std::filesystem::path memory;
  // Why they are not where they should be; empty: they are.
  std::string warning;
};
// Below TMPDIR, or below /tmp when that is no folder (any more). Does not throw.
ScratchFolders ScratchOf(const std::string& marker);
// Makes both, for this user only; empty paths, and a warning, where that fails. Does not throw.
ScratchFolders MakeScratch(const std::string& marker);
void RemoveScratch(const std::string& marker);

StopLadder::Times LadderTimes(const v1::LadderSpec& spec);

}  // namespace syncbn::coordinator
