// Processes of this host: who is who, who belongs to an attempt, and how to start and end them. A
// process is never found by its name, only by its number together with its start, or by the marker
// of its attempt in its environment.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"

namespace syncbn::coordinator {

// The variable that carries the marker of the attempt: every process of an attempt inherits it.
inline constexpr std::string_view kMarkerVariable = "SYNCBN_ATTEMPT";

struct ProcessIdentity {
  int64_t pid = 0;
  // Start in clock ticks since boot: a later process of the same number has another.
  int64_t start_ticks = 0;
  // Of the boot; the ticks mean nothing after another.
  std::string boot_id;
};

ProcessIdentity SelfIdentity();
// That very process exists and is not a zombie.
bool IsAlive(const ProcessIdentity& identity);

struct MarkedProcess {
  int64_t pid = 0;
  int64_t parent = 0;
  std::string command;   // its arguments, cut at 200 characters
  bool is_rank = false;  // carries a rank of mpirun or srun, and does not only pass on its output
};

// Processes of this host whose environment has the marker, but for this process and zombies.
// Processes of other users that may not be looked at are passed over.
std::vector<MarkedProcess> FindMarked(std::string_view marker);

// The living children of this process; for a subreaper that is all whose parents have died.
std::vector<MarkedProcess> ChildrenOfSelf();

// Makes this process the parent of what its descendants leave behind, in place of process 1, and so
// able to see their ends.
void AdoptOrphans();
// Takes the ends of children that nobody here waits for: supervisors, which have outlived who
// started them, and whatever else has become a child of this process because it is process 1 of a
// container. A command that RunCommand waits for is left to it. To be called now and then; returns
// how many.
int ReapStrays();

// Sends a signal to a process if it still carries the marker. A process that has taken over the
// number meanwhile is never hit. False if it was not there.
bool SignalMarked(int64_t pid, std::string_view marker, int signal);

// The ranks among them, without what the ranks themselves have started.
std::vector<MarkedProcess> RanksOf(const std::vector<MarkedProcess>& processes);

// What is seen of ranks from outside.
struct RankActivity {
  int ranks = 0;
  std::chrono::microseconds processor_time{0};
  // Only what they have left on disk is seen, so many bytes; the rest is not known.
  std::optional<int64_t> written = std::nullopt;

  bool operator==(const RankActivity&) const = default;
};

// Of the ranks with the marker on this host.
RankActivity ActivityOf(std::string_view marker);
// A line for another host, and the last such line in what came from there, where one did.
std::string ActivityText(const RankActivity& activity);
std::optional<RankActivity> ParseActivity(std::string_view output);

struct SweepResult {
  std::vector<MarkedProcess> killed;
  std::vector<MarkedProcess> survivors;  // still there after the time: waiting in the kernel
};

// SIGKILL for every process with the marker, again and again until there is none or the time is up.
SweepResult Sweep(std::string_view marker, std::chrono::milliseconds time);

// Where RunCommand finds a program: at its path, or by its name on the PATH; nothing where it does
// not.
std::optional<std::filesystem::path> FindProgram(const std::string& name);

struct CommandResult {
  int exit_code = 0;  // 128 + signal where one ended it
  bool timed_out = false;
  std::string output;        // standard output, at most 1 MiB
  std::string error_output;  // standard error, at most 1 MiB
};

// Runs a command without a shell and waits for its end; past `time` it is killed, and what holds
// its output open is not waited for. Safe with threads. If it cannot be started: NOT_FOUND,
// PERMISSION_DENIED, INVALID_ARGUMENT for a command that is too long, UNAVAILABLE for want of
// memory or processes.
CommandResult RunCommand(const std::vector<std::string>& command, std::chrono::milliseconds time);

// The same for several at once; each has the whole time. A command that cannot be started has exit
// code 127 and says so in its error output. Of each output at most `most_output` bytes are kept.
std::vector<CommandResult> RunCommands(const std::vector<std::vector<std::string>>& commands,
                                       std::chrono::milliseconds time,
                                       size_t most_output = size_t{1} << 20);

}  // namespace syncbn::coordinator
