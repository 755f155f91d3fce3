#include "forecast/recording_reducer.h"

#include <chrono>
#include <utility>

#include "base/error.h"

namespace syncbn::forecast {
namespace {

struct Answer {
  int reduction = 0;
  backend::Event ready;
};

double Seconds(std::chrono::nanoseconds time) {
  return std::chrono::duration<double>(time).count();
}

}  // namespace

RecordingReducer::RecordingReducer(int replicas, const backend::Backend& backend,
                                   const Clock& clock)
    : replicas_(replicas),
      stream_(backend.MakeMergeStream()),
      clock_(clock),
      board_(comm::ReplicaMap(replicas, 1), 0),
      since_(clock.Monotonic()) {}

void RecordingReducer::Note(EventKind kind, int reduction, MonotonicTime began) {
  current_.events.push_back(
      {.kind = kind, .reduction = reduction, .compute = Seconds(began - since_)});
}

comm::Reducer::Handle RecordingReducer::Start(int replica, const comm::Reduction& reduction) {
  const MonotonicTime began = clock_.Monotonic();
  const auto index = static_cast<int>(current_.reductions.size());
  Note(EventKind::kStart, index, began);
  current_.reductions.push_back({.name = std::string(reduction.name),
                                 .operation = reduction.operation,
                                 .dtype = reduction.contribution.dtype(),
                                 .elements = reduction.contribution.elements(),
                                 .channels = {reduction.channels.begin(), reduction.channels.end()},
                                 .group = reduction.group});
  auto answer = std::make_shared<Answer>();
  answer->reduction = index;
  stream_->WaitFor(reduction.ready);
  if (reduction.result.defined() && reduction.contribution.elements() > 0) {
    Tensor result = reduction.result;
    stream_->Copy(reduction.contribution, result);
  }
  answer->ready = stream_->Record();
  since_ = clock_.Monotonic();
  return {std::move(answer), replica};
}

backend::Event RecordingReducer::Wait(const Handle& handle) {
  const MonotonicTime began = clock_.Monotonic();
  const auto& answer = *static_cast<const Answer*>(handle.reduction.get());
  Note(at_end_ ? EventKind::kWaitAtEnd : EventKind::kWaitInPass, answer.reduction, began);
  since_ = clock_.Monotonic();
  return answer.ready;
}

void RecordingReducer::Report(int replica, int64_t step, std::string_view phase,
                              std::string_view layer) {
  board_.Report(replica, step, phase, layer);
  if (!layer.empty()) return;  // a layer's
  if (phase == "gradients") at_end_ = true;
  if (phase != "forward") return;
  const MonotonicTime now = clock_.Monotonic();
  if (begun_) {
    current_.rest = Seconds(now - since_);
    steps_.push_back(std::move(current_));
  }
  current_ = {};
  begun_ = true;
  at_end_ = false;
  since_ = now;
}

void RecordingReducer::ThrowFailure() const {
  throw Error(ErrorCode::kInternal, "a recorded step has failed");
}

}  // namespace syncbn::forecast
