#include "app/output_folder.h"

#include <fstream>

#include "base/error.h"
#include "base/file.h"

namespace syncbn::app {
namespace {

namespace fs = std::filesystem;

// What a run writes, and nothing else: a folder may hold files of the user's too.
constexpr const char* kOurs[] = {"run.yaml", "metrics.jsonl", "summary.json", "checkpoints", "steps", "replay"};

bool HoldsRun(const fs::path& out) {
  return fs::exists(out / "run.yaml") || fs::exists(out / "metrics.jsonl") ||
         fs::exists(out / "checkpoints");
}

}  // namespace

void PrepareOutputFolder(const fs::path& out, OutputUse use) {
  if (fs::exists(out) && !fs::is_directory(out)) {
    throw Error(ErrorCode::kInvalidArgument, "--out " + out.string() + " is a file, not a folder");
  }
  if (use == OutputUse::kResume && !fs::exists(out / "run.yaml")) {
    throw Error(ErrorCode::kNotFound, "--resume: " + out.string() + " holds no run (no run.yaml)");
  }
  if (use == OutputUse::kNew && HoldsRun(out)) {
    throw Error(ErrorCode::kAlreadyExists,
                out.string() + " holds a run already; continue it with --resume, replace it with --overwrite, "
                               "or choose another folder with --out");
  }
  std::error_code error;
  fs::create_directories(out, error);
  if (error) {
    throw Error(ErrorCode::kPermissionDenied,
                "cannot create the output folder " + out.string() + ": " + error.message());
  }
  if (use == OutputUse::kOverwrite) {
    for (const char* name : kOurs) fs::remove_all(out / name);
  }
  // Found now, not after an hour of training.
  const fs::path probe = out / ".writable";
  if (!std::ofstream(probe).put('\n').flush()) {
    throw Error(ErrorCode::kPermissionDenied, "cannot write into the output folder " + out.string());
  }
  fs::remove(probe);
}

}  // namespace syncbn::app
