#include "coordinator/service/submission.h"

#include <algorithm>
#include <cctype>
#include <limits>
#include <map>

#include "base/file.h"
#include "base/text.h"
#include "base/utf8.h"
#include "config/run_file.h"
#include "coordinator/api_error.h"
#include "coordinator/control/file_system_pool.h"
#include "coordinator/schedule/placement.h"
#include "coordinator/service/status.h"

namespace syncbn::coordinator {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostText = 4096;
constexpr int kMostEntries = 256;
// Of a whole list. Overrides become arguments of the workers, and mpirun hands all arguments on in one
// variable, for which Linux has room for 128 KiB; names of hosts become one argument of sbatch, with the
// same limit; variables share what a process may be started with.
constexpr size_t kMostTogether = 64 * 1024;
// Linux takes paths of 4,095 bytes and names of 255. What a run writes has longer paths than its folder.
constexpr size_t kMostPath = 3 * 1024, kMostPathName = 255;
constexpr int kMostHosts = 1024;

[[noreturn]] void ThrowResources(const std::string& message) {
  throw ApiError(ErrorCode::kInvalidArgument, "RESOURCES_INVALID", message);
}

void CheckRange(const std::string& field, int64_t value, int64_t least, int64_t most) {
  if (value >= least && value <= most) return;
  ThrowResources(field + " is " + std::to_string(value) + "; it must be from " +
                 std::to_string(least) + " to " + std::to_string(most));
}

// Of one byte, or of the second set (U+0080 to U+009F), which terminals follow just so.
bool HasControlCharacter(const std::string& text) {
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (std::iscntrl(c)) return true;
    const bool second = c == 0xc2 && i + 1 < text.size();
    if (second && static_cast<unsigned char>(text[i + 1]) < 0xa0) return true;
  }
  return false;
}

void CheckCount(const std::string& field, int count, int most) {
  if (count > most) {
    ThrowFieldInvalid(field, field + " has " + std::to_string(count) + " entries; at most " +
                                 std::to_string(most) + " are allowed");
  }
}

std::string TooMuchTogether(const std::string& field, size_t bytes) {
  return field + " has " + std::to_string(bytes) + " bytes in all; at most " +
         std::to_string(kMostTogether) + " are allowed, as workers are started with them";
}

void CheckTogether(const std::string& field, size_t bytes) {
  if (bytes > kMostTogether) ThrowFieldInvalid(field, TooMuchTogether(field, bytes));
}

void CheckPath(const std::string& field, const fs::path& path) {
  CheckText(field, path.string(), kMostPath);
  for (const fs::path& name : path) {
    if (name.native().size() <= kMostPathName) continue;
    ThrowFieldInvalid(field, field + " has a name of " + std::to_string(name.native().size()) +
                                 " bytes in it; at most " + std::to_string(kMostPathName) +
                                 " are allowed");
  }
}

void CheckLabel(const std::string& text) {
  const bool plain = std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '.' || c == '_' || c == '-';
  });
  if (text.empty() || text.size() > kMostLabelBytes || !plain) {
    ThrowFieldInvalid("labels", "label '" + text.substr(0, 80) +
                                    "': keys and values have 1 to 63 letters, digits, '.', '_' or "
                                    "'-'");
  }
}

void CheckLabels(const v1::Job& job) {
  CheckCount("labels", job.labels_size(), kMostLabels);
  for (const auto& [key, value] : job.labels()) {
    CheckLabel(key);
    CheckLabel(value);
  }
}

// "'A'", "'A', 'B'", of many the first ones.
std::string ListOf(const std::vector<std::string>& names) {
  constexpr size_t kShown = 4;
  std::vector<std::string> shown;
  for (const std::string& name : names) {
    if (shown.size() < kShown) shown.push_back("'" + Utf8Beginning(name, 60) + "'");
  }
  const std::string more =
      names.size() > kShown ? " and " + std::to_string(names.size() - kShown) + " more" : "";
  return Join(shown, ", ") + more;
}

// All that is wrong with the variables is said at once.
void CheckEnvironment(const v1::Job& job, const SubmissionPolicy& policy) {
  const std::vector<std::string>& allowed = policy.allowed_variables;
  const std::map<std::string, std::string> variables(job.environment().begin(),
                                                     job.environment().end());
  std::vector<std::string> unknown, long_ones, unprintable, faults;
  size_t bytes = 0;
  for (const auto& [name, value] : variables) {
    if (std::find(allowed.begin(), allowed.end(), name) == allowed.end()) unknown.push_back(name);
    if (value.size() > kMostText) long_ones.push_back(name);
    if (HasControlCharacter(value)) unprintable.push_back(name);
    bytes += name.size() + value.size() + 2;
  }
  const auto words = [](const std::vector<std::string>& names, const char* one, const char* many) {
    return (names.size() == 1 ? "variable " : "variables ") + ListOf(names) + " " +
           (names.size() == 1 ? one : many);
  };
  if (!unknown.empty()) {
    faults.push_back(
        words(unknown, "is not one that jobs may set", "are not ones that jobs may set"));
  }
  if (!long_ones.empty()) {
    const std::string most = "more than the " + std::to_string(kMostText) + " bytes allowed";
    faults.push_back(
        words(long_ones, ("has " + most).c_str(), ("have " + most + " of each").c_str()));
  }
  if (!unprintable.empty()) {
    faults.push_back(words(unprintable, "holds a control character", "hold control characters"));
  }
  if (bytes > kMostTogether) faults.push_back(TooMuchTogether("environment", bytes));
  if (faults.empty()) return;
  if (unknown.empty()) ThrowFieldInvalid("environment", Join(faults, "; "));
  faults.push_back(allowed.empty() ? "this server allows none"
                                   : "allowed are: " + Join(allowed, ", "));
  throw ApiError(ErrorCode::kPermissionDenied, "NOT_ALLOWED_VARIABLE", Join(faults, "; "),
                 {{"variable", unknown.front().substr(0, 80)}});
}

// Whether `path` is `root` or lies below it; both canonical.
bool IsWithin(const fs::path& path, const fs::path& root) {
  const auto [in_root, in_path] = std::mismatch(root.begin(), root.end(), path.begin(), path.end());
  return in_root == root.end();
}

// With links and dots resolved, as far as the path exists.
fs::path Resolve(const fs::path& path, const std::string& what) {
  NowAccessing(what + " " + path.string());
  std::error_code error;
  const fs::path resolved = fs::weakly_canonical(path, error);
  if (!error) return resolved.has_filename() ? resolved : resolved.parent_path();
  throw ApiError(ErrorCode::kPermissionDenied, "NOT_ALLOWED_PATH",
                 what + " '" + path.string() + "' cannot be resolved: " + error.message());
}

std::string FileName(const v1::Job& job) {
  return job.run_file_name().empty() ? "run file" : job.run_file_name();
}

config::RunFile CheckRunFileOf(const v1::Job& job, const SubmissionPolicy& policy) {
  if (job.run_file().empty()) ThrowFieldInvalid("run_file", "run_file is empty");
  CheckFileSize("the run file", job.run_file(), policy);
  CheckText("run_file_name", job.run_file_name(), 255);
  const std::vector<std::string> overrides(job.overrides().begin(), job.overrides().end());
  CheckOverrides(overrides);
  config::CheckedRunFile checked = config::CheckRunFile(job.run_file(), FileName(job), overrides);
  if (!checked.diagnostics.empty()) throw RunFileError(checked.diagnostics, FileName(job));
  return std::move(checked.file);
}

}  // namespace

void CheckText(const std::string& field, const std::string& text, size_t most) {
  if (text.size() > most) {
    ThrowFieldInvalid(field, field + " has " + std::to_string(text.size()) + " bytes; at most " +
                                 std::to_string(most) + " are allowed");
  }
  if (HasControlCharacter(text)) ThrowFieldInvalid(field, field + " holds a control character");
}

void CheckFileSize(const std::string& what, const std::string& text,
                   const SubmissionPolicy& policy) {
  if (text.size() <= policy.max_run_file_bytes) return;
  throw ApiError(ErrorCode::kInvalidArgument, "TOO_LARGE",
                 what + " has " + std::to_string(text.size()) + " bytes; at most " +
                     std::to_string(policy.max_run_file_bytes) + " are allowed",
                 {{"bytes", std::to_string(text.size())},
                  {"limit", std::to_string(policy.max_run_file_bytes)}});
}

void CheckOverrides(const std::vector<std::string>& overrides) {
  CheckCount("overrides", static_cast<int>(overrides.size()), kMostEntries);
  size_t bytes = 0;
  for (const std::string& one : overrides) {
    CheckText("overrides", one, kMostText);
    bytes += one.size() + 1;
  }
  CheckTogether("overrides", bytes);
}

v1::Resources CheckResources(v1::Resources resources, int replicas) {
  if (resources.processes() == 0) resources.set_processes(1);
  if (resources.threads_per_process() == 0) resources.set_threads_per_process(1);
  if (resources.processes() < 0) {
    ThrowResources("processes is " + std::to_string(resources.processes()) +
                   "; it must be at least 1");
  }
  if (resources.processes() > replicas) {
    ThrowResources("the job asks for " + ProcessesText(resources.processes()) +
                   ", but its run file has " + Plural(replicas, "replica") +
                   ": a process hosts at least one replica");
  }
  CheckRange("threads_per_process", resources.threads_per_process(), 1, kMostThreads);
  CheckRange("memory_mib_per_process", resources.memory_mib_per_process(), 0, kMostMemoryMib);
  CheckRange("max_processes_per_host", resources.max_processes_per_host(), 0,
             std::numeric_limits<int>::max());
  CheckRange("priority", resources.priority(), -kMostPriority, kMostPriority);
  if (resources.has_time_limit()) {
    const std::chrono::microseconds limit = FromProto(resources.time_limit());
    if (limit < std::chrono::seconds(1) || limit > kLongestTimeLimit) {
      ThrowResources("time_limit is " + std::to_string(resources.time_limit().seconds()) +
                     " s; it must be from 1 s to " + std::to_string(kLongestTimeLimit.count()) +
                     " s, ten years");
    }
  }
  CheckRange("max_retries", resources.max_retries(), 0, kMostRetries);
  const std::pair<const char*, const google::protobuf::RepeatedPtrField<std::string>*> lists[] = {
      {"resources.host_tags", &resources.host_tags()},
      {"resources.hosts", &resources.hosts()},
      {"resources.excluded_hosts", &resources.excluded_hosts()}};
  for (const auto& [field, names] : lists) {
    CheckCount(field, names->size(), kMostHosts);
    size_t bytes = 0;
    for (const std::string& name : *names) {
      CheckText(field, name, 255);
      bytes += name.size() + 1;
    }
    CheckTogether(field, bytes);
  }
  return resources;
}

fs::path CheckOutputFolder(const std::string& folder, const SubmissionPolicy& policy) {
  CheckText("output_folder", folder, kMostText);
  CheckPath("output_folder", folder);
  const fs::path root = Resolve(policy.output_root, "the output root");
  // An absolute one replaces the root here.
  const fs::path path = Resolve(root / folder, "output_folder");
  CheckPath("output_folder", path);
  if (IsWithin(path, root) && path != root) {
    for (fs::path above = path.parent_path(); above != root; above = above.parent_path()) {
      if (!fs::exists(above / kOutputOwnerFile)) continue;
      throw ApiError(ErrorCode::kPermissionDenied, "NOT_ALLOWED_PATH",
                     "output_folder '" + folder + "' is inside the output folder of another job, " +
                         above.string(),
                     {{"path", folder}});
    }
    return path;
  }
  throw ApiError(ErrorCode::kPermissionDenied, "NOT_ALLOWED_PATH",
                 "output_folder '" + folder + "' is not below the output root of this server, " +
                     root.string(),
                 {{"path", folder}});
}

std::optional<std::string> OwnerOfOutput(const fs::path& folder) {
  const fs::path file = folder / kOutputOwnerFile;
  if (!fs::exists(file)) return std::nullopt;
  std::string owner = ReadFile(file);
  while (!owner.empty() && owner.back() == '\n') owner.pop_back();
  constexpr std::string_view kJobs = "/jobs/";
  const size_t jobs = owner.find(kJobs);
  const bool whole =
      jobs != std::string::npos && jobs > 0 && owner.size() > jobs + kJobs.size() &&
      owner.find_first_not_of("0123456789", jobs + kJobs.size()) == std::string::npos;
  if (whole) return owner;
  throw Error(
      ErrorCode::kDataLoss,
      "the file " + file.string() + ", which says whose the folder is, is " +
          (owner.empty() ? "empty" : "damaged") +
          ": write the store's id and the job into it again, as in STORE/jobs/17 (the id is in "
          "the file jobs/store-id of the coordinator's data folder), or remove the folder if no "
          "job needs it any more");
}

std::string JobOfOwner(const std::string& owner) { return owner.substr(owner.find('/') + 1); }

bool HoldsForeignRun(const fs::path& folder) {
  return !fs::exists(folder / kOutputOwnerFile) &&
         (fs::exists(folder / "run.yaml") || fs::exists(folder / "checkpoints"));
}

void CheckOutputIsFree(const fs::path& folder) {
  auto refuse = [&](const std::string& why) {
    throw ApiError(ErrorCode::kAlreadyExists, "OUTPUT_FOLDER_TAKEN",
                   "output_folder " + folder.string() + " " + why + ": choose another one",
                   {{"path", folder.string()}});
  };
  if (HoldsForeignRun(folder)) refuse("holds a run that no job of this server has written");
  std::optional<std::string> owner;
  try {
    owner = OwnerOfOutput(folder);
  } catch (const Error& error) {
    refuse("is a job's (" + error.message() + ")");
  }
  if (owner) refuse("belongs to " + JobOfOwner(*owner));
}

namespace {

void CheckInputPath(const std::string& key, const std::string& text,
                    const SubmissionPolicy& policy) {
  if (text.empty()) return;
  CheckText(key, text, kMostText);
  CheckPath(key, text);
  std::vector<std::string> roots;
  for (const fs::path& root : policy.data_roots) roots.push_back(root.string());
  const std::string where =
      roots.empty() ? "this server has none (its option --data-root)" : Join(roots, ", ");
  auto refuse = [&](const std::string& why) {
    throw ApiError(ErrorCode::kPermissionDenied, "NOT_ALLOWED_PATH",
                   key + " '" + text + "' " + why + "; data folders of this server: " + where,
                   {{"path", text}});
  };
  if (!fs::path(text).is_absolute()) refuse("must be an absolute path");
  // The likely root first: another one may be of a file system that hangs.
  std::vector<fs::path> ordered = policy.data_roots;
  std::ranges::stable_partition(ordered,
                                [&](const fs::path& root) { return IsWithin(text, root); });
  const fs::path path = Resolve(text, key);
  for (const fs::path& root : ordered) {
    if (IsWithin(path, Resolve(root, "the data folder"))) return;
  }
  refuse("is outside the data folders");
}

}  // namespace

InputPaths InputPathsOf(const v1::RunSpec& spec) {
  return {.data = spec.data().path(), .weights = spec.model().init().from()};
}

void CheckInputPaths(const InputPaths& paths, const SubmissionPolicy& policy) {
  CheckInputPath("data.path", paths.data, policy);
  CheckInputPath("model.init.from", paths.weights, policy);
}

Submission CheckSubmission(const v1::Job& job, const std::string& submitter,
                           const SubmissionPolicy& policy) {
  Submission submission;
  v1::Job& spec = submission.spec;
  const config::RunFile file = CheckRunFileOf(job, policy);
  submission.run_file = {.text = job.run_file(), .effective = file.EffectiveYaml()};
  CheckLabels(job);
  CheckEnvironment(job, policy);
  submission.inputs = InputPathsOf(file.spec);
  *spec.mutable_resources() = CheckResources(job.resources(), file.spec.cluster().replicas());
  spec.set_display_name(file.spec.name());
  if (file.origins.Given("cluster.stall_timeout")) {
    *spec.mutable_stall_timeout() = ToProto(
        std::chrono::microseconds(static_cast<int64_t>(file.spec.cluster().stall_timeout() * 1e6)));
  }
  spec.set_run_file_name(FileName(job));
  *spec.mutable_overrides() = job.overrides();
  *spec.mutable_labels() = job.labels();
  *spec.mutable_environment() = job.environment();
  spec.set_output_folder(job.output_folder());
  spec.set_submitter(submitter);
  return submission;
}

void CheckFolders(Submission& submission, const SubmissionPolicy& policy) {
  CheckInputPaths(submission.inputs, policy);
  const std::string folder = submission.spec.output_folder();
  if (folder.empty()) return;
  const fs::path path = CheckOutputFolder(folder, policy);
  const std::string first =
      path.lexically_relative(Resolve(policy.output_root, "the output root")).begin()->string();
  const auto is_numbered = [&](std::string_view kind) {
    return first.starts_with(kind) && first.size() > kind.size() && first[kind.size()] >= '0' &&
           first[kind.size()] <= '9';
  };
  const auto refuse = [&](const std::string& whose) {
    throw ApiError(
        ErrorCode::kPermissionDenied, "NOT_ALLOWED_PATH",
        "output_folder '" + folder + "': folders named " + whose + "; choose another name",
        {{"path", folder}});
  };
  if (is_numbered("job-")) refuse("job-N are those of jobs that ask for none");
  if (is_numbered("study-")) refuse("study-N are those of the trials of studies");
  submission.spec.set_output_folder(path.string());
}

}  // namespace syncbn::coordinator
