#include "data/image_index.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <span>
#include <utility>

#include "base/digest.h"
#include "base/error.h"
#include "base/file.h"
#include "base/home.h"
#include "base/printable.h"
#include "base/regular_file.h"
#include "data/index_lock.h"

namespace syncbn::data {
namespace {

namespace fs = std::filesystem;

// Folders that changed so shortly before the scan may have changed again within the same tick of
// their file system's clock.
constexpr int64_t kTick = 2'000'000'000;

int64_t Nanoseconds(const timespec& time) {
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

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
    if (text.starts_with("syncbn images 1\n")) return std::nullopt;  // of an older version
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
  std::optional<ImageIndex> index;  // a current one, else the newest there is
  std::vector<std::string> wrong;
};

Found FindIndex(const fs::path& folder, const std::vector<fs::path>& files) {
  Found found;
  for (const fs::path& file : files) {
    std::optional<ImageIndex> index = ReadIndex(file, found.wrong);
    if (!index) continue;
    if (IsCurrent(*index, folder)) return {.index = std::move(index), .wrong = {}};
    if (!found.index || found.index->begun < index->begun) found.index = std::move(index);
  }
  return found;
}

void KeepIndex(const ImageIndex& index, const std::vector<fs::path>& files) {
  const std::string bytes = ToBytes(index);
  for (const fs::path& file : files) {
    try {
      std::error_code ignored;
      if (file != files.front()) fs::create_directories(file.parent_path(), ignored);
      return WriteFileAtomically(file, bytes);
    } catch (const Error&) {
      // The next place; without any the next start scans again.
    }
  }
}

bool IsUnchanged(const ImageIndex& index, const fs::path& folder) {
  return !index.folders.empty() &&
         std::ranges::all_of(index.folders, [&](const IndexedFolder& known) {
           return ModifiedOf(known.path.empty() ? folder : folder / known.path) == known.modified;
         });
}

// Files that are mended in their places change no folder.
bool IsDamagedAsBefore(const ImageIndex& index, const fs::path& folder) {
  return std::ranges::all_of(index.damaged, [&](const IndexedDamage& damage) {
    const IndexedImage& image = index.images[damage.image];
    struct stat info;
    if (::stat((folder / index.Name(image)).c_str(), &info) != 0) return image.modified == 0;
    return int64_t{info.st_size} == image.bytes && Nanoseconds(info.st_mtim) == image.modified;
  });
}

}  // namespace

bool IsCurrent(const ImageIndex& index, const fs::path& folder) {
  return IsUnchanged(index, folder) && IsDamagedAsBefore(index, folder) &&
         std::ranges::all_of(index.folders, [&](const IndexedFolder& known) {
           return known.modified + kTick <= index.begun;
         });
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
  Found found = FindIndex(folder, files);
  if (found.index && IsCurrent(*found.index, folder)) return std::move(*found.index);
  const int64_t before = found.index ? found.index->begun : 0;
  const IndexLock lock(files, folder, options);
  found = FindIndex(folder, files);
  if (found.index) {
    // What somebody found who looked while this process waited is new enough, though a folder may
    // have changed too shortly before for the next start.
    const bool just_made = lock.waited() && found.index->begun != before;
    if (IsCurrent(*found.index, folder) || (just_made && IsUnchanged(*found.index, folder))) {
      return std::move(*found.index);
    }
  }
  for (const std::string& wrong : found.wrong) {
    if (options.say) options.say(OneLine(wrong) + ": the images are looked at anew");
  }
  ImageIndex fresh = ScanImageFolder(folder, found.index.value_or(ImageIndex()));
  KeepIndex(fresh, files);
  return fresh;
}

}  // namespace syncbn::data
