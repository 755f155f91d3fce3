// The worker's side of a connection to the coordinator: the channel, and calls with a deadline.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <string>

#include "report/report_settings.h"
#include "syncbn/v1/worker.grpc.pb.h"

namespace syncbn::report {

// The worker's attempt has been given up: it must leave.
bool IsSuperseded(const grpc::Status& status);
// "UNAVAILABLE: connection refused"
std::string Describe(const grpc::Status& status);

// Thread-safe.
class Connection {
 public:
  // Connects when first used. Throws when the CA file cannot be read.
  explicit Connection(const ReportSettings& settings);

  v1::WorkerService::Stub& stub() { return *stub_; }
  // Connected at this moment.
  bool IsUp() { return channel_->GetState(false) == GRPC_CHANNEL_READY; }
  // Gives a context the token.
  void Prepare(grpc::ClientContext& context) const;
  // And a time. `waits`: in it the call waits for a coordinator that is not there. gRPC makes
  // connections only while somebody waits for one: calls that all fail at once and are made again
  // later would find the coordinator seconds after it is back.
  void Prepare(grpc::ClientContext& context, std::chrono::milliseconds time, bool waits) const;
  // The call has failed because nobody is there.
  bool IsAbsence(const grpc::Status& status);
  // Tries to connect now, and soon again: it has been tried long enough for the pauses to be long.
  void ResetBackoff();

 private:
  const std::string authorization_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::WorkerService::Stub> stub_;
};

// Delays between tries: doubling, with a random part, so that a thousand ranks do not come back at
// the same moment. Not thread-safe.
class Backoff {
 public:
  explicit Backoff(const ReportSettings& settings);
  std::chrono::milliseconds Next();
  void Reset() { next_ = first_; }

 private:
  const std::chrono::milliseconds first_, last_;
  std::chrono::milliseconds next_;
  uint64_t state_;
};

}  // namespace syncbn::report
