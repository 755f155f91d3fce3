// What a job must satisfy before it is taken: all that a submitter can say is looked at here, once,
// and nothing of it becomes a command, a path outside the configured roots, or a variable outside
// the list. Pure but for looks at the file system, which are said to be such: they may hang
// (control/file_system_pool.h), and name what they are at.
#pragma once

#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/job/job_record.h"
#include "coordinator/store/job_table.h"
#include "syncbn/v1/job.pb.h"
#include "syncbn/v1/run.pb.h"

namespace syncbn::coordinator {

// What a job may ask for at most. `syncbn submit` says it before it asks.
inline constexpr int kMostThreads = 4096, kMostPriority = 1000, kMostRetries = 1000;
// Labels of a job, and bytes of the key or the value of one.
inline constexpr int kMostLabels = 32, kMostLabelBytes = 63;
inline constexpr int64_t kMostMemoryMib = int64_t{1} << 30;
inline constexpr std::chrono::seconds kLongestTimeLimit = std::chrono::days(3650);

struct SubmissionPolicy {
  // Where jobs write. Absolute.
  std::filesystem::path output_root;
  // Where run files may read their data. Absolute.
  std::vector<std::filesystem::path> data_roots;
  // Names of variables that a job may set for its workers.
  std::vector<std::string> allowed_variables;
  size_t max_run_file_bytes = 256 * 1024;
  // Jobs run on this machine alone: data that are not here are nowhere.
  bool runs_here = false;
};

// What a run reads: data.path and model.init.from; empty where it has none.
struct InputPaths {
  std::string data, weights;

  bool empty() const { return data.empty() && weights.empty(); }
  auto operator<=>(const InputPaths&) const = default;
};

InputPaths InputPathsOf(const v1::RunSpec& spec);

struct Submission {
  // For Controller::Submit: the input fields with their defaults.
  v1::Job spec;
  RunFileText run_file;
  InputPaths inputs;
};

// Throws an ApiError or a RunFileError for the first thing that is wrong; of a run file, all. Looks
// at no folder: spec.output_folder is as it was asked for.
Submission CheckSubmission(const v1::Job& job, const std::string& submitter,
                           const SubmissionPolicy& policy);

// The rest: looks at the folders that it names, and makes the output folder's path absolute.
void CheckFolders(Submission& submission, const SubmissionPolicy& policy);

// The same resources with their defaults. RESOURCES_INVALID where they contradict themselves or a
// run file of so many replicas.
v1::Resources CheckResources(v1::Resources resources, int replicas);

// In the output folder of a job: which job it belongs to.
inline constexpr const char* kOutputOwnerFile = ".syncbn-job";

// A look. An absolute path below the output root, links resolved; `folder` may be relative to the
// root. NOT_ALLOWED_PATH for any other, and for one inside another job's folder.
std::filesystem::path CheckOutputFolder(const std::string& folder, const SubmissionPolicy& policy);

// A look: what the file above says: "STORE/jobs/17"; nothing where there is none. DATA_LOSS, with
// what to do, for one that says something else, or nothing: the folder is somebody's all the same.
// Throws what ReadFile throws.
std::optional<std::string> OwnerOfOutput(const std::filesystem::path& folder);
// "jobs/17" of it.
std::string JobOfOwner(const std::string& owner);
// A look: the folder holds a run that no job has written.
bool HoldsForeignRun(const std::filesystem::path& folder);
// A look: OUTPUT_FOLDER_TAKEN when the folder is another job's, or holds a run that no job has
// written.
void CheckOutputIsFree(const std::filesystem::path& folder);

// A look: NOT_ALLOWED_PATH when one of them is outside the data roots.
void CheckInputPaths(const InputPaths& paths, const SubmissionPolicy& policy);

// TOO_LARGE for the text of a file of users that has more than a run file may have.
void CheckFileSize(const std::string& what, const std::string& text,
                   const SubmissionPolicy& policy);

// FIELD_INVALID for more of them, or longer ones, than are allowed.
void CheckOverrides(const std::vector<std::string>& overrides);

// Texts of requests: at most so many bytes, no control characters. FIELD_INVALID.
void CheckText(const std::string& field, const std::string& text, size_t most);

}  // namespace syncbn::coordinator
