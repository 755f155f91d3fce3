// Signals that ask something of a run: SIGUSR1, a checkpoint at the next step; SIGTERM or SIGINT, a
// checkpoint and the end. A second SIGTERM or SIGINT ends the process at once.
#pragma once

#include "train/trainer.h"

namespace syncbn::app {

// Installs the handlers for its lifetime; one at a time in a process.
class SignalRequests {
 public:
  // `on_stop`: a constant to say on standard error when a stop is heard; null: nothing. One process
  // of a run is enough.
  explicit SignalRequests(const char* on_stop);
  ~SignalRequests();
  SignalRequests(const SignalRequests&) = delete;
  SignalRequests& operator=(const SignalRequests&) = delete;

  // What has been asked since the last call; a request to stop stays.
  train::ControlRequests Take();
};

}  // namespace syncbn::app
