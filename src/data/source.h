// Where the files of a data set lie, and the words with which its readers refuse them.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "data/dataset.h"

namespace syncbn::data {

// Both splits as read, before limits are applied.
struct SplitContents {
  Dataset::Content train;
  Dataset::Content test;
};

struct Source {
  std::string name;              // as in the run file: "mnist"
  std::filesystem::path folder;  // data.path
  std::string advice;            // what to do about a missing or damaged file

  // Throws "FILE: WHAT; ADVICE".
  [[noreturn]] void Fail(ErrorCode code, const std::filesystem::path& file,
                         std::string_view what) const;
  // The same with DATA_LOSS.
  [[noreturn]] void FailDamaged(const std::filesystem::path& file, std::string_view what) const;

  // Throws unless the folder is given, exists and is a folder.
  void CheckFolder() const;

  // The first of `names` that exists in the folder. Throws NOT_FOUND with all names, and with the
  // subfolder that has one of them if there is such.
  std::filesystem::path Find(std::span<const std::string> names) const;
};

}  // namespace syncbn::data
