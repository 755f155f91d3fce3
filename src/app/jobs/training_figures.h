// The figures of a running job that are worth a line, asked for now and then.
#pragma once

#include <map>
#include <string>

#include "base/clock.h"
#include "client/connection.h"

namespace syncbn::app {

class TrainingFigures {
 public:
  // `connection` must outlive this.
  TrainingFigures(client::Connection& connection, std::string job)
      : connection_(connection), job_(std::move(job)) {}

  // Asks for the newest figures; at most once a second, and not while the step stays the same.
  // Returns whether it asked. What cannot be had is left as it was: figures are no reason to stop.
  bool Update(const v1::Progress& progress);
  // "step 120/960  epoch 1.3  loss 0.4321  accuracy 91.2 %  1530 images/s  12 s left"
  std::string Line(const v1::Progress& progress) const;
  // "step 96  test accuracy 98.8 %  test loss 0.0412", once for each evaluation; empty otherwise.
  std::string TakeEvaluation();
  // The last value of each series of training and test, a line each; asks for them.
  std::string Summary();

 private:
  client::Connection& connection_;
  const std::string job_;
  MonotonicTime next_{};
  int64_t asked_step_ = -1;
  std::map<std::string, double> train_;
  std::map<std::string, double> test_;
  int64_t test_step_ = -1;
  bool new_test_ = false;
};

}  // namespace syncbn::app
