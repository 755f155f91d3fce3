// How the values of each parameter, and of its gradient, are distributed: histograms for
// TensorBoard, of the steps at which probes.activations looks. It gives no figures; only the
// process that has the event file computes anything.
//
// Cost: a copy of parameters and gradients to the host, and two passes over both.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "syncbn/tensorboard/event.pb.h"
#include "tensor/tensor.h"
#include "train/probes/periodic_probe.h"

namespace syncbn::app {

// Of the finite elements of a tensor on the host, F32 or F64, in buckets of equal width; without
// buckets where there are none. What is not finite is left out, as from TensorBoard's own.
tensorboard::HistogramProto HistogramOf(const Tensor& values);

class HistogramProbe : public train::PeriodicProbe {
 public:
  using Take = std::function<void(int64_t step, const std::string& tag,
                                  tensorboard::HistogramProto histogram)>;
  // `take`: empty in processes that have no event file.
  HistogramProbe(int64_t every_steps, Take take)
      : PeriodicProbe(every_steps), take_(std::move(take)) {}

  std::string_view name() const override { return "histograms"; }
  // Tags are parameters/NAME and gradients/NAME, with the names of the run's layers.
  train::NamedFigures Look(const train::ProbedStep& step) override;

 private:
  const Take take_;
};

}  // namespace syncbn::app
