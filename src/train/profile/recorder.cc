#include "train/profile/recorder.h"

#include <ctime>
#include <iterator>
#include <utility>

namespace syncbn::train {
namespace {

MonotonicTime Now() {
  return Clock::System().Monotonic();
}

std::chrono::nanoseconds TimeOnCore() {
  std::timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

}  // namespace

Recorder::Recorder(comm::Group replicas, Steps steps)
    : replicas_(replicas), steps_(steps), lanes_(static_cast<size_t>(replicas.size())) {}

void Recorder::BeginStep(int64_t step) {
  const int64_t number = seen_++ - steps_.after;
  if (number < 0 || number >= steps_.count) return;
  step_ = step;
  began_ = Now();
  on_ = true;
}

void Recorder::EndStep(const TimeShares& shares) {
  if (!on_.exchange(false)) return;
  const MonotonicTime now = Now();
  recording_.spans.push_back(
      {.kind = Span::Kind::kStep, .step = step_, .begin = began_, .end = now});
  ++recording_.steps;
  recording_.shares += shares;
  recording_.wall += now - began_;
}

Recorder::Pause::Pause(Recorder* recorder) : recorder_(recorder) {
  if (recorder_ != nullptr) was_on_ = recorder_->on_.exchange(false);
}

Recorder::Pause::~Pause() {
  if (recorder_ != nullptr) recorder_->on_ = was_on_;
}

Recorder::Part::Part(Recorder* recorder, std::string_view name)
    : recorder_(recorder != nullptr && recorder->on_ ? recorder : nullptr) {
  if (recorder_ == nullptr) return;
  span_ = {.kind = Span::Kind::kPart,
           .step = recorder_->step_,
           .name = std::string(name),
           .begin = Now()};
}

Recorder::Part::~Part() {
  if (recorder_ == nullptr) return;
  span_.end = Now();
  recorder_->recording_.spans.push_back(std::move(span_));
}

Recording Recorder::Take() {
  for (Lane& lane : lanes_) {
    std::ranges::move(lane.spans, std::back_inserter(recording_.spans));
    lane = {};
  }
  std::lock_guard lock(passages_mutex_);
  std::ranges::move(passages_, std::back_inserter(recording_.spans));
  passages_.clear();
  return std::exchange(recording_, {});
}

void Recorder::Enter(int replica, std::string_view phase, std::string_view layer) {
  if (!on_) return;
  Lane& lane = LaneOf(replica);
  Close(lane);
  lane.computes = true;
  lane.layer = {.kind = Span::Kind::kLayer,
                .replica = replica,
                .step = step_,
                .name = std::string(layer),
                .phase = std::string(phase),
                .begin = Now()};
  lane.core = TimeOnCore();
  lane.core_in_waits = {};
}

void Recorder::Close(Lane& lane) {
  if (!std::exchange(lane.computes, false)) return;
  lane.layer.end = Now();
  lane.layer.computing = TimeOnCore() - lane.core - lane.core_in_waits;
  lane.spans.push_back(std::move(lane.layer));
}

void Recorder::Rest(int replica) {
  if (!on_) return;
  Lane& lane = LaneOf(replica);
  Close(lane);
  lane.reductions.clear();
}

void Recorder::Started(int replica, const comm::Reducer::Handle& handle,
                       const comm::Reduction& reduction, bool of_layer) {
  if (!on_) return;
  Lane& lane = LaneOf(replica);
  lane.reductions[handle.reduction.get()] = {.kind = Span::Kind::kReduction,
                                             .replica = replica,
                                             .step = step_,
                                             .name = std::string(reduction.name),
                                             .phase = of_layer ? lane.layer.phase : std::string(),
                                             .layer = of_layer ? lane.layer.name : std::string(),
                                             .begin = Now(),
                                             .group = reduction.group.begin};
}

Recorder::Wait::Wait(Recorder* recorder, int replica, std::string_view name)
    : recorder_(recorder != nullptr && recorder->on_ ? recorder : nullptr),
      replica_(replica),
      name_(name) {
  if (recorder_ == nullptr) return;
  begin_ = Now();
  core_ = TimeOnCore();
}

Recorder::Wait::Wait(Recorder* recorder, int replica, const comm::Reducer::Handle& handle)
    : Wait(recorder, replica, std::string_view()) {
  reduction_ = handle.reduction.get();
}

Recorder::Wait::~Wait() {
  if (recorder_ == nullptr) return;
  const MonotonicTime now = Now();
  Lane& lane = recorder_->LaneOf(replica_);
  lane.core_in_waits += TimeOnCore() - core_;
  Span wait{.kind = Span::Kind::kWait,
            .replica = replica_,
            .step = recorder_->step_,
            .name = std::string(name_),
            .begin = begin_,
            .end = now};
  const auto found = lane.reductions.find(reduction_);
  if (found != lane.reductions.end()) {
    Span& reduction = found->second;
    wait.name = reduction.name;
    wait.phase = reduction.phase;
    wait.layer = reduction.layer;
    reduction.end = now;
    lane.spans.push_back(std::move(reduction));
    lane.reductions.erase(found);
  }
  lane.spans.push_back(std::move(wait));
}

void Recorder::Passed(const comm::Passage& passage) {
  if (!on_) return;
  std::lock_guard lock(passages_mutex_);
  passages_.push_back({.kind = Span::Kind::kPassage,
                       .step = step_,
                       .name = std::string(passage.name),
                       .begin = passage.begin,
                       .end = passage.end,
                       .group = passage.group.begin,
                       .messages = passage.messages,
                       .bytes = passage.bytes});
}

}  // namespace syncbn::train
