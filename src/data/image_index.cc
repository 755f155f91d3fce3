#include "data/image_index.h"

#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "base/digest.h"
#include "base/error.h"
#include "base/file.h"
#include "base/home.h"
#include "base/printable.h"
#include "base/regular_file.h"
#include "data/image_stat.h"
#include "data/index_lock.h"

namespace syncbn::data {
namespace {

namespace fs = std::filesystem;

int64_t ModifiedOf(const fs::path& path) {
  struct stat info;
  return ::stat(path.c_str(), &info) != 0 ? -1 : Nanoseconds(info.st_mtim);
}

// Where a file that is no index leads to no more than this being read.
constexpr int64_t kMostBytes = int64_t{1} << 32;

// What is wrong with those that there are is added to `wrong`.
std::optional<ImageIndex> ReadIndex(const fs::path& file, std::vector<std::string>& wrong) {
  try {
    const std::vector<std::byte> bytes = ReadRegularFile(file, kMostBytes);
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    for (const char* older : {"syncbn images 1\n", "syncbn images 2\n"}) {
      if (text.starts_with(older)) return std::nullopt;
    }
    return FromBytes(text);
  } catch (const UnfitFile& error) {
    wrong.push_back(error.message());
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kNotFound) return std::nullopt;
    wrong.push_back("the index " + file.string() + " does not hold (" + error.message() + ")");
  }
  return std::nullopt;
}

struct Found {
  std::vector<ImageIndex> indexes;  // the newest first
  std::vector<std::string> wrong;

  int64_t newest() const { return indexes.empty() ? 0 : indexes.front().begun; }
};

Found FindIndexes(const std::vector<fs::path>& files) {
  Found found;
  for (const fs::path& file : files) {
    if (auto index = ReadIndex(file, found.wrong)) found.indexes.push_back(std::move(*index));
  }
  std::ranges::sort(found.indexes, std::ranges::greater(), &ImageIndex::begun);
  return found;
}

// The first that is wanted, moved out.
template <typename IsWanted>
std::optional<ImageIndex> Take(Found& found, const IsWanted& is_wanted) {
  const auto place = std::ranges::find_if(found.indexes, is_wanted);
  if (place == found.indexes.end()) return std::nullopt;
  return std::move(*place);
}

// Whether there is a place for it.
bool KeepIndex(const ImageIndex& index, const std::vector<fs::path>& files) {
  const std::string bytes = ToBytes(index);
  for (const fs::path& file : files) {
    try {
      std::error_code ignored;
      if (file != files.front()) fs::create_directories(file.parent_path(), ignored);
      WriteFileAtomically(file, bytes);
      return true;
    } catch (const Error&) {
      // The next place; without any the next start scans again.
    }
  }
  return false;
}

bool FoldersAreAsSeen(const ImageIndex& index, const fs::path& folder) {
  return !index.folders.empty() &&
         std::ranges::all_of(index.folders, [&](const IndexedFolder& known) {
           const fs::path path = known.path.empty() ? folder : folder / known.path;
           return known.modified + kTick <= index.begun && ModifiedOf(path) == known.modified;
         });
}

// A file that is written again in its place changes no folder.
bool FilesAreAsSeen(const ImageIndex& index, const fs::path& folder) {
  if (!std::ranges::all_of(
          index.images, [&](const IndexedImage& image) { return IsSettled(image, index.begun); })) {
    return false;
  }
  std::atomic<bool> same{true};
  LookInParts(index.images.size(), [&]() -> LookAtPart {
    return [&, files = std::make_shared<FolderStat>(folder)](size_t begin, size_t end) {
      for (size_t i = begin; i < end && same; ++i) {
        const IndexedImage& image = index.images[i];
        // A link that led nowhere has no times.
        struct stat info;
        if (files->Get(index.Name(image), info) ? !IsAsSeen(image, info) : image.changed != 0) {
          same = false;
        }
      }
    };
  });
  return same;
}

}  // namespace

bool IsCurrent(const ImageIndex& index, const fs::path& folder) {
  return FoldersAreAsSeen(index, folder) && FilesAreAsSeen(index, folder);
}

std::vector<fs::path> IndexFiles(const fs::path& folder) {
  const std::string name = folder.filename().string() + ".syncbn-index";
  std::vector<fs::path> files = {folder.parent_path() / ("." + name)};
  const char* given = std::getenv("XDG_CACHE_HOME");
  const fs::path cache =
      given != nullptr && *given == '/' ? fs::path(given) : fs::path(ExpandHome("~/.cache"));
  if (cache.is_absolute()) {
    const std::string whole = folder.string();
    const std::string key = DigestOf(std::as_bytes(std::span(whole))).Hex();
    files.push_back(cache / "syncbn" / (key + "-" + name));
  }
  return files;
}

ImageIndex IndexOf(const fs::path& given, const IndexOptions& options) {
  std::error_code failed;
  const fs::path canonical = fs::canonical(given, failed), folder = failed ? given : canonical;
  const std::vector<fs::path> files = IndexFiles(folder);
  // Before the lock, by all processes at once.
  Found found = FindIndexes(files);
  const IndexLock lock(files, folder, options);
  if (lock.told()) {
    // What somebody found who looked while this process waited is new enough, though a file may
    // have changed too shortly before for the next start.
    const auto is_told = [&](const ImageIndex& index) { return index.begun == *lock.told(); };
    if (auto index = Take(found, is_told)) return std::move(*index);
    found = FindIndexes(files);
    if (auto index = Take(found, is_told)) return std::move(*index);
  }
  const auto is_current = [&](const ImageIndex& index) { return IsCurrent(index, folder); };
  std::optional<ImageIndex> current = Take(found, is_current);
  if (!current) {
    // Somebody may have looked before the lock was had.
    const int64_t newest = found.newest();
    found = FindIndexes(files);
    if (found.newest() != newest) current = Take(found, is_current);
  }
  if (current) {
    lock.Tell(current->begun);
    return std::move(*current);
  }
  for (const std::string& wrong : found.wrong) {
    if (options.say) options.say(OneLine(wrong) + ": the images are looked at anew");
  }
  const ImageIndex none;
  ImageIndex fresh = ScanImageFolder(folder, found.indexes.empty() ? none : found.indexes.front());
  if (KeepIndex(fresh, files)) lock.Tell(fresh.begun);
  return fresh;
}

}  // namespace syncbn::data
