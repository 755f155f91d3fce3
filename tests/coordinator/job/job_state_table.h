// What must happen for every pair of a situation and an event: the new state with its effects, or
// the verdict alone. Pairs that are left out speak of an attempt where none lives: "superseded".
#pragma once

namespace syncbn::coordinator {

inline constexpr const char* kTable = R"(
QUEUED
  PLACED           STARTING launch
  STATE_TIMER      FAILED
  TIME_LIMIT       ignored
  PAUSE            PAUSED
  CANCEL           CANCELLED
  KILL             CANCELLED
  RESUME           rejected
  RETRY            rejected
STARTING
  PLACED           rejected
  NOT_STARTED      QUEUED
  REGISTERED       RUNNING
  HEARTBEAT        ignored
  SILENT           ignored
  STALLED          ignored
  ENDED:COMPLETED  SUCCEEDED
  ENDED:STOPPED    RECOVERING
  ENDED:INFRA      RECOVERING
  ENDED:USER       FAILED
  ADOPTED          STARTING
  STATE_TIMER      RECOVERING(live) terminate
  TIME_LIMIT       CANCELLING stop
  PAUSE            PAUSING stop
  CANCEL           CANCELLING stop
  KILL             CANCELLING kill
  RESUME           rejected
  RETRY            rejected
RUNNING
  PLACED           rejected
  NOT_STARTED      QUEUED
  REGISTERED       RUNNING
  HEARTBEAT        RUNNING
  SILENT           RUNNING
  STALLED          RECOVERING(live) terminate
  ENDED:COMPLETED  SUCCEEDED
  ENDED:STOPPED    RECOVERING
  ENDED:INFRA      RECOVERING
  ENDED:USER       FAILED
  ADOPTED          RUNNING
  STATE_TIMER      RECOVERING(live) terminate
  TIME_LIMIT       CANCELLING stop
  PAUSE            PAUSING stop
  CANCEL           CANCELLING stop
  KILL             CANCELLING kill
  RESUME           rejected
  RETRY            rejected
PAUSING
  PLACED           rejected
  NOT_STARTED      PAUSED
  REGISTERED       ignored
  HEARTBEAT        ignored
  SILENT           ignored
  STALLED          ignored
  ENDED:COMPLETED  SUCCEEDED
  ENDED:STOPPED    PAUSED
  ENDED:INFRA      PAUSED
  ENDED:USER       FAILED
  ADOPTED          PAUSING stop
  STATE_TIMER      PAUSING force
  TIME_LIMIT       ignored
  PAUSE            ignored
  CANCEL           CANCELLING stop
  KILL             CANCELLING kill
  RESUME           rejected
  RETRY            rejected
PAUSING-FORCED
  PLACED           rejected
  NOT_STARTED      PAUSED
  REGISTERED       ignored
  HEARTBEAT        ignored
  SILENT           ignored
  STALLED          ignored
  ENDED:COMPLETED  SUCCEEDED
  ENDED:STOPPED    PAUSED
  ENDED:INFRA      PAUSED
  ENDED:USER       FAILED
  ADOPTED          PAUSING stop
  STATE_TIMER      PAUSED abandon
  TIME_LIMIT       ignored
  PAUSE            ignored
  CANCEL           CANCELLING stop
  KILL             CANCELLING kill
  RESUME           rejected
  RETRY            rejected
PAUSED
  PLACED           rejected
  STATE_TIMER      FAILED
  TIME_LIMIT       ignored
  PAUSE            ignored
  CANCEL           CANCELLED
  KILL             CANCELLED
  RESUME           QUEUED
  RETRY            rejected
RECOVERING-LIVE
  PLACED           rejected
  NOT_STARTED      RECOVERING
  REGISTERED       ignored
  HEARTBEAT        ignored
  SILENT           ignored
  STALLED          ignored
  ENDED:COMPLETED  SUCCEEDED
  ENDED:STOPPED    RECOVERING
  ENDED:INFRA      RECOVERING
  ENDED:USER       FAILED
  ADOPTED          RECOVERING(live) terminate
  STATE_TIMER      RECOVERING(live) force
  TIME_LIMIT       ignored
  PAUSE            PAUSING
  CANCEL           CANCELLING stop
  KILL             CANCELLING kill
  RESUME           rejected
  RETRY            rejected
RECOVERING-FORCED
  PLACED           rejected
  NOT_STARTED      RECOVERING
  REGISTERED       ignored
  HEARTBEAT        ignored
  SILENT           ignored
  STALLED          ignored
  ENDED:COMPLETED  SUCCEEDED
  ENDED:STOPPED    RECOVERING
  ENDED:INFRA      RECOVERING
  ENDED:USER       FAILED
  ADOPTED          RECOVERING(live) terminate
  STATE_TIMER      RECOVERING abandon
  TIME_LIMIT       ignored
  PAUSE            PAUSING
  CANCEL           CANCELLING stop
  KILL             CANCELLING kill
  RESUME           rejected
  RETRY            rejected
RECOVERING
  PLACED           rejected
  STATE_TIMER      QUEUED
  TIME_LIMIT       ignored
  PAUSE            PAUSED
  CANCEL           CANCELLED
  KILL             CANCELLED
  RESUME           rejected
  RETRY            rejected
CANCELLING
  PLACED           rejected
  NOT_STARTED      CANCELLED
  REGISTERED       ignored
  HEARTBEAT        ignored
  SILENT           ignored
  STALLED          ignored
  ENDED:COMPLETED  SUCCEEDED
  ENDED:STOPPED    CANCELLED
  ENDED:INFRA      CANCELLED
  ENDED:USER       CANCELLED
  ADOPTED          CANCELLING stop
  STATE_TIMER      CANCELLING force
  TIME_LIMIT       ignored
  PAUSE            rejected
  CANCEL           ignored
  KILL             CANCELLING kill
  RESUME           rejected
  RETRY            rejected
CANCELLING-FORCED
  PLACED           rejected
  NOT_STARTED      CANCELLED
  REGISTERED       ignored
  HEARTBEAT        ignored
  SILENT           ignored
  STALLED          ignored
  ENDED:COMPLETED  SUCCEEDED
  ENDED:STOPPED    CANCELLED
  ENDED:INFRA      CANCELLED
  ENDED:USER       CANCELLED
  ADOPTED          CANCELLING stop
  STATE_TIMER      CANCELLED abandon
  TIME_LIMIT       ignored
  PAUSE            rejected
  CANCEL           ignored
  KILL             CANCELLING kill
  RESUME           rejected
  RETRY            rejected
CANCELLING-LATE
  PLACED           rejected
  NOT_STARTED      FAILED
  REGISTERED       ignored
  HEARTBEAT        ignored
  SILENT           ignored
  STALLED          ignored
  ENDED:COMPLETED  SUCCEEDED
  ENDED:STOPPED    FAILED
  ENDED:INFRA      FAILED
  ENDED:USER       FAILED
  ADOPTED          CANCELLING stop
  STATE_TIMER      CANCELLING force
  TIME_LIMIT       ignored
  PAUSE            rejected
  CANCEL           CANCELLING stop
  KILL             CANCELLING kill
  RESUME           rejected
  RETRY            rejected
SUCCEEDED
  PLACED           rejected
  STATE_TIMER      ignored
  TIME_LIMIT       ignored
  PAUSE            rejected
  CANCEL           rejected
  KILL             rejected
  RESUME           rejected
  RETRY            rejected
FAILED
  PLACED           rejected
  STATE_TIMER      ignored
  TIME_LIMIT       ignored
  PAUSE            rejected
  CANCEL           rejected
  KILL             rejected
  RESUME           rejected
  RETRY            QUEUED
CANCELLED
  PLACED           rejected
  STATE_TIMER      ignored
  TIME_LIMIT       ignored
  PAUSE            rejected
  CANCEL           ignored
  KILL             ignored
  RESUME           rejected
  RETRY            QUEUED
)";

}  // namespace syncbn::coordinator
