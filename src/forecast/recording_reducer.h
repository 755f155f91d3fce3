// A reducer for one replica of many that are not there: it notes what the replica starts and waits
// for, and answers at once with what the replica itself gave. So the step of a process in a cluster
// of any size runs on this machine, at the speed of its own work: sums lack the others' parts,
// which changes values and not what is computed.
//
// Used by one replica at a time.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "base/clock.h"
#include "comm/progress_board.h"
#include "comm/reducer.h"
#include "forecast/step_program.h"

namespace syncbn::forecast {

class RecordingReducer : public comm::Reducer {
 public:
  RecordingReducer(int replicas, const backend::Backend& backend,
                   const Clock& clock = Clock::System());

  int replicas() const override { return replicas_; }
  Handle Start(int replica, const comm::Reduction& reduction) override;
  backend::Event Wait(const Handle& handle) override;
  void Progress() override {}
  void Poison(int replica, std::string_view cause) override {}
  void Report(int replica, int64_t step, std::string_view phase, std::string_view layer) override;
  comm::ProgressBoard& board() override { return board_; }
  bool CheckWaits() override { return false; }
  bool failed() const override { return false; }
  [[noreturn]] void ThrowFailure() const override;
  comm::ReducerCounters counters() const override { return {}; }

  // Those that are complete: a step ends where the next one begins. Only between steps.
  const std::vector<StepProgram>& steps() const { return steps_; }
  // Also the one that was begun last, whose `rest` is not known.
  StepProgram last() const { return current_; }

 private:
  void Note(EventKind kind, int reduction, MonotonicTime began);

  const int replicas_;
  const std::unique_ptr<backend::MergeStream> stream_;
  const Clock& clock_;
  comm::ProgressBoard board_;
  std::vector<StepProgram> steps_;
  StepProgram current_;
  bool begun_ = false, at_end_ = false;
  // When the last event was over.
  MonotonicTime since_;
};

}  // namespace syncbn::forecast
