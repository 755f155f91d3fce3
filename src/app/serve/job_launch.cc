#include "app/serve/job_launch.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "config/run_file.h"
#include "coordinator/control/file_system_pool.h"
#include "coordinator/launch/attempt_folder.h"

namespace syncbn::app {
namespace {

namespace fs = std::filesystem;
using coordinator::JobName;

enum class OutputState {
  kNew,       // nothing of this job is in it; the program refuses when another run is
  kBegun,     // an attempt of this job was cut short before its first step
  kResumable  // an attempt of this job has trained
};

// Whoever creates the owner's file first has the folder. It appears with its content: one that is
// empty was emptied by somebody else.
bool TryOwn(const fs::path& file, const std::string& owner) {
  const fs::path whole = file.string() + "." + owner.substr(owner.rfind('/') + 1);
  WriteFileAtomically(whole, owner + "\n");
  const bool linked = ::link(whole.c_str(), file.c_str()) == 0;
  const int reason = errno;
  std::error_code ignored;
  fs::remove(whole, ignored);
  if (linked) {
    SyncFolder(file.parent_path());
    return true;
  }
  if (reason == EEXIST) return false;
  if (reason != EPERM && reason != EOPNOTSUPP && reason != ENOSYS) {
    errno = reason;
    ThrowErrno("create", file);
  }
  // A file system without hard links.
  const int descriptor = ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (descriptor < 0) {
    if (errno == EEXIST) return false;
    ThrowErrno("create", file);
  }
  ::close(descriptor);
  WriteFileAtomically(file, owner + "\n");
  return true;
}

OutputState TakeOutputFolder(const fs::path& out, const std::string& owner) {
  std::error_code error;
  fs::create_directories(out, error);
  if (error) {
    throw Error(ErrorCode::kInvalidArgument,
                "cannot make the output folder " + out.string() + ": " + error.message());
  }
  const fs::path file = out / coordinator::kOutputOwnerFile;
  // A run that nobody started through this coordinator is nobody's to go on with.
  if (coordinator::HoldsForeignRun(out)) return OutputState::kNew;
  if (!fs::exists(file) && TryOwn(file, owner)) return OutputState::kNew;
  std::optional<std::string> present;
  try {
    present = coordinator::OwnerOfOutput(out);
  } catch (const Error& error) {
    // As long as nobody mends it every start would fail in the same way.
    if (error.code() != ErrorCode::kDataLoss) throw;
    throw Error(ErrorCode::kInvalidArgument, error.message());
  }
  if (present != owner) {
    throw Error(ErrorCode::kInvalidArgument,
                "the output folder " + out.string() + " belongs to " +
                    coordinator::JobOfOwner(present.value_or("another job")) +
                    ": give the job another one");
  }
  // The program writes run.yaml after it has restored and before its first step.
  if (fs::exists(out / "run.yaml")) return OutputState::kResumable;
  const bool begun = fs::exists(out / "metrics.jsonl") || fs::exists(out / "checkpoints");
  return begun ? OutputState::kBegun : OutputState::kNew;
}

std::string Variable(const std::string& name, const std::string& value) {
  return name + "=" + value;
}

}  // namespace

coordinator::LaunchRequest MakeJobLaunch(const JobLaunch& launch,
                                         const coordinator::JobRecord& record,
                                         const coordinator::RunFileText& run_file,
                                         const coordinator::LaunchContext& context) {
  const v1::Job& spec = record.spec;
  const std::vector<std::string> overrides(spec.overrides().begin(), spec.overrides().end());
  try {
    coordinator::CheckInputPaths(
        coordinator::InputPathsOf(
            config::ParseRunFile(run_file.text, spec.run_file_name(), overrides).spec),
        launch.submission);
    coordinator::CheckOutputFolder(spec.output_folder(), launch.submission);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kUnavailable) throw;  // a file system that hangs may come back
    // Whatever else the reason: this job as it is cannot be started by this server as it is.
    throw Error(ErrorCode::kInvalidArgument, error.message());
  }
  const fs::path out = spec.output_folder();
  coordinator::NowAccessing("the output folder " + out.string());
  const fs::path folder = launch.data / JobName(record.id);
  fs::create_directories(folder);
  const fs::path file = folder / "run.yaml";
  WriteFileAtomically(file, run_file.text);

  coordinator::LaunchRequest request{.attempt = context.attempt,
                                     .marker = context.marker,
                                     .request = context.request,
                                     .placement = context.placement,
                                     .working_folder = folder,
                                     .ladder = launch.ladder,
                                     .max_log_bytes = launch.max_log_bytes};
  request.program = {launch.program, "train", file.string(), "--out", out.string(), "--no-live"};
  auto add = [&](std::initializer_list<std::string> words) {
    request.program.insert(request.program.end(), words);
  };
  add({"--attempt", std::to_string(context.attempt.id.attempt)});
  add({"--threads", std::to_string(context.request.threads)});
  switch (TakeOutputFolder(out, launch.store_id + "/" + JobName(record.id))) {
    case OutputState::kNew:
      break;
    case OutputState::kBegun:
      add({"--overwrite"});
      break;
    case OutputState::kResumable:
      add({"--resume"});
      break;
  }
  // The labels that a study gives its trials.
  if (spec.labels().contains("study") && spec.labels().contains("trial")) add({"--trial"});
  for (const std::string& one : overrides) add({"--set=" + one});

  for (const auto& [name, value] : spec.environment())
    request.environment.push_back(Variable(name, value));
  request.environment.push_back(Variable("SYNCBN_COORDINATOR", launch.coordinator_address));
  request.environment.push_back(Variable("SYNCBN_TOKEN", context.token));
  request.environment.push_back(Variable(
      "SYNCBN_SPOOL", coordinator::AttemptFolder(context.attempt.folder).spool().string()));
  if (launch.tls_ca)
    request.environment.push_back(Variable("SYNCBN_TLS_CA", launch.tls_ca->string()));
  if (launch.tls_certificate && launch.tls_key) {
    request.environment.push_back(Variable("SYNCBN_TLS_CERT", launch.tls_certificate->string()));
    request.environment.push_back(Variable("SYNCBN_TLS_KEY", launch.tls_key->string()));
  }
  if (spec.resources().has_time_limit()) {
    request.time_limit = coordinator::FromProto(spec.resources().time_limit());
  }
  return request;
}

}  // namespace syncbn::app
