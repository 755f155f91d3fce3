// How a job is taken: the number and the folder that it gets.
#include <algorithm>

#include "base/text.h"
#include "coordinator/api_error.h"
#include "coordinator/control/controller.h"
#include "coordinator/control/open_job.h"

namespace syncbn::coordinator {
namespace {

// Why the numbers from `next` to before `given` were not given.
std::string PassedOverText(int64_t next, int64_t given) {
  if (given == next) return "";
  const bool one = given == next + 1;
  return (one ? "number " + std::to_string(next) + " is"
              : "numbers " + std::to_string(next) + " to " + std::to_string(given - 1) + " are") +
         " passed over: folders of such jobs, which this store does not know, are there already";
}

// None of the numbers that were looked at is to be given any more.
struct NumbersGone {};

// Where a job writes that does not say where.
std::filesystem::path DefaultOutput(const std::filesystem::path& root, int64_t job) {
  return root / ("job-" + std::to_string(job));
}

}  // namespace

std::vector<int64_t> Controller::FreeNumbers(int64_t next) {
  // More than one, for those who submit at the same moment.
  constexpr size_t kSome = 16;
  return file_system_.Run("the output root " + options_.output_root.string(),
                          [next, data = options_.store->folder(), outputs = options_.output_root] {
                            std::vector<int64_t> numbers;
                            for (int64_t job = next; numbers.size() < kSome; ++job) {
                              if (!std::filesystem::exists(data / JobName(job)) &&
                                  !std::filesystem::exists(DefaultOutput(outputs, job))) {
                                numbers.push_back(job);
                              }
                            }
                            return numbers;
                          });
}

void Controller::LookAtOutput(const v1::Job& spec) {
  if (spec.output_folder().empty()) return;
  file_system_.Run("the output folder " + spec.output_folder(),
                   [check = options_.check_output,
                    folder = std::filesystem::path(spec.output_folder())] { check(folder); });
}

void Controller::CheckOutputAmongOpen(const v1::Job& spec) const {
  if (spec.output_folder().empty()) return;
  auto refuse = [&](int64_t id) {
    throw ApiError(ErrorCode::kAlreadyExists, "OUTPUT_FOLDER_TAKEN",
                   "output_folder " + spec.output_folder() + " belongs to " + JobName(id) +
                       ": choose another one",
                   {{"path", spec.output_folder()}});
  };
  // One that has not started has left nothing there yet.
  std::lock_guard lock(mutex_);
  for (const auto& [id, open] : open_) {
    if (open.record.spec.output_folder() == spec.output_folder()) refuse(id);
  }
  const auto taken = taken_outputs_.find(spec.output_folder());
  if (taken != taken_outputs_.end()) refuse(taken->second);
}

// From inside the write in which the job is made, where submissions come one after another, until
// it is among the open ones or was not made after all.
class Controller::TakenOutput {
 public:
  explicit TakenOutput(Controller& controller) : controller_(controller) {}
  ~TakenOutput() {
    if (folder_.empty()) return;
    std::lock_guard lock(controller_.mutex_);
    controller_.taken_outputs_.erase(folder_);
  }
  TakenOutput(const TakenOutput&) = delete;
  TakenOutput& operator=(const TakenOutput&) = delete;

  void Take(const std::string& folder, int64_t job) {
    std::lock_guard lock(controller_.mutex_);
    controller_.taken_outputs_[folder] = job;
    folder_ = folder;
  }

 private:
  Controller& controller_;
  std::string folder_;
};

void Controller::CheckQuota(const Tables& tables, const std::string& submitter,
                            int64_t bytes) const {
  if (submitter == "local") return;
  const SubmitterLimits& most = options_.submitter;
  const JobUse use = tables.jobs.UseOf(submitter);
  auto refuse = [&](const std::string& what, const char* limit, int64_t used, int64_t allowed) {
    throw ApiError(
        ErrorCode::kResourceExhausted, "QUOTA_EXCEEDED", submitter + " has " + what,
        {{"limit", limit}, {"used", std::to_string(used)}, {"most", std::to_string(allowed)}});
  };
  if (use.open >= most.open_jobs) {
    refuse(Plural(use.open, "job") + " that " + (use.open == 1 ? "has" : "have") +
               " not ended, which is the limit: wait for some to end, or cancel them",
           "jobs", use.open, most.open_jobs);
  }
  if (use.bytes + bytes > most.bytes) {
    refuse("jobs of " + Plural(use.bytes, "byte") + ", and with this one more than the limit of " +
               std::to_string(most.bytes) + ": delete jobs that have ended",
           "bytes", use.bytes, most.bytes);
  }
}

v1::Job Controller::Submit(const v1::Job& spec, const RunFileText& run_file,
                           const RequestInfo& info, const AlsoStore& also) {
  CheckFits(0, spec.resources());
  const Moment now = Now();
  if (info.validate_only) {
    LookAtOutput(spec);
    CheckOutputAmongOpen(spec);
    options_.store->Read(
        [&](Tables& tables) { CheckQuota(tables, spec.submitter(), BytesOf(spec, run_file)); });
    v1::Job job = ToProto(
        {.spec = spec, .status = NewJob(options_.job_policy, now), .create_time = now.wall}, now);
    // It has none: nothing was made.
    job.clear_name();
    job.clear_etag();
    return job;
  }
  while (true) {
    try {
      return InsertJob(spec, run_file, info, now, also);
    } catch (const NumbersGone&) {
      // Others have submitted as many jobs meanwhile: with newer numbers.
    }
  }
}

v1::Job Controller::InsertJob(const v1::Job& spec, const RunFileText& run_file,
                              const RequestInfo& info, Moment now, const AlsoStore& also) {
  // The same request made again: the folder is its own job's by now.
  if (const auto answered = options_.store->Answered(info.key)) return ParseJob(*answered);
  int64_t next = options_.store->Read([](Tables& tables) { return tables.jobs.NextId(); });
  LookAtOutput(spec);
  // What another store's job of that number has left, or one that came after the backup from which
  // this store was restored, is not this job's to go on with.
  const std::vector<int64_t> free = FreeNumbers(next);
  std::optional<Applied> created;
  std::string passed_over;
  TakenOutput taken(*this);
  const std::string answer = options_.store->Mutate(info.key, now.wall, [&](Tables& tables) {
    CheckOutputAmongOpen(spec);
    CheckQuota(tables, spec.submitter(), BytesOf(spec, run_file));
    next = tables.jobs.NextId();
    const auto id = std::lower_bound(free.begin(), free.end(), next);
    if (id == free.end()) throw NumbersGone();
    passed_over = PassedOverText(next, *id);
    v1::Job placed = spec;
    if (spec.output_folder().empty())
      placed.set_output_folder(DefaultOutput(options_.output_root, *id).string());
    tables.jobs.Create(placed, run_file, NewJob(options_.job_policy, now),
                       {info.key.actor, "CREATE", passed_over}, now.wall, *id);
    if (also) also(tables, *id);
    created = Applied{.record = tables.jobs.Get(*id)};
    taken.Take(placed.output_folder(), *id);
    return ToProto(created->record, now).SerializeAsString();
  });
  if (!created) return ParseJob(answer);
  if (!passed_over.empty()) options_.log(JobName(created->record.id) + ": " + passed_over);
  OnCommit(*created);
  return ParseJob(answer);
}

}  // namespace syncbn::coordinator
