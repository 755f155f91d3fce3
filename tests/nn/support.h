// What the tests of layers and models share: specs, inputs, one pass of one replica, comparisons.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "nn/model.h"
#include "tests/support/gradient_check.h"

namespace syncbn::nn {

// -- Specs ---------------------------------------------------------------------------------------
// A ModelSpec from protobuf text, e.g. "architecture: 'resnet20' norm {kind: NORM_KIND_GROUP}",
// with the run file's defaults filled in and the norms of `layers` inheriting from `norm`.
v1::ModelSpec ParseModel(const std::string& text);
// Such text of a model by name.
inline std::string Named(const std::string& architecture, const std::string& rest = "") {
  return "architecture: '" + architecture + "' " + rest;
}
// One batch size for all replicas, or one for each.
v1::ClusterSpec MakeCluster(int replicas, const std::vector<int>& batches);
// Builds from text, for images of height x width x channels.
std::unique_ptr<Model> MakeModel(const std::string& text, const InputSpec& input,
                                 const v1::ClusterSpec& cluster = MakeCluster(1, {4}),
                                 const BuildOptions& options = {});
// Of its parameters, in their order.
std::vector<std::string> ParameterNames(const Model& model);

// -- Inputs --------------------------------------------------------------------------------------
// F64, drawn from the name alone; numbers that float32 can hold, so that every back end gets the
// same.
Tensor RandomNormal(Shape shape, std::string_view name, double mean = 0, double std = 1);
// A copy of another floating type.
Tensor As(const Tensor& x, DType dtype);
// The same values for an executor, in its types: activations; parameters.
inline Tensor ForExecutor(backend::Executor& executor, const Tensor& x) {
  const DType type = executor.types().activations;
  return executor.ToDevice(As(x, type), type);
}
// UpdatedRunningStatistics on a new executor of the reference back end, from and to the host.
Tensor UpdatedOnHost(const RunningStatisticsLayout& layout, const RunningRule& rule,
                     const Tensor& state, const Tensor& moments);
// The concatenation along the first axis.
Tensor Stacked(const std::vector<Tensor>& parts);
// The model's initial parameters, with every scale, shift and bias replaced by something random
// near its initial value, so that no gradient is zero by accident. F64, of values that float32 can
// hold.
Tensor RandomParameters(const Model& model, uint64_t seed = 1);
// Running statistics as after some steps: means around 0, variances around 1.
Tensor RandomRunningStatistics(const Model& model);

// -- Passes --------------------------------------------------------------------------------------
// One replica's part of a pass.
struct Part {
  Tensor images;
  // d loss / d logits: the loss is Dot(logits, dlogits).
  Tensor dlogits;
  std::vector<uint64_t> ids;
};
// Part `index` of random data: images around `mean`, ids from first_id.
Part RandomPart(const InputSpec& input, int64_t samples, std::string_view name, double mean = 0,
                uint64_t first_id = 0);
Part StackedParts(const std::vector<Part>& parts);

struct PassSettings {
  Tensor parameters;  // F64; given to the back end in its own type
  Tensor running_statistics;
  Mode mode = Mode::kTrain;
  comm::ReplicaLink link = {};
  uint64_t seed = 1;
  int64_t epoch = 0;
  int64_t step = 0;
  // Whether backward runs too, in kTrain.
  bool backward = true;
  bool input_gradient = true;
  // Whether weights' gradients are deferred where statistics cross replicas, as a training step has
  // them.
  bool defer = true;
};

// A parameter whose gradient was complete, and how many messages this process had sent by then.
struct ReadyGradient {
  int parameter = 0;
  int64_t messages = 0;
};

struct PassResult {
  Tensor logits;
  Tensor dimages;    // these three only in kTrain
  Tensor gradients;  // flat
  Tensor moments;
  int64_t statistics_messages = 0;
  std::vector<ReadyGradient> ready;  // in the order in which they were complete
};

// Forward, and in kTrain backward. Checks that the tape is empty at the end.
PassResult RunPass(const Model& model, backend::Executor& executor, const PassSettings& settings,
                   const Part& part);
// The same on a new executor of the reference back end.
PassResult RunPass(const Model& model, const PassSettings& settings, const Part& part);

// The inputs of a numeric check: every parameter as a view of the flat tensor, then the images.
std::vector<Tensor> CheckedInputs(const Model& model, const Tensor& parameters,
                                  const std::vector<Part>& parts);
// Parameter and input gradients of a training pass of one replica against differences.
::testing::AssertionResult GradientsHold(const Model& model, const PassSettings& settings,
                                         const Part& part,
                                         const GradientCheckOptions& options = {});

// -- Comparisons ---------------------------------------------------------------------------------
// The largest |a - b|; infinity when something is NaN. Precondition: equal element counts.
double MaxDifference(const Tensor& a, const Tensor& b);
double MaxAbsolute(const Tensor& x);
// max |actual - expected| <= tolerance * max(1, max |expected|), with equal shapes.
::testing::AssertionResult Near(const Tensor& actual, const Tensor& expected, double tolerance);
// Equal shapes, types and bits.
::testing::AssertionResult SameBits(const Tensor& actual, const Tensor& expected);
// Runs body and returns what the Error it throws says; fails the test when it throws none.
std::string ErrorOf(const std::function<void()>& body);

}  // namespace syncbn::nn
