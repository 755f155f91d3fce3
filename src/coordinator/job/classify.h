// From the remains of an attempt (exit record, the ranks' own reports, the launcher's words) to
// what became of it and whose fault it was. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "coordinator/job/job_state.h"
#include "syncbn/v1/attempt.pb.h"
#include "syncbn/v1/worker.pb.h"

namespace syncbn::coordinator {

// Exit codes by which a worker says what its report says too, for when no report arrives.
inline constexpr int kExitStopped = 75;     // left on request after a checkpoint (EX_TEMPFAIL)
inline constexpr int kExitSuperseded = 76;  // its attempt had been given up
inline constexpr int kExitConfig = 2;       // run file or data cannot work
inline constexpr int kExitMemory = 4;
inline constexpr int kExitDiverged = 12;
inline constexpr int kExitStorage = 13;

struct RankReport {
  int rank = 0;
  v1::RankExit exit;
};

struct Verdict {
  // The attempt certainly never ran: EventKind::kNotStarted, and nothing else here counts.
  bool never_ran = false;
  AttemptOutcome outcome = AttemptOutcome::kFailed;
  // Where outcome is kFailed, or kStopped by nobody's order.
  std::optional<Failure> failure;
  // Hosts in which the failure lies (host_health.h).
  std::vector<std::string> bad_hosts;
};

// `processes` ranks were asked for; `reports` are those that came, by rank.
Verdict Classify(const v1::ExitRecord& exit, const std::vector<RankReport>& reports, int processes,
                 int attempt);

// The class of an error that a rank reported, by the code of its Error.
FailureClass ClassOfErrorCode(const std::string& code, const std::string& message);

}  // namespace syncbn::coordinator
