#include "data/image_index.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>

#include "base/descriptor.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/file.h"
#include "base/home.h"

namespace syncbn::data {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMagic = "syncbn images 1\n";
// Folders that changed so shortly before the scan may have changed again within the same tick of
// their file system's clock.
constexpr int64_t kTick = 2'000'000'000;

static_assert(sizeof(IndexedImage) == 40 && std::is_trivially_copyable_v<IndexedImage>);

void Add(std::string& bytes, uint64_t number) {
  bytes.append(reinterpret_cast<const char*>(&number), sizeof(number));
}

void Add(std::string& bytes, std::string_view text) {
  Add(bytes, text.size());
  bytes += text;
}

// Takes what Add has added.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  uint64_t Number() {
    uint64_t number = 0;
    std::memcpy(&number, Take(sizeof(number)).data(), sizeof(number));
    return number;
  }
  int64_t Signed() { return static_cast<int64_t>(Number()); }
  // Of a list of parts that are `least` bytes long each.
  size_t Count(size_t least) {
    const uint64_t count = Number();
    if (count > bytes_.size() / least) Fail();
    return count;
  }
  std::string_view Take(uint64_t size) {
    if (size > bytes_.size()) Fail();
    const std::string_view taken = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return taken;
  }
  std::string Text() { return std::string(Take(Number())); }
  [[noreturn]] static void Fail() {
    throw Error(ErrorCode::kDataLoss, "an index of images is damaged");
  }

 private:
  std::string_view bytes_;
};

int64_t ModifiedOf(const fs::path& path) {
  struct stat info;
  if (::stat(path.c_str(), &info) != 0) return -1;
  return int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec;
}

std::optional<ImageIndex> ReadIndex(const fs::path& file) {
  try {
    return FromBytes(ReadFile(file));
  } catch (const Error&) {
    return std::nullopt;  // none yet, or one that does not hold: it is made anew
  }
}

// A current one, else the newest there is.
std::optional<ImageIndex> FindIndex(const fs::path& folder, const std::vector<fs::path>& files) {
  std::optional<ImageIndex> newest;
  for (const fs::path& file : files) {
    std::optional<ImageIndex> index = ReadIndex(file);
    if (!index) continue;
    if (IsCurrent(*index, folder)) return index;
    if (!newest || newest->begun < index->begun) newest = std::move(index);
  }
  return newest;
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

}  // namespace

std::string ToBytes(const ImageIndex& index) {
  std::string bytes(kMagic);
  Add(bytes, static_cast<uint64_t>(index.begun));
  Add(bytes, static_cast<uint64_t>(index.other_files));
  Add(bytes, index.classes.size());
  for (const std::string& name : index.classes) Add(bytes, name);
  Add(bytes, index.folders.size());
  for (const IndexedFolder& folder : index.folders) {
    Add(bytes, folder.path);
    Add(bytes, static_cast<uint64_t>(folder.modified));
  }
  Add(bytes, index.damaged.size());
  for (const IndexedDamage& damage : index.damaged) {
    Add(bytes, damage.image);
    Add(bytes, damage.what);
  }
  Add(bytes, index.names);
  Add(bytes, index.images.size());
  bytes.append(reinterpret_cast<const char*>(index.images.data()),
               index.images.size() * sizeof(IndexedImage));
  return bytes += DigestOf(std::as_bytes(std::span(bytes))).Hex();
}

ImageIndex FromBytes(std::string_view bytes) {
  constexpr size_t kDigest = 32;
  if (!bytes.starts_with(kMagic) || bytes.size() < kMagic.size() + kDigest) Reader::Fail();
  const std::string_view digest = bytes.substr(bytes.size() - kDigest);
  bytes.remove_suffix(kDigest);
  if (DigestOf(std::as_bytes(std::span(bytes))).Hex() != digest) Reader::Fail();
  Reader reader(bytes.substr(kMagic.size()));
  ImageIndex index;
  index.begun = reader.Signed();
  index.other_files = reader.Signed();
  index.classes.resize(reader.Count(8));
  for (std::string& name : index.classes) name = reader.Text();
  index.folders.resize(reader.Count(16));
  for (IndexedFolder& folder : index.folders) {
    folder.path = reader.Text();
    folder.modified = reader.Signed();
  }
  index.damaged.resize(reader.Count(16));
  for (IndexedDamage& damage : index.damaged) {
    damage.image = reader.Number();
    damage.what = reader.Text();
  }
  index.names = reader.Text();
  index.images.resize(reader.Count(sizeof(IndexedImage)));
  const std::string_view images = reader.Take(index.images.size() * sizeof(IndexedImage));
  if (!images.empty()) std::memcpy(index.images.data(), images.data(), images.size());
  const auto classes = static_cast<int64_t>(index.classes.size());
  for (const IndexedImage& image : index.images) {
    if (image.name_begin > index.names.size() ||
        image.name_bytes > index.names.size() - image.name_begin || image.label < 0 ||
        image.label >= classes) {
      Reader::Fail();
    }
  }
  for (const IndexedDamage& damage : index.damaged) {
    if (damage.image >= index.images.size()) Reader::Fail();
  }
  return index;
}

bool IsCurrent(const ImageIndex& index, const fs::path& folder) {
  return !index.folders.empty() &&
         std::ranges::all_of(index.folders, [&](const IndexedFolder& known) {
           return known.modified + kTick <= index.begun &&
                  ModifiedOf(known.path.empty() ? folder : folder / known.path) == known.modified;
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

// What was damaged may be mended by now, in place, or could not be read for a moment: no index says
// so for ever.
bool Holds(const std::optional<ImageIndex>& index, const fs::path& folder) {
  return index && index->damaged.empty() && IsCurrent(*index, folder);
}

ImageIndex IndexOf(const fs::path& given) {
  std::error_code failed;
  const fs::path found = fs::canonical(given, failed), folder = failed ? given : found;
  const std::vector<fs::path> files = IndexFiles(folder);
  std::optional<ImageIndex> index = FindIndex(folder, files);
  if (Holds(index, folder)) return std::move(*index);
  // One process of a host scans. Where the file system has no locks, each does.
  const Descriptor lock(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (lock.get() >= 0) {
    while (::flock(lock.get(), LOCK_EX) != 0 && errno == EINTR) {
    }
    index = FindIndex(folder, files);
    if (Holds(index, folder)) return std::move(*index);
  }
  ImageIndex fresh = ScanImageFolder(folder, index.value_or(ImageIndex()));
  KeepIndex(fresh, files);
  return fresh;
}

}  // namespace syncbn::data
