// Where the values of a message came from.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "config/source.h"

namespace syncbn::config {

struct Origin {
  enum class Kind { kDefault, kFile, kSet };  // a later kind wins over an earlier one

  Kind kind = Kind::kDefault;
  // Where the key and its value stand; without a source for a default.
  Location key;
  Location value;
  // A repeated field that was given as a single value.
  bool single = false;
  // Path of the field that this value was taken over from, when it was not given here.
  std::string inherited_from;
};

// Origins of all keys that were given or taken over, by path: "train.optimizer.momentum",
// "model.layers.3.conv". A key without an entry has its default. Not thread-safe.
class Origins {
 public:
  // Where the text begins: the place of what is given nowhere.
  void SetRoot(Location root) { root_ = std::move(root); }

  void Record(const std::string& path, Origin origin) { origins_[path] = std::move(origin); }
  const Origin* Find(std::string_view path) const;
  // Forgets the path and everything below it.
  void Erase(std::string_view path);

  // Who gave the value at `path` or anything below it; nothing when it is a default or taken over.
  std::optional<Origin::Kind> GivenBy(std::string_view path) const;
  bool Given(std::string_view path) const { return GivenBy(path).has_value(); }

  // A value that could not be read. Rules that need it are then silent.
  void MarkFailed(std::string path) { failed_.insert(std::move(path)); }
  // Whether the value at `path`, or anything above or below it, could not be read.
  bool Failed(std::string_view path) const;

  // The value at `path`, or where it would stand: the nearest key above it that was given.
  Location ValueLocation(std::string_view path) const;
  Location KeyLocation(std::string_view path) const;
  // "default", "run.yaml:12", "--set train.epochs=3", "model.norm.kind, run.yaml:7"
  std::string Describe(std::string_view path) const;

 private:
  const Origin* Nearest(std::string_view path) const;

  Location root_;
  std::map<std::string, Origin, std::less<>> origins_;
  std::set<std::string, std::less<>> failed_;
};

}  // namespace syncbn::config
