#include "coordinator/job/classify.h"

#include <algorithm>
#include <csignal>

#include "base/text.h"
#include "coordinator/launch/launcher_text.h"

namespace syncbn::coordinator {
namespace {

// The last lines of one rank in the log's tail, or of all where it printed nothing.
std::string Excerpt(const std::string& tail, std::optional<int> rank) {
  constexpr size_t kMost = 4096;
  std::string lines, own;
  const std::string prefix = rank ? std::to_string(*rank) : "";
  for (size_t at = 0; at < tail.size();) {
    const size_t end = std::min(tail.find('\n', at), tail.size());
    const std::string line = tail.substr(at, end - at) + "\n";
    lines += line;
    const std::string lead = line.substr(0, prefix.size() + 2);
    if (rank && (lead == prefix + ": " || lead == prefix + "+ ")) own += line;
    at = end + 1;
  }
  const std::string& chosen = own.empty() ? lines : own;
  if (chosen.size() <= kMost) return chosen;
  const size_t cut = chosen.find('\n', chosen.size() - kMost);
  return chosen.substr(cut + 1);
}

bool Mentions(const std::string& text, std::initializer_list<const char*> words) {
  return std::any_of(words.begin(), words.end(),
                     [&](const char* word) { return text.find(word) != std::string::npos; });
}

// The report that tells most: of the ranks that failed by themselves the lowest, else of those that
// failed because of another.
const RankReport* FirstFailure(const std::vector<RankReport>& reports) {
  const RankReport* found = nullptr;
  for (const RankReport& report : reports) {
    if (report.exit.outcome() != v1::ATTEMPT_OUTCOME_FAILED) continue;
    if (found == nullptr || (found->exit.caused_by_peer() && !report.exit.caused_by_peer()))
      found = &report;
  }
  return found;
}

bool AllReported(const std::vector<RankReport>& reports, int processes,
                 v1::AttemptOutcome outcome) {
  return static_cast<int>(reports.size()) == processes &&
         std::all_of(reports.begin(), reports.end(),
                     [&](const RankReport& report) { return report.exit.outcome() == outcome; });
}

bool AnyReported(const std::vector<RankReport>& reports, v1::AttemptOutcome outcome) {
  return std::any_of(reports.begin(), reports.end(),
                     [&](const RankReport& report) { return report.exit.outcome() == outcome; });
}

// What the rank says of itself in so many words.
std::optional<FailureClass> OwnWord(const v1::RankExit& exit) {
  if (exit.class_() == v1::Failure::CLASS_UNSPECIFIED ||
      !v1::Failure::Class_IsValid(exit.class_())) {
    return std::nullopt;
  }
  return static_cast<FailureClass>(exit.class_());
}

std::optional<FailureClass> ClassOfExitCode(int code) {
  switch (code) {
    case kExitConfig:
      return FailureClass::kConfig;
    case kExitMemory:
      return FailureClass::kOom;
    case kExitDiverged:
      return FailureClass::kDiverged;
    case kExitStorage:
      return FailureClass::kStorage;
    default:
      return std::nullopt;
  }
}

Failure FromReport(const RankReport& report, const v1::ExitRecord& exit) {
  Failure failure{.failure_class = OwnWord(report.exit)
                                       .value_or(ClassOfErrorCode(report.exit.error_code(),
                                                                  report.exit.message())),
                  .rank = report.rank,
                  .host = report.exit.host(),
                  .excerpt = Excerpt(exit.output_tail(), report.rank),
                  .ranks = {report.exit.missing_ranks().begin(), report.exit.missing_ranks().end()},
                  .operation = report.exit.operation(),
                  .activity = report.exit.activity(),
                  .layer = report.exit.layer()};
  failure.message = "rank " + std::to_string(report.rank) + ": " + report.exit.message();
  for (const std::string& frame : report.exit.frames()) failure.message += "; in " + frame;
  return failure;
}

Failure FromVerdict(const LauncherVerdict& verdict, const v1::ExitRecord& exit) {
  Failure failure{.failure_class = ClassOf(verdict),
                  .message = MessageOf(verdict),
                  .rank = verdict.rank,
                  .host = verdict.host,
                  .signal = verdict.signal,
                  .exit_code = verdict.exit_code,
                  .excerpt = Excerpt(exit.output_tail(), verdict.rank)};
  if (verdict.exit_code) {
    failure.failure_class = ClassOfExitCode(*verdict.exit_code).value_or(failure.failure_class);
  }
  // The words of Slurm's own daemon come as if the rank had said them.
  if (Mentions(failure.excerpt, {": error: execve(): "})) {
    failure.failure_class = FailureClass::kConfig;
    failure.message += ": it could not be started";
  }
  if (verdict.signal == SIGKILL && exit.oom_killed_size() > 0) {
    failure.failure_class = FailureClass::kOom;
    failure.message += " when memory ran out (the kernel's log names process " +
                       std::to_string(exit.oom_killed(0).pid()) +
                       "): give the job more memory or fewer replicas on a host";
  } else if (verdict.signal == SIGKILL && exit.cgroup_oom_kills() > 0) {
    failure.failure_class = FailureClass::kOom;
    failure.message += " when memory ran out (the kernel counts " +
                       Plural(exit.cgroup_oom_kills(), "process") +
                       " killed for it in the attempt's own control group, " + exit.cgroup() +
                       "): give the job more memory or fewer replicas on a host";
  } else if (verdict.signal == SIGKILL && exit.oom_kills() > 0) {
    // It may have been somebody else's process: the next attempt may do better.
    failure.message += "; memory ran out on the supervisor's host meanwhile, perhaps for it";
  }
  if (failure.failure_class == FailureClass::kUser &&
      Mentions(failure.excerpt, {"std::bad_alloc", "out of memory"})) {
    failure.failure_class = FailureClass::kOom;
  }
  return failure;
}

// Of an attempt about which only the batch system said something.
std::optional<Failure> FromBatchState(const v1::ExitRecord& exit) {
  const std::string& state = exit.batch_state();
  if (state.empty()) return std::nullopt;
  // In the words of Slurm, and of Kubernetes.
  const FailureClass failure_class =
      state == "OUT_OF_MEMORY" || state == "OOMKilled" ? FailureClass::kOom
      : state == "TIMEOUT" || state == "DEADLINE" || state == "DeadlineExceeded"
          ? FailureClass::kTimeout
      : state == "CANCELLED" || state == "Deleted" ? FailureClass::kCancelled
                                                   : FailureClass::kInfra;
  return Failure{.failure_class = failure_class, .message = exit.message()};
}

// Its own words; where it does not come to say which rank it was, those of the rank's relay. The
// first that ended is the cause, but not where it left as if asked to: the launcher asks the others
// to.
std::optional<LauncherVerdict> WhatTheLauncherSays(const v1::ExitRecord& exit) {
  if (auto verdict = ReadLauncherText(exit.launcher_text())) return verdict;
  const v1::RankEnd* found = nullptr;
  for (const v1::RankEnd& end : exit.rank_ends()) {
    const bool asked = end.exit_code() == kExitStopped || end.exit_code() == kExitSuperseded;
    if (found == nullptr && !asked && end.signal() != SIGTERM) found = &end;
  }
  if (found == nullptr) return std::nullopt;
  LauncherVerdict verdict{.kind = LauncherVerdict::Kind::kRankExit, .rank = found->rank()};
  if (found->signal() != 0) {
    verdict.kind = LauncherVerdict::Kind::kRankSignal;
    verdict.signal = found->signal();
  } else {
    verdict.exit_code = found->exit_code();
  }
  return verdict;
}

// The launcher names a rank that failed. The others may well have left as if asked to: srun and mpirun
// end them with SIGTERM.
bool NamesAFailure(const v1::ExitRecord& exit) {
  const auto verdict = WhatTheLauncherSays(exit);
  const int code = verdict ? verdict->exit_code.value_or(-1) : kExitStopped;
  return code != kExitStopped && code != kExitSuperseded;
}

Failure Guess(const v1::ExitRecord& exit, const std::vector<RankReport>& reports) {
  const RankReport* report = FirstFailure(reports);
  auto verdict = WhatTheLauncherSays(exit);
  // mpirun does not say which host; the one that did not answer afterwards, either, is it.
  if (verdict && verdict->kind == LauncherVerdict::Kind::kDaemonLost && verdict->host.empty() &&
      exit.unverified_hosts_size() == 1) {
    verdict->host = exit.unverified_hosts(0);
  }
  // A rank that knows its own error knows better than the launcher. One that only suffered from
  // another's does not: then the launcher says who died, or a lost daemon why they all did.
  if (report != nullptr && !report->exit.caused_by_peer()) return FromReport(*report, exit);
  // A pod that ran out of memory is gone with its daemon: what the launcher sees is that alone.
  if (exit.batch_state() == "OOMKilled") return *FromBatchState(exit);
  if (verdict) return FromVerdict(*verdict, exit);
  if (report != nullptr) return FromReport(*report, exit);
  if (auto failure = FromBatchState(exit)) return *std::move(failure);
  if (exit.cause() == v1::ExitRecord::NOT_STARTED) {
    return {.failure_class = FailureClass::kConfig, .message = exit.message()};
  }
  const std::string excerpt = Excerpt(exit.output_tail(), std::nullopt);
  if (exit.signal() != 0) {
    return {.failure_class = FailureClass::kInfra,
            .message = "the launcher was ended by " + SignalName(exit.signal()),
            .signal = exit.signal(),
            .excerpt = excerpt};
  }
  // The launcher passes on how a process was ended, as shells do, where it does not come to say which
  // (mpirun of one that is killed before MPI has started).
  constexpr int kSignalled = 128, kLastSignal = 64;
  if (exit.exit_code() > kSignalled && exit.exit_code() <= kSignalled + kLastSignal) {
    return FromVerdict({.kind = LauncherVerdict::Kind::kRankSignal,
                        .signal = exit.exit_code() - kSignalled},
                       exit);
  }
  const bool memory =
      Mentions(excerpt, {"std::bad_alloc", "out of memory", "Cannot allocate memory"});
  return {.failure_class = memory ? FailureClass::kOom
                                  : ClassOfExitCode(exit.exit_code()).value_or(FailureClass::kUser),
          .message = "the launcher ended with exit code " + std::to_string(exit.exit_code()) +
                     " and no rank said why",
          .exit_code = exit.exit_code(),
          .excerpt = excerpt};
}

}  // namespace

Verdict Classify(const v1::ExitRecord& exit, const std::vector<RankReport>& reports, int processes,
                 int attempt) {
  if (exit.cause() == v1::ExitRecord::NEVER_RAN) return {.never_ran = true};
  // What all ranks say of themselves counts more than how the launcher fared afterwards.
  if (AllReported(reports, processes, v1::ATTEMPT_OUTCOME_COMPLETED)) {
    return {.outcome = AttemptOutcome::kCompleted};
  }
  const bool clean =
      exit.cause() == v1::ExitRecord::ENDED && exit.exit_code() == 0 && exit.signal() == 0;
  const bool any_failed = AnyReported(reports, v1::ATTEMPT_OUTCOME_FAILED);
  const bool any_stopped = AnyReported(reports, v1::ATTEMPT_OUTCOME_STOPPED);
  if (clean && !any_failed && !any_stopped) return {.outcome = AttemptOutcome::kCompleted};

  const RankReport* report = FirstFailure(reports);
  const bool own_fault = report != nullptr && !report->exit.caused_by_peer();
  if (!own_fault && exit.cause() == v1::ExitRecord::HOST_SHUTDOWN) {
    if (auto failure = FromBatchState(exit)) {
      failure->attempt = attempt;
      return {.outcome = AttemptOutcome::kStopped, .failure = std::move(failure)};
    }
    return {.outcome = AttemptOutcome::kStopped,
            .failure = Failure{
                .failure_class = FailureClass::kInfra,
                .message = "its host told the attempt to end (shutdown, or the batch system)",
                .attempt = attempt}};
  }
  if (!own_fault && exit.cause() == v1::ExitRecord::SUPERVISOR_LOST && exit.batch_state().empty()) {
    // The kernel has told the launcher to end, so what it and the ranks say does not count.
    return {
        .outcome = any_stopped ? AttemptOutcome::kStopped : AttemptOutcome::kFailed,
        .failure = Failure{
            .failure_class = FailureClass::kInfra, .message = exit.message(), .attempt = attempt}};
  }
  if (exit.cause() == v1::ExitRecord::STOPPED) {
    // Past the first rungs ranks die by our own signals, and what they say then is of no weight,
    // but for what no signal makes them say: that they could not leave their checkpoint.
    const bool gentle = exit.rung() == "ask" || exit.rung() == "checkpoint";
    if (!own_fault || (!gentle && !OwnWord(report->exit))) {
      return {.outcome = AttemptOutcome::kStopped};
    }
  } else if (!any_failed && !NamesAFailure(exit) &&
             (any_stopped || exit.exit_code() == kExitStopped ||
              exit.exit_code() == kExitSuperseded)) {
    // Who told its ranks to leave, where the batch system says so.
    auto failure = FromBatchState(exit);
    if (failure) failure->attempt = attempt;
    return {.outcome = AttemptOutcome::kStopped, .failure = std::move(failure)};
  }

  Verdict result{.outcome = AttemptOutcome::kFailed, .failure = Guess(exit, reports)};
  Failure& failure = *result.failure;
  failure.attempt = attempt;
  if (failure.failure_class == FailureClass::kInfra && !failure.host.empty()) {
    result.bad_hosts.push_back(failure.host);
  }
  return result;
}

FailureClass ClassOfErrorCode(const std::string& code, const std::string& message) {
  if (code == "RESOURCE_EXHAUSTED") {
    // Memory, disk and limits share this code.
    return Mentions(message, {"memory", "bad_alloc"}) ? FailureClass::kOom : FailureClass::kInfra;
  }
  if (code == "DEADLINE_EXCEEDED") return FailureClass::kStall;
  if (code == "ABORTED" || code == "UNAVAILABLE") return FailureClass::kInfra;
  if (code == "CANCELLED") return FailureClass::kCancelled;
  if (code == "INTERNAL" || code == "UNKNOWN" || code.empty()) return FailureClass::kUser;
  // INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED, FAILED_PRECONDITION, DATA_LOSS, ...: the same
  // run fails in the same way again.
  return FailureClass::kConfig;
}

}  // namespace syncbn::coordinator
