// Everything one replica's pass through a model needs and leaves behind. Layers hold no state: what
// a forward pass keeps for the backward pass is on the tape here, gradients and moments are
// collected here, and the trainer commits them only when the step is accepted.
//
// Confined to the replica's thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "backend/executor.h"
#include "base/rng.h"
#include "comm/reducer.h"
#include "nn/layer_watch.h"
#include "nn/parameter_set.h"
#include "nn/parameters.h"

namespace syncbn::nn {

enum class Mode {
  kTrain,            // batch statistics, dropout, tape and gradients
  kEvaluate,         // running statistics (batch statistics where none are kept); no tape
  kBatchStatistics,  // batch statistics, moments logged, no dropout; no tape
};

// What an observer is told after a layer's forward (Layer::output_is(): "output", or what it is
// behind more than the layer alone) or backward ("gradient" of its input). The tensor is on the host.
using TensorObserver =
    std::function<void(std::string_view layer, std::string_view what, const Tensor& tensor)>;

struct StepInputs {
  backend::Executor* executor = nullptr;
  const ParameterLayout* parameter_layout = nullptr;
  const RunningStatisticsLayout* running_statistics_layout = nullptr;
  ParameterSet parameters;
  Tensor running_statistics;  // flat F64, read only
  Tensor gradients;           // flat; only for kTrain. Not zeroed by the caller.
  Mode mode = Mode::kTrain;
  comm::ReplicaLink link;
  uint64_t seed = 0;
  int64_t epoch = 0;
  int64_t step = 0;
  // The data set's index of each sample of this replica's batch (keys of dropout).
  std::span<const uint64_t> sample_ids;
  // Whether Model::Backward computes d loss / d images; without it the first layer is spared that
  // work.
  bool input_gradient = true;
  // Whether weights' gradients wait for a time when this replica waits for the others' sums
  // (StepContext::Defer).
  bool defer_weight_gradients = false;
  // Called when a parameter's gradient is complete (kTrain), in backward order.
  std::function<void(int parameter)> on_gradient_ready;
  // For replay; usually empty.
  TensorObserver observer;
  // For probes; usually null.
  LayerWatch* watch = nullptr;
};

// One key for each sample: (seed, purpose, epoch, sample, layer, number of the layer's call in the
// step, from 0).
std::vector<RandomKey> SampleKeys(uint64_t seed, std::string_view purpose, int64_t epoch,
                                  std::span<const uint64_t> sample_ids, std::string_view layer_name,
                                  int call);

class StepContext {
 public:
  // Begins the pass on its executor, with the version of its parameters.
  explicit StepContext(StepInputs inputs);

  const StepInputs& inputs() const { return inputs_; }
  backend::Executor& executor() { return *inputs_.executor; }
  Mode mode() const { return inputs_.mode; }
  bool training() const { return inputs_.mode == Mode::kTrain; }
  const comm::ReplicaLink& link() const { return inputs_.link; }

  // -- Parameters and gradients -----------------------------------------------------------------

  // The parameter, for a forward pass: counted, so that a layer used several times in a step
  // completes its gradient with its last backward.
  Tensor Use(int parameter);
  // The same without counting, for a backward pass.
  Tensor Parameter(int parameter) const;
  // Whether it has a gradient; that of one that has none is 0, nobody need compute it, and what is
  // written to Gradient() is lost.
  bool IsTrained(int parameter) const { return (*inputs_.parameter_layout)[parameter].trained; }
  // Where the gradient goes: written by the first backward of the step, added to by later ones.
  backend::GradientOut Gradient(int parameter);
  // To be called once for each Use, when its part of the gradient has been written.
  void GradientDone(int parameter);
  // Zeroes the gradients of parameters that no backward pass reached (a replica without samples may
  // have skipped layers) and reports them ready. Called once after the backward pass.
  void FinishGradients();

  // -- Work for waits ---------------------------------------------------------------------------

  bool defers() const { return inputs_.defer_weight_gradients; }
  // Gradients that nothing else of the backward pass needs: done by the next RunDeferred, in the
  // order in which they were given, so that gradients are complete in backward order all the same.
  // What `work` holds is kept until then; of more than kMostDeferred the oldest is done at once.
  static constexpr size_t kMostDeferred = 2;
  void Defer(std::function<void()> work);
  // To be called between the start of a reduction and the wait for it, and at the end of the
  // backward pass.
  void RunDeferred();

  // -- Tape -------------------------------------------------------------------------------------

  // Last in, first out: backward runs in the exact reverse order of forward.
  struct Record {
    const void* owner = nullptr;
    std::vector<Tensor> tensors = {};
    std::vector<Shape> shapes = {};
    std::vector<RandomKey> keys = {};
  };
  // Keeps nothing outside kTrain.
  void Save(Record record);
  // Throws INTERNAL when the last record is not the owner's, FAILED_PRECONDITION outside kTrain.
  Record Restore(const void* owner);
  bool tape_empty() const { return tape_.empty(); }

  // -- Moments ----------------------------------------------------------------------------------

  // The block [1, 1 + 2C] of this norm over this replica's samples in this pass, for the layer to
  // merge into; or those of `count` consecutive norms of as many channels, [count, 1 + 2C].
  Tensor MomentsOf(int norm, int64_t count = 1);
  // All of them, flat; count 0 where nothing was logged.
  Tensor& moments() { return moments_; }

  // -- Random keys ------------------------------------------------------------------------------

  // Those of this step's samples; counts the call.
  std::vector<RandomKey> SampleKeys(std::string_view purpose, const void* layer,
                                    std::string_view layer_name);

  // -- Observation ------------------------------------------------------------------------------

  // Tells whoever watches the replica what it does: while it lives this layer, then the one around
  // it, if there is one. `layer` must outlive the run (a layer's own name).
  class Inside {
   public:
    Inside(StepContext& context, std::string_view phase, std::string_view layer);
    ~Inside();
    Inside(const Inside&) = delete;
    Inside& operator=(const Inside&) = delete;

   private:
    StepContext& context_;
    const std::string_view outer_phase_, outer_layer_;
    const int exceptions_;
  };
  void Observe(std::string_view layer, std::string_view what, const Tensor& tensor) const {
    if (inputs_.observer) inputs_.observer(layer, what, tensor.OnHost());
  }
  // A layer's output, to who observes and who watches.
  void ObserveOutput(std::string_view layer, std::string_view what, const Tensor& y) const {
    Observe(layer, what, y);
    if (inputs_.watch != nullptr) inputs_.watch->OnOutput(layer, y);
  }
  void WatchActivation(std::string_view layer, backend::ActivationKind kind,
                       const Tensor& kept) const {
    if (inputs_.watch != nullptr) inputs_.watch->OnActivation(layer, kind, kept);
  }
  // Before the layer's backward: the gradient of its output.
  void WatchOutputGradient(std::string_view layer, const Tensor& dy) const {
    if (inputs_.watch != nullptr && dy.defined()) inputs_.watch->OnOutputGradient(layer, dy);
  }
  // How often statistics of other replicas were waited for.
  int64_t statistics_messages = 0;

 private:
  void Enter(std::string_view phase, std::string_view layer);
  void RunOldest();

  StepInputs inputs_;
  // What the replica does; empty between layers.
  std::string_view phase_, layer_;
  std::vector<int> uses_;
  std::vector<bool> written_;
  std::vector<bool> ready_;
  std::vector<Record> tape_;
  std::deque<std::function<void()>> deferred_;
  Tensor moments_;
  std::unordered_map<const void*, int> calls_;
};

}  // namespace syncbn::nn
