// A point in the work of a stream: all that the stream was given before it.
#pragma once

#include <memory>
#include <utility>

namespace syncbn::backend {

// Copyable; may be handed to other threads. One without state is complete: those of the host are, for there
// a stream is the calling thread.
class Event {
 public:
  // What a device makes of it.
  class State {
   public:
    virtual ~State() = default;
    virtual bool Complete() const = 0;
    virtual void WaitOnHost() const = 0;
  };

  Event() = default;
  explicit Event(std::shared_ptr<const State> state) : state_(std::move(state)) {}

  bool Complete() const { return state_ == nullptr || state_->Complete(); }
  // Sleeps until it is complete.
  void WaitOnHost() const {
    if (state_ != nullptr) state_->WaitOnHost();
  }
  // For the back end that made it; null: complete.
  const State* state() const { return state_.get(); }

 private:
  std::shared_ptr<const State> state_;
};

}  // namespace syncbn::backend
