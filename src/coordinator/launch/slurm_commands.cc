#include "coordinator/launch/slurm_commands.h"

#include <charconv>

#include "base/error.h"
#include "base/text.h"
#include "coordinator/launch/mpirun_command.h"
#include "coordinator/launch/process.h"

namespace syncbn::coordinator {
namespace {

void Append(std::vector<std::string>& command, std::initializer_list<std::string> words) {
  command.insert(command.end(), words);
}

// One word for /bin/sh, whatever is in it.
std::string Quote(const std::string& word) {
  std::string quoted = "'";
  for (char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

// Slurm replaces %j and the like in the names of output files.
std::string EscapePattern(const std::string& path) {
  std::string escaped;
  for (char c : path) escaped += c == '%' ? std::string("%%") : std::string(1, c);
  return escaped;
}

// Between the supervisor's SIGTERM and the end of the allocation.
constexpr std::chrono::seconds kWarning(60);

constexpr const char* kFormat = "--format=%i|%T|%r|%N";

}  // namespace

std::string SlurmJobName(const std::string& marker) {
  // "{store}/jobs/17/attempts/2"
  const size_t name = marker.find('/');
  const AttemptId id = ParseAttemptName(std::string_view(marker).substr(name + 1));
  return "syncbn-" + marker.substr(0, std::min<size_t>(8, name)) + "-" + std::to_string(id.job) +
         "." + std::to_string(id.attempt);
}

std::string SlurmScript(const SlurmSettings& settings, const std::filesystem::path& folder) {
  std::string script = "#!/bin/sh\nexec";
  for (const std::string& word : settings.supervise) script += " " + Quote(word);
  return script + " --foreground --folder " + Quote(folder.string()) + "\n";
}

std::vector<std::string> SbatchCommand(const SlurmSettings& settings, const LaunchRequest& request,
                                       const std::filesystem::path& script) {
  const SlotRequest& slots = request.request;
  std::vector<std::string> command = {settings.sbatch, "--parsable", "--no-requeue",
                                      "--export=NONE"};
  Append(command, {"--job-name=" + SlurmJobName(request.marker)});
  Append(command, {"--ntasks=" + std::to_string(slots.processes),
                   "--cpus-per-task=" + std::to_string(slots.threads)});
  if (slots.memory_mib > 0) {
    // Per core, rounded up: Slurm has no memory per task.
    const int64_t per_core = (slots.memory_mib + slots.threads - 1) / slots.threads;
    Append(command, {"--mem-per-cpu=" + std::to_string(per_core) + "M"});
  }
  if (slots.max_per_host > 0)
    Append(command, {"--ntasks-per-node=" + std::to_string(slots.max_per_host)});
  if (!slots.hosts.empty()) Append(command, {"--nodelist=" + Join(slots.hosts, ",")});
  if (!slots.excluded_hosts.empty())
    Append(command, {"--exclude=" + Join(slots.excluded_hosts, ",")});
  if (!slots.tags.empty()) Append(command, {"--constraint=" + Join(slots.tags, "&")});
  if (request.time_limit) {
    // Slurm may give its warning up to a minute early.
    const auto time = *request.time_limit + LongestEnd(request) + 2 * kWarning;
    const auto minutes = std::chrono::ceil<std::chrono::minutes>(time).count();
    Append(command, {"--time=" + std::to_string(minutes)});
  }
  // The supervisor hears of the end before it comes, and the ranks can write a checkpoint.
  Append(command, {"--signal=B:TERM@" + std::to_string(kWarning.count())});
  if (!settings.partition.empty()) Append(command, {"--partition=" + settings.partition});
  Append(command, {"--output=" + EscapePattern((request.attempt.folder / "slurm.log").string())});
  command.insert(command.end(), settings.extra.begin(), settings.extra.end());
  Append(command, {script.string()});
  return command;
}

std::vector<std::string> SrunCommand(const SlurmSettings& settings, const LaunchRequest& request) {
  if (settings.use_mpirun)
    return MpirunInAllocation({.mca = settings.mca, .exports = settings.exports}, request);
  std::vector<std::string> command = {settings.srun,
                                      "--kill-on-bad-exit=1",  // Slurm's own default is 0
                                      "--mpi=pmix",           "--label",
                                      "--export=ALL",         "--cpu-bind=none"};
  Append(command, {"--ntasks=" + std::to_string(request.request.processes),
                   "--cpus-per-task=" + std::to_string(request.request.threads)});
  command.insert(command.end(), request.program.begin(), request.program.end());
  return command;
}

std::vector<std::string> SqueueCommand(const SlurmSettings& settings, int64_t job) {
  return {settings.squeue, "--noheader", "--states=all", kFormat, "--jobs=" + std::to_string(job)};
}

std::vector<std::string> SqueueCommand(const SlurmSettings& settings, const std::string& name) {
  return {settings.squeue, "--noheader", "--states=all", kFormat, "--name=" + name};
}

std::vector<std::string> NodeCountCommand(const SlurmSettings& settings, int64_t job) {
  return {settings.squeue, "--noheader", "--format=%D", "--jobs=" + std::to_string(job)};
}

std::vector<std::string> LookCommand(const SlurmSettings& settings, int64_t job, int64_t nodes,
                                     const std::string& marker) {
  const std::string count = std::to_string(nodes);
  return {settings.srun,
          "--jobid=" + std::to_string(job),
          "--overlap",
          "--nodes=" + count,
          "--ntasks=" + count,
          "--ntasks-per-node=1",
          "--cpus-per-task=1",
          "--mem=0",
          "--mpi=none",
          "--export=NONE",
          "--chdir=/",
          "--quiet",
          "--immediate=10",
          settings.program,
          "sweep",
          "--marker",
          marker,
          "--look"};
}

std::vector<std::string> ScancelCommand(const SlurmSettings& settings, int64_t job) {
  return {settings.scancel, std::to_string(job)};
}

std::vector<std::vector<std::string>> KillCommands(const SlurmSettings& settings, int64_t job) {
  const std::string number = std::to_string(job);
  return {{settings.scancel, "--signal=KILL", number + ".0"},
          {settings.scancel, "--signal=KILL", "--batch", number},
          ScancelCommand(settings, job)};
}

std::optional<int64_t> ParseSbatch(std::string_view output) {
  int64_t job = 0;
  const char* end = output.data() + output.size();
  const auto [rest, code] = std::from_chars(output.data(), end, job);
  if (code != std::errc() || job <= 0) return std::nullopt;
  if (rest != end && *rest != ';' && *rest != '\n') return std::nullopt;
  return job;
}

std::vector<SlurmJob> ParseSqueue(std::string_view output) {
  std::vector<SlurmJob> jobs;
  while (!output.empty()) {
    const std::string_view line = output.substr(0, output.find('\n'));
    output.remove_prefix(std::min(line.size() + 1, output.size()));
    if (line.empty()) continue;
    std::vector<std::string> fields = {""};
    for (char c : line) {
      if (c == '|') {
        fields.emplace_back();
      } else {
        fields.back() += c;
      }
    }
    const auto id = ParseSbatch(fields[0]);
    if (fields.size() != 4 || !id) {
      throw Error(ErrorCode::kInvalidArgument, "squeue answered '" + std::string(line) + "'");
    }
    SlurmJob job{.id = *id, .state = fields[1], .reason = fields[2], .nodes = fields[3]};
    const std::string& state = job.state;
    if (state == "PENDING" || state == "CONFIGURING" || state == "REQUEUED" ||
        state == "REQUEUE_HOLD" || state == "SPECIAL_EXIT" || state == "RESV_DEL_HOLD") {
      job.phase = SlurmPhase::kWaiting;
    } else if (state == "RUNNING" || state == "COMPLETING" || state == "SUSPENDED" ||
               state == "STOPPED" || state == "SIGNALING" || state == "STAGE_OUT" ||
               state == "RESIZING") {
      job.phase = SlurmPhase::kRunning;
    } else {
      // BOOT_FAIL CANCELLED COMPLETED DEADLINE FAILED NODE_FAIL OUT_OF_MEMORY PREEMPTED REVOKED
      // TIMEOUT
      job.phase = SlurmPhase::kEnded;
    }
    jobs.push_back(std::move(job));
  }
  return jobs;
}

}  // namespace syncbn::coordinator
