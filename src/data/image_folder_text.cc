#include "data/image_folder_text.h"

#include <algorithm>
#include <iterator>

#include "base/error.h"
#include "base/printable.h"
#include "base/text.h"

namespace syncbn::data {
namespace {

namespace fs = std::filesystem;

// Of the damaged files of a folder, and of the lines about them.
constexpr size_t kMostNamed = 20;

// "a, b", of the first.
std::string Listed(const std::vector<std::string>& names) {
  std::vector<std::string> shown;
  for (const std::string& name : names) {
    if (shown.size() == kMostNamed) break;
    shown.push_back(OneLine(name));
  }
  const size_t more = names.size() - shown.size();
  return Join(shown, ", ") + (more > 0 ? " and " + std::to_string(more) + " more" : "");
}

// "cat/1.jpg is damaged: ...", of the first.
std::vector<std::string> NamesOf(const ImageIndex& index, const fs::path& folder) {
  std::vector<std::string> lines;
  for (const IndexedDamage& damage : index.damaged) {
    if (lines.size() == kMostNamed) break;
    const std::string path = (folder / index.Name(index.images[damage.image])).string();
    lines.push_back(OneLine(path + " " + damage.what));
  }
  return lines;
}

// Ascending, as those of the index are.
std::vector<std::string> ClassesWithImages(const ImageIndex& index) {
  std::vector<bool> has_images(index.classes.size());
  auto damage = index.damaged.begin();
  for (size_t i = 0; i < index.images.size(); ++i) {
    if (damage != index.damaged.end() && damage->image == i) {
      ++damage;
      continue;
    }
    has_images[static_cast<size_t>(index.images[i].label)] = true;
  }
  std::vector<std::string> names;
  for (size_t label = 0; label < has_images.size(); ++label) {
    if (has_images[label]) names.push_back(index.classes[label]);
  }
  return names;
}

// Those of `names` that are not among `others`, both ascending.
std::vector<std::string> Without(const std::vector<std::string>& names,
                                 const std::vector<std::string>& others) {
  std::vector<std::string> rest;
  std::ranges::set_difference(names, others, std::back_inserter(rest));
  return rest;
}

}  // namespace

std::string Shown(const fs::path& path) {
  return OneLine(path.string());
}

std::string DamageText(const ImageIndex& index, const fs::path& folder) {
  const size_t count = index.damaged.size();
  std::string text = std::to_string(count) + " of " +
                     Plural(static_cast<int64_t>(index.images.size()), "file") + " in " +
                     Shown(folder) + (count == 1 ? " is" : " are") + " damaged or no image" +
                     (count == 1 ? "" : "s") + ":";
  const std::vector<std::string> lines = NamesOf(index, folder);
  for (const std::string& line : lines) text += "\n  " + line;
  if (lines.size() < count) text += "\n  and " + std::to_string(count - lines.size()) + " more";
  return text;
}

std::string RepeatedText(const ImageIndex& index, const fs::path& folder) {
  std::string text = Plural(index.repeated_folders, "folder") + " in " + Shown(folder) +
                     (index.repeated_folders == 1 ? " is" : " are") +
                     " not taken in a second time:";
  for (const std::string& line : index.repeated) text += "\n  " + OneLine(line);
  const auto named = static_cast<int64_t>(index.repeated.size());
  if (named < index.repeated_folders) {
    text += "\n  and " + std::to_string(index.repeated_folders - named) + " more";
  }
  return text;
}

void CheckTrainedClasses(const ImageIndex& index, const fs::path& folder) {
  if (index.classes.empty()) {
    throw Error(ErrorCode::kInvalidArgument,
                Shown(folder) + " has no folders; expected one for each class");
  }
  for (const std::string& name : index.classes) {
    if (!IsUtf8(name)) {
      throw Error(ErrorCode::kInvalidArgument,
                  Shown(folder / name) +
                      " has a name that is not UTF-8, as names of classes must be: rename it");
    }
  }
  const std::vector<std::string> empty = Without(index.classes, ClassesWithImages(index));
  if (empty.empty()) return;
  throw Error(ErrorCode::kInvalidArgument,
              Shown(folder) + " has classes without an image (JPEG, PNG or WebP): " +
                  Listed(empty) + "; remove these folders, or put images into them");
}

void CheckTestedClasses(const ImageIndex& index, const fs::path& folder,
                        const std::vector<std::string>& classes) {
  const std::vector<std::string> unknown = Without(index.classes, classes);
  if (unknown.empty()) return;
  throw Error(ErrorCode::kInvalidArgument,
              Shown(folder) + " has classes that are not trained on: " + Listed(unknown) +
                  "; give them images to train on, or remove them");
}

std::string OnlyClassText(const ImageIndex& index, const fs::path& folder) {
  if (index.classes.size() != 1) return "";
  return Shown(folder) + " has one class only, " + Listed(index.classes) +
         ": there is nothing to tell it from";
}

std::string MissingClassesText(const ImageIndex& index, const fs::path& folder,
                               const std::vector<std::string>& classes) {
  const std::vector<std::string> missing = Without(classes, ClassesWithImages(index));
  if (missing.empty()) return "";
  return Shown(folder) + " has no images of " + std::to_string(missing.size()) + " of the " +
         Plural(static_cast<int64_t>(classes.size()), "class") +
         " that are trained on: " + Listed(missing) + "; an evaluation says nothing of " +
         (missing.size() == 1 ? "it" : "them");
}

}  // namespace syncbn::data
