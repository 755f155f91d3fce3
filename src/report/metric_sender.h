// Sends the points of an outbox to the coordinator, one batch at a time, and hears what has become
// durable there. A thread of its own; made after the rank was registered.
//
// One batch is under way at a time: at 128 KiB a batch that is thousands of points for each answer,
// more than a rank ever measures, and there is nothing to put in order again after a failure.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "report/connection.h"
#include "report/outbox.h"

namespace syncbn::report {

class MetricStream;

class MetricSender {
 public:
  struct Options {
    ReportSettings settings;
    v1::RankName rank;
    // Called from the sender's thread, once: it sends nothing more after that.
    std::function<void()> on_superseded;
    // Called from the sender's thread when a stream has failed.
    std::function<void()> on_failure;
    // Trouble, when it begins and when it changes.
    std::function<void(const std::string&)> on_warning;
  };

  // `acknowledged`: what the coordinator has of this rank. Both references must outlive it.
  MetricSender(Connection& connection, Outbox& outbox, int64_t acknowledged, Options options);
  // Gives up what is under way.
  ~MetricSender();

  // From now on trouble is followed by the next try within half a second: the run is at its end.
  void ShortenRetryPauses();

 private:
  enum class Step { kGoOn, kFailed, kSuperseded };

  void Loop();
  Step SendNext();
  Step Explain(const grpc::Status& status);
  // False when it was told to stop meanwhile.
  bool Sleep(std::chrono::milliseconds time);
  bool stopping() const;

  Connection& connection_;
  Outbox& outbox_;
  const Options options_;
  // Highest sequence that the coordinator has said to have; of the thread alone.
  int64_t acknowledged_;
  std::string last_warning_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false, retries_soon_ = false;
  std::unique_ptr<MetricStream> stream_;  // replaced under mutex_
  std::thread thread_;
};

}  // namespace syncbn::report
