#include "data/source.h"

#include <algorithm>
#include <set>
#include <vector>

#include "base/printable.h"
#include "base/text.h"

namespace syncbn::data {
namespace {

namespace fs = std::filesystem;

bool IsFile(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

// The folder directly below `folder` that holds one of `names`; empty if there is none. People
// often give the folder in which an archive was unpacked.
fs::path SubfolderWith(const fs::path& folder, std::span<const std::string> names) {
  std::set<fs::path> found;
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, ignored)) {
    const bool has_one = std::any_of(names.begin(), names.end(), [&](const std::string& name) {
      return IsFile(entry.path() / name);
    });
    if (has_one) found.insert(entry.path());
  }
  return found.empty() ? fs::path() : *found.begin();
}

}  // namespace

void Source::Fail(ErrorCode code, const fs::path& file, std::string_view what) const {
  std::string message = OneLine(file.string()) + ": " + std::string(what);
  if (!advice.empty()) message += "; " + advice;
  throw Error(code, std::move(message));
}

void Source::FailDamaged(const fs::path& file, std::string_view what) const {
  Fail(ErrorCode::kDataLoss, file, what);
}

void Source::CheckFolder() const {
  if (folder.empty()) {
    throw Error(ErrorCode::kInvalidArgument, "data.path is not given, and data.dataset " + name +
                                                 " needs the folder that holds its files; " +
                                                 advice);
  }
  std::error_code error;
  const fs::file_status status = fs::status(folder, error);
  if (status.type() == fs::file_type::not_found) {
    Fail(ErrorCode::kNotFound, folder, "no such folder (data.path)");
  }
  if (error) Fail(ErrorCode::kPermissionDenied, folder, "cannot be read: " + error.message());
  if (!fs::is_directory(status)) {
    Fail(ErrorCode::kInvalidArgument, folder,
         "a file; data.path is the folder that holds the files of " + name);
  }
}

fs::path Source::Find(std::span<const std::string> names) const {
  for (const std::string& name : names) {
    if (IsFile(folder / name)) return folder / name;
  }
  std::string what = "no such file";
  if (names.size() > 1) what += ", nor " + JoinAlternatives(names.subspan(1));
  const fs::path subfolder = SubfolderWith(folder, names);
  if (!subfolder.empty())
    what += "; but " + OneLine(subfolder.string()) + " has one: data.path may be meant to be that";
  Fail(ErrorCode::kNotFound, folder / names.front(), what);
}

}  // namespace syncbn::data
