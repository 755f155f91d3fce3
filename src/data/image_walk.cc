// The scan of a folder of images: which files there are, and a look at each.
#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <map>
#include <memory>
#include <unordered_map>
#include <utility>

#include "base/file.h"
#include "base/regular_file.h"
#include "data/image_index.h"
#include "data/image_scan.h"
#include "data/image_stat.h"

namespace syncbn::data {
namespace {

namespace fs = std::filesystem;

bool IsNamedAsImage(std::string_view name) {
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return false;
  std::string ending(name.substr(dot + 1));
  for (char& c : ending) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  constexpr std::array<std::string_view, 6> kEndings = {"jpg",  "jpeg", "jpe",
                                                        "jfif", "png",  "webp"};
  return std::ranges::find(kEndings, ending) != kEndings.end();
}

struct Entries {
  std::vector<std::string> folders, files;  // by their bytes
};

// Of one folder, but for hidden ones. What is behind a link that leads nowhere is taken for a file,
// which the scan then names.
Entries EntriesOf(const fs::path& folder) {
  const std::unique_ptr<DIR, decltype([](DIR* open) { ::closedir(open); })> open(
      ::opendir(folder.c_str()));
  if (open == nullptr) ThrowErrno("open the folder", folder);
  Entries entries;
  errno = 0;
  for (const dirent* entry = ::readdir(open.get()); entry != nullptr;
       errno = 0, entry = ::readdir(open.get())) {
    std::string name = entry->d_name;
    if (name.starts_with('.')) continue;
    bool is_folder = entry->d_type == DT_DIR;
    if (entry->d_type == DT_LNK || entry->d_type == DT_UNKNOWN) {
      struct stat info;
      is_folder = ::stat((folder / name).c_str(), &info) == 0 && S_ISDIR(info.st_mode);
    }
    (is_folder ? entries.folders : entries.files).push_back(std::move(name));
  }
  if (errno != 0) ThrowErrno("read the folder", folder);
  std::ranges::sort(entries.folders);
  std::ranges::sort(entries.files);
  return entries;
}

// Of folders that are not taken in again.
constexpr size_t kMostNamed = 20;

class Walk {
 public:
  Walk(const fs::path& root, ImageIndex& index) : root_(root), index_(index) {}

  void Run() {
    const Entries entries = Enter("", IdentityOf(""));
    index_.other_files += static_cast<int64_t>(entries.files.size());
    index_.classes = entries.folders;
    for (const std::string& name : entries.folders) class_folders_.emplace(IdentityOf(name), name);
    for (size_t label = 0; label < entries.folders.size(); ++label) {
      taken_in_.clear();
      const size_t begin = index_.images.size();
      Descend(entries.folders[label], static_cast<int32_t>(label), /*by_link=*/false);
      std::sort(index_.images.begin() + static_cast<int64_t>(begin), index_.images.end(),
                [&](const IndexedImage& a, const IndexedImage& b) {
                  return index_.Name(a) < index_.Name(b);
                });
    }
  }

 private:
  using Identity = std::pair<dev_t, ino_t>;

  fs::path PathOf(const std::string& path) const { return path.empty() ? root_ : root_ / path; }

  Identity IdentityOf(const std::string& path) const {
    struct stat info;
    if (::stat(PathOf(path).c_str(), &info) != 0) ThrowErrno("look at the folder", PathOf(path));
    return {info.st_dev, info.st_ino};
  }

  // The time of a folder is taken before its entries: what is added between counts as a change.
  Entries Enter(const std::string& path, const Identity& identity) {
    const fs::path folder = PathOf(path);
    struct stat info;
    if (::stat(folder.c_str(), &info) != 0) ThrowErrno("look at the folder", folder);
    above_.push_back(identity);
    index_.folders.push_back({.path = path, .modified = Nanoseconds(info.st_mtim)});
    return EntriesOf(folder);
  }

  // `by_link`: below a link in the folder of the class.
  void Descend(const std::string& path, int32_t label, bool by_link) {
    const Identity identity = IdentityOf(path);
    if (std::ranges::find(above_, identity) != above_.end()) {
      return LeaveOut(path + " leads back to a folder that it lies in");
    }
    if (const auto found = class_folders_.find(identity);
        by_link && found != class_folders_.end()) {
      return LeaveOut(path + " leads to the folder of the class " + found->second);
    }
    const auto [known, is_new] = taken_in_.emplace(identity, path);
    if (!is_new) return LeaveOut(path + " is the folder " + known->second);
    const Entries entries = Enter(path, identity);
    for (const std::string& name : entries.files) {
      if (!IsNamedAsImage(name)) {
        ++index_.other_files;
        continue;
      }
      const std::string file = path + "/" + name;
      index_.images.push_back({.name_begin = index_.names.size(),
                               .name_bytes = static_cast<uint32_t>(file.size()),
                               .label = label});
      index_.names += file;
    }
    for (const std::string& name : entries.folders) {
      const std::string below = path + "/" + name;
      std::error_code ignored;
      Descend(below, label, by_link || fs::is_symlink(root_ / below, ignored));
    }
    above_.pop_back();
  }

  void LeaveOut(const std::string& line) {
    ++index_.repeated_folders;
    if (index_.repeated.size() < kMostNamed) index_.repeated.push_back(line);
  }

  const fs::path& root_;
  ImageIndex& index_;
  std::vector<Identity> above_;
  std::map<Identity, std::string> class_folders_;
  std::map<Identity, std::string> taken_in_;  // of the class
};

// Looks at the files, of which `known` may know some.
class Looks {
 public:
  Looks(const fs::path& root, const ImageIndex& known, ImageIndex& index)
      : root_(root), index_(index), damage_(index.images.size()) {
    by_name_.reserve(known.images.size());
    for (const IndexedImage& image : known.images) {
      if (IsSettled(image, known.begun)) by_name_.emplace(known.Name(image), &image);
    }
    // What was damaged is looked at again.
    for (const IndexedDamage& damage : known.damaged) {
      by_name_.erase(known.Name(known.images[damage.image]));
    }
  }

  void Run() {
    LookInParts(index_.images.size(), [this]() -> LookAtPart {
      return [this, stat = std::make_shared<FolderStat>(root_)](size_t begin, size_t end) {
        for (size_t i = begin; i < end; ++i) Look(i, *stat);
      };
    });
    for (size_t i = 0; i < damage_.size(); ++i) {
      if (!damage_[i].empty()) index_.damaged.push_back({.image = i, .what = damage_[i]});
    }
  }

 private:
  void Look(size_t number, FolderStat& stat) {
    IndexedImage& image = index_.images[number];
    const std::string_view name = index_.Name(image);
    struct stat info;
    if (!stat.Get(name, info)) {
      const int reason = errno;
      const fs::path path = root_ / name;
      std::error_code ignored;
      const bool leads_nowhere = (reason == ENOENT || reason == ENOTDIR || reason == ELOOP) &&
                                 fs::is_symlink(path, ignored);
      errno = reason;
      if (!leads_nowhere) ThrowErrno("look at", path);
      damage_[number] = "is a link that leads nowhere";
      return;
    }
    SetSeen(image, info);
    if (!S_ISREG(info.st_mode)) {
      damage_[number] = WhyNoFile(info.st_mode);
      return;
    }
    const auto old = by_name_.find(name);
    if (old != by_name_.end() && IsAsSeen(*old->second, info)) {
      image.fingerprint = old->second->fingerprint;
      return;
    }
    ScannedFile scanned = ScanImageFile(root_ / name, image.bytes);
    image.fingerprint = scanned.fingerprint;
    damage_[number] = std::move(scanned.damage);
  }

  const fs::path& root_;
  ImageIndex& index_;
  std::unordered_map<std::string_view, const IndexedImage*> by_name_;
  std::vector<std::string> damage_;
};

}  // namespace

ImageIndex ScanImageFolder(const fs::path& folder, const ImageIndex& known) {
  ImageIndex index;
  index.begun = std::chrono::duration_cast<std::chrono::nanoseconds>(
                    std::chrono::system_clock::now().time_since_epoch())
                    .count();
  Walk(folder, index).Run();
  Looks(folder, known, index).Run();
  return index;
}

}  // namespace syncbn::data
