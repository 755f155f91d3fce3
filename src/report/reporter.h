// What one rank tells the coordinator, and what it hears: registration, heartbeats, metric points
// and how it left.
//
// Everything goes on in threads of its own. The run never waits for a coordinator: points go to a
// spool on disk until they are acknowledged, whatever happens to the connection, and each arrives
// once. Only Finish waits, for a bounded time. Thread-safe.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>

#include "report/connection.h"
#include "report/metric_sender.h"
#include "report/outbox.h"
#include "report/report_settings.h"

namespace syncbn::report {

// What the coordinator wants of the run, only ever more severe.
enum class Order {
  kRun,
  kStop,   // a checkpoint at a step that all ranks agree on, then leave
  kLeave,  // at once, without a checkpoint: the job is killed, or the attempt was given up
};

// What a heartbeat tells.
struct RankStatus {
  std::string phase;
  int64_t step = 0;
  double epoch = 0;
  int64_t reduction = 0;
  std::string reduction_name;
  // Grows whenever anything is done.
  int64_t progress = 0;
  std::optional<int64_t> checkpoint_step;
};

// What became of what was to be told.
struct Delivery {
  bool exit_delivered = false;
  bool exit_spooled = false;
  int64_t points_left = 0;  // in the spool or in memory
  int64_t lost_points = 0;
};

class Reporter {
 public:
  struct Options {
    ReportSettings settings;
    // Asked before each heartbeat, from a thread of the reporter.
    std::function<RankStatus()> status;
    // Told, from a thread of the reporter, when it becomes more severe. Before kLeave the rank's last
    // word is in the spool, unless Finish has another.
    std::function<void(Order, const std::string& reason)> on_order;
    std::function<void(const std::string&)> on_warning;
  };

  // A spool that cannot be used is a warning: points wait in memory then. Throws what a wrong
  // tls_ca throws.
  explicit Reporter(Options options);
  // Without Finish nothing more is sent, and the spool stays.
  ~Reporter();

  // Never waits, never fails.
  void Add(std::span<const Point> points) { outbox_.Add(points); }
  // Until everything added is safe from a crash; false when it is not after `time`.
  bool Flush(std::chrono::milliseconds time) { return outbox_.Flush(time, true); }

  // Known only when the run is ready to train.
  void SetPlan(int64_t total_steps, int64_t first_step);

  // The rank's last word: into the spool first, then sent when every point was acknowledged. Waits
  // for at most `time`. What is not delivered stays in the spool.
  Delivery Finish(v1::RankExit exit, std::chrono::milliseconds time);

  const ReportSettings& settings() const { return options_.settings; }

 private:
  std::unique_ptr<Spool> OpenSpool() const;
  void Loop();
  // One call each; false when it failed.
  bool Register();
  bool Heartbeat();
  bool ReportExit();
  // Makes a call that Stop can end; the context is prepared here.
  template <typename Call>
  grpc::Status Make(Call&& call, bool waits = false);
  bool Judge(const char* doing, const grpc::Status& status);
  void FollowOrder(Order order, const std::string& reason);
  void SpoolLeaving(const std::string& reason);
  void Warn(const std::string& warning) const;
  void FillExit(v1::RankExit& exit);

  const Options options_;
  const v1::RankName rank_;
  Connection connection_;
  Outbox outbox_;

  std::mutex mutex_;
  std::condition_variable changed_;
  grpc::ClientContext* call_ = nullptr;  // under way
  bool stop_ = false, superseded_ = false, left_ = false;
  int64_t total_steps_ = 0, first_step_ = 0;
  bool register_due_ = true;
  Order order_ = Order::kRun;
  std::optional<v1::RankExit> exit_;  // to be sent
  bool exit_delivered_ = false;
  std::string last_warning_;
  std::chrono::milliseconds interval_ = std::chrono::seconds(5);
  std::unique_ptr<MetricSender> sender_;
  std::thread thread_;
};

}  // namespace syncbn::report
