// What lies in a folder of images that has a folder for each class, found once and kept in a file.
//
// A start over a million files opens none of them: while no folder has changed (a file was added,
// removed or renamed), and each file has the size and the times that it had (image_stat.h), what
// the index says holds. The others are looked at again.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "data/say.h"

namespace syncbn::data {

struct IndexedImage {
  uint64_t name_begin = 0;  // in ImageIndex::names
  uint32_t name_bytes = 0;
  int32_t label = 0;  // in ImageIndex::classes
  int64_t bytes = 0;
  int64_t modified = 0;      // nanoseconds since 1970: its content
  int64_t changed = 0;       // and anything about it (st_ctim)
  uint64_t fingerprint = 0;  // see ScannedFile

  bool operator==(const IndexedImage&) const = default;
};

struct IndexedFolder {
  std::string path;  // in the folder; "" is itself
  int64_t modified = 0;

  bool operator==(const IndexedFolder&) const = default;
};

struct IndexedDamage {
  uint64_t image = 0;  // its number in ImageIndex::images
  std::string what;

  bool operator==(const IndexedDamage&) const = default;
};

struct ImageIndex {
  // Names of the folders, by their bytes.
  std::vector<std::string> classes;
  std::vector<IndexedFolder> folders;
  // By class, then by path.
  std::vector<IndexedImage> images;
  std::string names;                   // paths in the folder, one after another: "cat/1.jpg"
  std::vector<IndexedDamage> damaged;  // in the order of `images`
  int64_t other_files = 0;             // that are not named as images are
  // Folders that are not taken in, or not again: how many, and of the first 20 "cat/loop leads back
  // to a folder that it lies in".
  int64_t repeated_folders = 0;
  std::vector<std::string> repeated;
  int64_t begun = 0;  // when the scan began: nanoseconds since 1970

  std::string_view Name(const IndexedImage& image) const {
    return std::string_view(names).substr(image.name_begin, image.name_bytes);
  }
  bool operator==(const ImageIndex&) const = default;
};

// Files named *.jpg, *.jpeg, *.jpe, *.jfif, *.png and *.webp, in any case, at any depth below the
// folder of a class; hidden ones (.*) are not. Symbolic links are followed: a file counts as often
// as it is named. A folder is taken in once in a class, and that of another class not by a link in
// a class's folder, so that there is an end, and that of the same order as the files.
//
// What `known` says of files that have not changed is taken over, the others are scanned (by
// several threads). Throws as base/file.h does where a folder or a file cannot be read.
ImageIndex ScanImageFolder(const std::filesystem::path& folder, const ImageIndex& known = {});

struct IndexOptions {
  Say say = {};
  // A process that scans shows so often that it lives, and is waited for so long without that.
  std::chrono::milliseconds beat{5000}, patience{120000};
  // Who waits for one says so that often.
  std::chrono::milliseconds remind{60000};
};

// The same through the index file: FOLDER/../.NAME.syncbn-index, or, where that cannot be written,
// one in the user's cache ($XDG_CACHE_HOME/syncbn, ~/.cache/syncbn); written whole or not at all.
// One that is damaged, or that names what cannot lie in the folder, is made anew. Where several
// processes ask at once, one looks at the files, scans those that have changed, and the others take
// what it found (index_lock.h).
ImageIndex IndexOf(const std::filesystem::path& folder, const IndexOptions& options = {});

// -- Parts of IndexOf -----------------------------------------------------------------------------

std::string ToBytes(const ImageIndex& index);
// The inverse. Throws DATA_LOSS, also where a path is not below the folder of its class.
ImageIndex FromBytes(std::string_view bytes);
// Whether no folder has changed since, nor a file: also none within the same tick of its file
// system's clock. Looks at all of them, in several threads.
bool IsCurrent(const ImageIndex& index, const std::filesystem::path& folder);
// Where it may lie, the best place first.
std::vector<std::filesystem::path> IndexFiles(const std::filesystem::path& folder);

}  // namespace syncbn::data
