// What a file system tells of very many files without opening them, and what it told of them
// before.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "base/descriptor.h"
#include "data/image_index.h"

namespace syncbn::data {

// What has been written so shortly before a look may have been written again within the same tick
// of its file system's clock, in nanoseconds.
constexpr int64_t kTick = 2'000'000'000;

int64_t Nanoseconds(const timespec& time);

// stat(2) of files below `root`, from the folder on in which the last one lay: quick where they
// come folder by folder. For one thread.
class FolderStat {
 public:
  explicit FolderStat(const std::filesystem::path& root) : root_(root) {}

  // Of root/NAME, by links; false with errno where that fails.
  bool Get(std::string_view name, struct stat& info);

 private:
  const std::filesystem::path& root_;
  std::string folder_, entry_;
  Descriptor open_;  // root/folder_
};

// Keeps of a file what IsAsSeen compares.
void SetSeen(IndexedImage& image, const struct stat& info);
// Whether the file has not been written since SetSeen: its size, the time of its content and that
// of its last change of any kind, which nobody can set back.
bool IsAsSeen(const IndexedImage& image, const struct stat& info);
// Whether nothing can have been written within a tick of what a look that began at `begun` saw. One
// of both times is enough: a file may come with an old time, or one of the future.
bool IsSettled(const IndexedImage& image, int64_t begun);

// Calls, in several threads, what `make` makes for each of them with parts [begin, end) of
// [0, count). Throws the first of what these throw; the others then end.
using LookAtPart = std::function<void(size_t begin, size_t end)>;
void LookInParts(size_t count, const std::function<LookAtPart()>& make);

}  // namespace syncbn::data
