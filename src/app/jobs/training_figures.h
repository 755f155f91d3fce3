// What is worth a line of a job that trains: its newest figures, how long it still takes, its
// evaluations. All is asked for now and then; what cannot be had is left as it was, for figures are
// no reason to stop.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "client/connection.h"

namespace syncbn::app {

class TrainingFigures {
 public:
  // `connection` must outlive this.
  TrainingFigures(client::Connection& connection, std::string job)
      : connection_(connection), job_(std::move(job)) {}

  // "step 120/960  epoch 1.3  loss 0.4321  accuracy 91.2 %  1530 images/s  about 12 s left"; asks for
  // the newest figures at most once a second, and not while the step stays the same.
  std::string Line(const v1::Job& job);

  // Those that have come since the last call, in the order of their steps.
  struct Evaluation {
    WallTime time;
    std::string text;  // "step 96  accuracy 98.80 %  loss 0.0412"
  };
  std::vector<Evaluation> NewEvaluations();
  // The same at most once a second, and not while the step stays the same.
  std::vector<Evaluation> NewEvaluations(const v1::Progress& progress);

  // The last value of the losses and accuracies of training and test, a line each; asks for them.
  std::string Summary();

 private:
  // Once a second, when the step has moved.
  struct Turn {
    MonotonicTime next{};
    int64_t step = -1;
    bool Take(int64_t now_at);
  };
  void UpdateTraining(int64_t step);
  std::optional<double> SecondsLeft(const v1::Job& job);

  client::Connection& connection_;
  const std::string job_;
  Turn training_turn_, evaluation_turn_;
  std::map<std::string, double> train_;
  // By series, the step of the last evaluation that was told.
  std::map<std::string, int64_t> told_;
  // Where an attempt was when it was first seen.
  struct Start {
    int attempt = 0;
    int64_t step = 0;
    double used = 0;
  };
  std::optional<Start> start_;
};

}  // namespace syncbn::app
