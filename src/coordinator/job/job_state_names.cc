#include "coordinator/job/job_state.h"

namespace syncbn::coordinator {

std::string_view JobStateName(JobState state) {
  switch (state) {
    case JobState::kQueued:
      return "QUEUED";
    case JobState::kStarting:
      return "STARTING";
    case JobState::kRunning:
      return "RUNNING";
    case JobState::kPausing:
      return "PAUSING";
    case JobState::kPaused:
      return "PAUSED";
    case JobState::kRecovering:
      return "RECOVERING";
    case JobState::kCancelling:
      return "CANCELLING";
    case JobState::kSucceeded:
      return "SUCCEEDED";
    case JobState::kFailed:
      return "FAILED";
    case JobState::kCancelled:
      return "CANCELLED";
  }
  return "UNKNOWN";
}

std::string_view DesiredStateName(DesiredState state) {
  switch (state) {
    case DesiredState::kRun:
      return "RUN";
    case DesiredState::kPause:
      return "PAUSE";
    case DesiredState::kCancel:
      return "CANCEL";
    case DesiredState::kKill:
      return "KILL";
  }
  return "UNKNOWN";
}

bool IsEnded(JobState state) {
  return state == JobState::kSucceeded || state == JobState::kFailed ||
         state == JobState::kCancelled;
}

std::string_view EventName(EventKind kind) {
  switch (kind) {
    case EventKind::kPlaced:
      return "PLACED";
    case EventKind::kNotStarted:
      return "NOT_STARTED";
    case EventKind::kRegistered:
      return "REGISTERED";
    case EventKind::kHeartbeat:
      return "HEARTBEAT";
    case EventKind::kSilent:
      return "SILENT";
    case EventKind::kStalled:
      return "STALLED";
    case EventKind::kEnded:
      return "ENDED";
    case EventKind::kAdopted:
      return "ADOPTED";
    case EventKind::kStateTimer:
      return "STATE_TIMER";
    case EventKind::kTimeLimit:
      return "TIME_LIMIT";
    case EventKind::kPause:
      return "PAUSE";
    case EventKind::kCancel:
      return "CANCEL";
    case EventKind::kKill:
      return "KILL";
    case EventKind::kResume:
      return "RESUME";
    case EventKind::kRetry:
      return "RETRY";
  }
  return "UNKNOWN";
}

bool IsOfAttempt(EventKind kind) {
  return kind >= EventKind::kNotStarted && kind <= EventKind::kAdopted;
}

}  // namespace syncbn::coordinator
