#include "coordinator/service/metric_intake.h"

#include <algorithm>
#include <limits>

#include "coordinator/api_error.h"
#include "coordinator/service/unreadable.h"

namespace syncbn::coordinator {
namespace {

constexpr std::string_view kMethod = "WorkerService/ReportMetrics";

// gRPC says the same of a message that it cannot read and of the end of a stream. But only for a
// message does it touch what it reads into; no rank has this number.
constexpr int kUntouched = std::numeric_limits<int>::min();

}  // namespace

// Deletes itself when gRPC is done with it. At any time one thing is under way: a read, a task of
// the pool, or a write; each ends with the next, or with Finish, after which nothing here is
// touched.
class MetricIntake::Stream final
    : public grpc::ServerBidiReactor<v1::ReportMetricsRequest, v1::ReportMetricsResponse> {
 public:
  Stream(MetricIntake& intake, grpc::CallbackServerContext& context)
      : intake_(intake), key_(intake.next_++), call_(intake.gate_, context, kMethod) {
    try {
      call_.Admit(nullptr);
    } catch (...) {
      Finish(call_.End(std::current_exception()));
      return;
    }
    Read();
  }

  // Stored, and the end told, on the pool's threads: gRPC's are few.
  void OnReadDone(bool ok) override {
    intake_.pool_.Post(key_, [this, ok] { Handle(ok); });
  }
  void OnWriteDone(bool ok) override {
    if (ok) {
      Read();
    } else {
      intake_.pool_.Post(key_, [this] { Finish(call_.End(Left())); });
    }
  }
  void OnCancel() override { cancelled_ = true; }
  void OnDone() override { delete this; }

 private:
  static grpc::Status Left() {
    return grpc::Status(grpc::StatusCode::CANCELLED, "the client has left");
  }

  void Read() {
    request_.Clear();
    request_.mutable_rank()->set_rank(kUntouched);
    StartRead(&request_);
  }

  void Handle(bool ok) {
    try {
      if (!ok && request_.rank().rank() == kUntouched) {
        Finish(call_.End(cancelled_ ? Left() : grpc::Status::OK));
        return;
      }
      if (!ok) ThrowUnreadable(kMethod);
      Store();
    } catch (...) {
      Finish(call_.End(std::current_exception()));
      return;
    }
    StartWrite(&response_);
  }

  void Store() {
    if (!attempt_) {
      // Which must be the one whose token it showed.
      const AttemptId id = ParseAttemptName(request_.rank().attempt(), "rank.attempt");
      call_.CheckAttempt(id);
      attempt_ = id;
      rank_ = request_.rank().rank();
    }
    const v1::MetricBatch& batch = request_.batch();
    response_.set_acknowledged(intake_.controller_.ReportMetrics(*attempt_, rank_, batch));
    // Only what is new: a batch may come twice, and one after a gap is not taken.
    const int64_t known = std::max(acknowledged_, batch.first_sequence() - 1);
    if (response_.acknowledged() > known) {
      intake_.gate_.options().metrics->CountMetricPoints(response_.acknowledged() - known);
    }
    acknowledged_ = std::max(acknowledged_, response_.acknowledged());
  }

  MetricIntake& intake_;
  const int64_t key_;
  Call call_;
  std::atomic<bool> cancelled_ = false;
  std::optional<AttemptId> attempt_;
  int rank_ = 0;
  int64_t acknowledged_ = 0;
  v1::ReportMetricsRequest request_;
  v1::ReportMetricsResponse response_;
};

MetricIntake::MetricIntake(Controller& controller, CallGate& gate, int threads)
    : controller_(controller), gate_(gate), pool_(threads) {}

grpc::ServerBidiReactor<v1::ReportMetricsRequest, v1::ReportMetricsResponse>* MetricIntake::Take(
    grpc::CallbackServerContext& context) {
  return new Stream(*this, context);
}

}  // namespace syncbn::coordinator
