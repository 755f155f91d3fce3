// Signals that ask something of a run: SIGUSR1, a checkpoint at the next step; SIGTERM or SIGINT, a
// checkpoint and the end. A second SIGTERM or SIGINT ends the process at once.
#pragma once

#include <stop_token>
#include <thread>

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

// Asked to stop by a signal, for what waits and cannot look for requests itself. One at a time in a
// process, as SignalRequests.
class StopOnSignal {
 public:
  // `on_stop`: see SignalRequests.
  explicit StopOnSignal(const char* on_stop);

  // Requested within a tenth of a second of the signal, on a thread of its own.
  std::stop_token token() const { return stop_.get_token(); }

 private:
  SignalRequests signals_;
  std::stop_source stop_;
  std::jthread watcher_;
};

}  // namespace syncbn::app
