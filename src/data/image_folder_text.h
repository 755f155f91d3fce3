// What is said of folders of images: what is wrong with them, or hardly meant. All names from a
// disk are made printable here: they may have line ends in them, and whatever moves a terminal's
// cursor.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/image_index.h"

namespace syncbn::data {

// A path on one line.
std::string Shown(const std::filesystem::path& path);

// "3 of 1000 files in FOLDER are damaged or no images:", and the names of the first.
std::string DamageText(const ImageIndex& index, const std::filesystem::path& folder);
// What was not taken in, or not again, on the way through links.
std::string RepeatedText(const ImageIndex& index, const std::filesystem::path& folder);

// The classes of the training split: a model has an output for each. INVALID_ARGUMENT for none, for
// one without an image and for a name that is not UTF-8.
void CheckTrainedClasses(const ImageIndex& index, const std::filesystem::path& folder);
// INVALID_ARGUMENT for one that is not among `classes`, which are trained on (ascending).
void CheckTestedClasses(const ImageIndex& index, const std::filesystem::path& folder,
                        const std::vector<std::string>& classes);

// Empty where there is nothing to warn of: a training split of one class; a test split without
// images of some of `classes`.
std::string OnlyClassText(const ImageIndex& index, const std::filesystem::path& folder);
std::string MissingClassesText(const ImageIndex& index, const std::filesystem::path& folder,
                               const std::vector<std::string>& classes);

}  // namespace syncbn::data
