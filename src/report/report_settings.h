// Whom a worker reports to and as whom, from the environment that the coordinator gives its jobs'
// processes.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>

#include "report/metric_batches.h"

namespace syncbn::report {

struct ReportSettings {
  // `host:port`
  std::string coordinator;
  // `jobs/{job}/attempts/{attempt}`
  std::string attempt;
  int rank = 0;
  int processes = 1;
  // The attempt's own; empty: none is sent.
  std::string token;
  // Folder of the attempt's spool.
  std::filesystem::path spool;
  // File with the certificates that the coordinator's is checked against. Empty: no TLS.
  std::filesystem::path tls_ca;
  // This process's own certificate and key, PEM, for mutual TLS. Both empty: none.
  std::filesystem::path tls_certificate, tls_key;

  std::string host;
  std::string version;

  // Delays between tries to reach the coordinator, doubling.
  std::chrono::milliseconds first_backoff = std::chrono::milliseconds(200);
  std::chrono::milliseconds last_backoff = std::chrono::seconds(10);
  // One try to connect.
  std::chrono::milliseconds connect_time = std::chrono::seconds(5);
  // A call that is not answered for so long is given up and made again.
  std::chrono::milliseconds call_time = std::chrono::seconds(10);
  // The spool takes no more of the disk.
  int64_t max_spool_bytes = int64_t{256} << 20;
  // Points that wait for a disk that is full or slow; those above are lost and counted.
  int64_t max_waiting_points = 100'000;
  // A batch is at most so long, serialized.
  size_t batch_bytes = kLargestBatch;
};

// The number in "jobs/17/attempts/2": 2. Throws INVALID_ARGUMENT.
int AttemptNumber(const std::string& attempt);

// From SYNCBN_ATTEMPT ("{store id}/jobs/17/attempts/2"), SYNCBN_COORDINATOR, SYNCBN_TOKEN,
// SYNCBN_SPOOL and SYNCBN_TLS_*. Nothing for a process that is not part of a job, or whose job has
// nobody to report to. Throws INVALID_ARGUMENT naming a variable that contradicts the others. Rank,
// processes, host and version are left to the caller.
std::optional<ReportSettings> SettingsFromEnvironment();

}  // namespace syncbn::report
