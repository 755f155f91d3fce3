// What a process does in some steps, moment by moment: the layers that its replicas compute, what
// they wait for, and what reductions are on their way between processes. For `train --profile`.
//
// Times are the host's: on a back end whose work is done when its functions return they are those
// of the layers. Recording changes no result; it costs some 0.5 us a layer.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "comm/passage.h"
#include "comm/reducer.h"
#include "train/step_clock.h"

namespace syncbn::train {

// From `begin` to `end` a replica, or the process, was at one thing.
struct Span {
  enum class Kind {
    kStep,       // a step of the process; `name` is empty
    kPart,       // what the process does itself: "update", and "figures" where a device is waited
                 // for, those of the step before (train/trainer_steps.cc)
    kLayer,      // a replica computes `name` in `phase`: "forward", "backward", or another
    kWait,       // a replica waits for `name`: a reduction, "data", "turn"
    kReduction,  // from the start of a replica's part in the reduction `name` until it has the
                 // result
    kPassage,    // the reduction `name` is on its way between processes
  };
  Kind kind = Kind::kStep;
  int replica = -1;  // -1: the process
  int64_t step = 0;
  std::string name;
  // Of a layer; of a wait or a reduction: of the layer in which it is.
  std::string phase;
  // Of a wait or a reduction: the layer in which it is, "" for those of the step as a whole
  // (gradients, loss, moments).
  std::string layer;
  MonotonicTime begin, end;
  // Of a layer: time of its thread on a core, without that of its waits.
  std::chrono::nanoseconds computing{0};
  // Of a reduction: the first replica of its group.
  int group = 0;
  // Of a passage: what this process sent for it.
  int64_t messages = 0, bytes = 0;

  bool operator==(const Span&) const = default;
};

// A process's part of a profile.
struct Recording {
  std::vector<Span> spans;
  int64_t steps = 0;
  // Of these steps.
  TimeShares shares;
  std::chrono::nanoseconds wall{0};
};

class Recorder {
 public:
  struct Steps {
    int64_t after = 0;  // so many are left out first: they fill caches and pools
    int64_t count = 0;
  };
  // `replicas`: those of the process.
  Recorder(comm::Group replicas, Steps steps);

  // -- On the thread that drives the steps, while no replica is at work -----------------------

  void BeginStep(int64_t step);
  void EndStep(const TimeShares& shares);
  // While it lives nothing is recorded: a probe runs passes of its own.
  class Pause {
   public:
    explicit Pause(Recorder* recorder);
    ~Pause();
    Pause(const Pause&) = delete;
    Pause& operator=(const Pause&) = delete;

   private:
    Recorder* const recorder_;
    bool was_on_ = false;
  };
  // A part of the step: while it lives.
  class Part {
   public:
    Part(Recorder* recorder, std::string_view name);
    ~Part();
    Part(const Part&) = delete;
    Part& operator=(const Part&) = delete;

   private:
    Recorder* const recorder_;
    Span span_;
  };
  // What was recorded; it is gone from here.
  Recording Take();

  // -- On the replica's own thread ------------------------------------------------------------

  // It begins to compute this; what it computed before is over.
  void Enter(int replica, std::string_view phase, std::string_view layer);
  // It has done its part of the step.
  void Rest(int replica);
  // It has given its part to a reduction, which `handle` names; `of_layer`: that the layer needs.
  void Started(int replica, const comm::Reducer::Handle& handle, const comm::Reduction& reduction,
               bool of_layer);
  // While it lives, the replica waits.
  class Wait {
   public:
    Wait(Recorder* recorder, int replica, std::string_view name);
    // For a reduction.
    Wait(Recorder* recorder, int replica, const comm::Reducer::Handle& handle);
    ~Wait();
    Wait(const Wait&) = delete;
    Wait& operator=(const Wait&) = delete;

   private:
    Recorder* const recorder_;
    const int replica_;
    std::string_view name_;
    const void* reduction_ = nullptr;
    MonotonicTime begin_;
    std::chrono::nanoseconds core_{0};
  };

  // -- On any thread --------------------------------------------------------------------------

  void Passed(const comm::Passage& passage);

 private:
  // Of one replica, whose thread alone touches it in a step.
  struct Lane {
    std::vector<Span> spans;
    bool computes = false;
    Span layer;
    // Time of the thread on a core when the layer began, and in waits since.
    std::chrono::nanoseconds core{0}, core_in_waits{0};
    std::map<const void*, Span> reductions;
  };
  Lane& LaneOf(int replica) { return lanes_[static_cast<size_t>(replica - replicas_.begin)]; }
  void Close(Lane& lane);

  const comm::Group replicas_;
  const Steps steps_;
  std::atomic<bool> on_{false};
  int64_t seen_ = 0;
  int64_t step_ = 0;
  MonotonicTime began_;
  Recording recording_;
  std::vector<Lane> lanes_;
  std::mutex passages_mutex_;
  std::vector<Span> passages_;
};

}  // namespace syncbn::train
