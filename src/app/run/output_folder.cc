#include "app/run/output_folder.h"

#include <sys/stat.h>

#include <cerrno>
#include <iterator>
#include <vector>

#include "app/run/event_file.h"
#include "base/error.h"
#include "base/file.h"
#include "base/storage_error.h"

namespace syncbn::app {
namespace {

namespace fs = std::filesystem;

// What a run writes beside its checkpoints, and nothing else: a folder may hold files of the user's too.
constexpr const char* kOurs[] = {"run.yaml", "metrics.jsonl", "summary.json", "input.json",
                                 "profile",  "steps",         "replay"};

bool HoldsRun(const fs::path& out) {
  return fs::exists(out / "run.yaml") || fs::exists(out / "metrics.jsonl") ||
         fs::exists(out / "checkpoints");
}

[[noreturn]] void RefuseTaken(const fs::path& out) {
  throw Error(ErrorCode::kAlreadyExists,
              out.string() +
                  " holds a run already; continue it with --resume, replace it with --overwrite, "
                  "or choose another folder with --out");
}

}  // namespace

void PrepareOutputFolder(const fs::path& out, OutputUse use) {
  if (fs::exists(out) && !fs::is_directory(out)) MakeOutputFolder(out, "--out");
  if (use == OutputUse::kResume && !fs::exists(out / "run.yaml")) {
    throw Error(ErrorCode::kNotFound, "--resume: " + out.string() + " holds no run (no run.yaml)");
  }
  if (use == OutputUse::kNew && HoldsRun(out)) RefuseTaken(out);
  MakeOutputFolder(out, "--out");
  // Found now, not after an hour of training.
  const fs::path probe = out / ".writable";
  try {
    WriteFileAtomically(probe, "\n");
  } catch (const StorageError& error) {
    throw StorageError("the output folder cannot be written: " + error.message());
  } catch (const Error& error) {
    throw Error(error.code(), "the output folder cannot be written: " + error.message());
  }
  fs::remove(probe);
  if (use != OutputUse::kNew) return;
  // Whoever makes it has the folder: of two runs that start in it at the same moment one does.
  if (::mkdir((out / "checkpoints").c_str(), 0777) == 0) return;
  if (errno == EEXIST) RefuseTaken(out);
  ThrowErrno("create", out / "checkpoints");
}

void RemoveFormerRun(const fs::path& out, train::CheckpointStore& store) {
  store.RemoveAll();
  std::vector<std::string> ours(std::begin(kOurs), std::end(kOurs));
  std::error_code unreadable;
  for (const fs::directory_entry& entry : fs::directory_iterator(out, unreadable)) {
    if (const std::string name = entry.path().filename().string(); IsEventFile(name))
      ours.push_back(name);
  }
  for (const std::string& name : ours) {
    std::error_code error;
    fs::remove_all(out / name, error);
    if (error) {
      throw Error(ErrorCode::kPermissionDenied, "--overwrite: cannot remove " + (out / name).string() +
                                                    ": " + error.message());
    }
  }
}

void MakeOutputFolder(const fs::path& folder, const std::string& option) {
  std::error_code error;
  if (fs::exists(folder, error) && !fs::is_directory(folder)) {
    throw Error(ErrorCode::kInvalidArgument, option + " " + folder.string() + " is a file, not a folder");
  }
  fs::create_directories(folder, error);
  if (!error) return;
  const bool dangling = fs::is_symlink(folder);
  throw Error(dangling ? ErrorCode::kInvalidArgument : ErrorCode::kPermissionDenied,
              "cannot create the folder " + folder.string() + " (" + option + "): " +
                  (dangling ? "it is a link to something that does not exist" : error.message()) +
                  "; choose another one with " + option);
}

}  // namespace syncbn::app
