// Following a job to its end: a live line on a terminal, plain lines elsewhere, JSON when asked.
#pragma once

#include <chrono>
#include <string>

#include "client/connection.h"

namespace syncbn::app {

struct FollowOptions {
  // "jobs/17"
  std::string job;
  // Every event as one JSON object a line, nothing else.
  bool json = false;
  // Without a terminal: a line about the progress at most this often.
  std::chrono::seconds plain_interval = std::chrono::seconds(30);
};

// Returns when the job has ended (kSuccess, kJobFailed, kJobCancelled) or on Ctrl-C (kInterrupted),
// which leaves the job running. A coordinator that goes away is waited for. Throws what asking it
// throws.
int FollowJob(client::Connection& connection, const FollowOptions& options);

// The transitions of all jobs, a line each, until Ctrl-C; returns kInterrupted.
int FollowAllJobs(client::Connection& connection, const std::string& filter, bool json);

}  // namespace syncbn::app
