// The lock that makes one process the owner of a folder. Held as long as the object lives; the
// kernel gives it up when the process dies, however it dies.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace syncbn::coordinator {

class FolderLock {
 public:
  // Locks `file`, created if need be, and writes `owner` into it for people and for messages: a
  // line that says who it is, and perhaps more. Nothing when another process holds it. Throws when
  // the file cannot be made.
  static std::optional<FolderLock> TryLock(const std::filesystem::path& file,
                                           const std::string& owner);

  // The first line of what the owner, past or present, wrote into it; empty if there is no such
  // file.
  static std::string Owner(const std::filesystem::path& file);

  // Replaces what is written into it.
  void Write(const std::string& owner) const;
  // Whether `file` is still the file that is locked: another that was put in its place locks nobody
  // out.
  bool IsOf(const std::filesystem::path& file) const;

  FolderLock(FolderLock&& other) noexcept;
  FolderLock& operator=(FolderLock&& other) noexcept;
  ~FolderLock();

 private:
  explicit FolderLock(int descriptor) : descriptor_(descriptor) {}

  int descriptor_ = -1;
};

}  // namespace syncbn::coordinator
