// From a job to what its workers are started with: command, environment, folders.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "coordinator/control/controller.h"
#include "coordinator/service/submission.h"

namespace syncbn::app {

struct JobLaunch {
  // syncbn, by its absolute path on the hosts.
  std::string program;
  // The coordinator's data folder.
  std::filesystem::path data;
  std::string store_id;
  // Looked at again at every start: links may have changed since the job was taken.
  coordinator::SubmissionPolicy submission;
  // Where workers reach the coordinator, HOST:PORT.
  std::string coordinator_address;
  // Whom they trust, where it uses TLS.
  std::optional<std::filesystem::path> tls_ca;
  // Of the workers, for mutual TLS; both or neither.
  std::optional<std::filesystem::path> tls_certificate, tls_key;
  coordinator::StopLadder::Times ladder;
  int64_t max_log_bytes = 0;
};

// Writes the run file into the job's folder and makes the output folder this job's own. Throws
// INVALID_ARGUMENT for what can never run: an output folder that belongs to another job, a path
// that is no longer allowed.
coordinator::LaunchRequest MakeJobLaunch(const JobLaunch& launch,
                                         const coordinator::JobRecord& record,
                                         const coordinator::RunFileText& run_file,
                                         const coordinator::LaunchContext& context);

}  // namespace syncbn::app
