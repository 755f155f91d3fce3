// How parameters move (SGD with momentum, LARS, AdamW), and the norm that clips gradients.
//
// An Optimizer is a description without state, immutable and thread-safe: what changes is the
// OptimizerState that the caller owns. An update is a function of its arguments alone, so a step
// that is not accepted leaves no trace: it is just not called.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "backend/executor.h"
#include "nn/parameters.h"
#include "syncbn/v1/run.pb.h"
#include "train/named_tensor.h"

namespace syncbn::train {

// Flat tensors in the layout of the parameters, one for each name in Optimizer::slots().
struct OptimizerState {
  std::vector<Tensor> slots;
  // Updates so far: accepted steps. F64 [1].
  Tensor updates;

  // A copy with memory of its own.
  OptimizerState Clone(backend::Stream& stream) const;
  OptimizerState ToDevice(backend::Stream& stream) const;
  OptimizerState OnHost() const;
};

// A count of updates on the host, and what one says.
Tensor UpdateCount(int64_t updates);
int64_t UpdatesOf(const OptimizerState& state);

using backend::UpdateInputs;

// With g the scaled gradient and d the weight decay (0 for exempt parameters):
//   sgd    g += d w (coupled) or w -= rate d w (decoupled); v = momentum v + g; w -= rate v,
//          or w -= rate (g + momentum v) with nesterov (PyTorch's form: the rate is not in v)
//   lars   sgd on trust (g + d w), trust = trust_coefficient |w| / (|g| + d |w|), or 1 where |w|
//          or |g| is 0 (You et al. 2017); norms of each tensor, in double over fixed blocks
//   adamw  Loshchilov and Hutter 2019, decay always decoupled
// What is not trained (nn::Parameter::trained) is not moved, and its state stays 0.
// Norm scales (weight norm's gains among them), norm shifts and biases are exempt from decay unless
// decay_norms_and_biases, which is off by default under lars; what is exempt keeps trust 1 under
// lars too, as in MLPerf's reference.
class Optimizer {
 public:
  // `spec` is validated and complete; `layout` must outlive the optimizer.
  Optimizer(const v1::OptimizerSpec& spec, const nn::ParameterLayout& layout);

  // Names of the state's tensors: "velocity" (sgd and lars with momentum), or "mean" and "square"
  // (adamw).
  const std::vector<std::string_view>& slots() const { return slots_; }
  // Zeros, no updates. On the host.
  OptimizerState InitialState(DType dtype) const;

  // One update of parameters and state in place, if the verdict is that the step is accepted.
  // `inputs.squares`, of each parameter, are looked at by lars alone.
  void Update(backend::Executor& executor, const UpdateInputs& inputs, Tensor& parameters,
              OptimizerState& state) const;

  // Views of the state for files: "optimizer.velocity.layer1.0.conv1.weight".
  std::vector<NamedTensor> StateTensors(const OptimizerState& state) const;

  // Whether weight decay acts on the parameter.
  bool Decays(const nn::Parameter& parameter) const;

 private:
  v1::OptimizerSpec spec_;
  const nn::ParameterLayout& layout_;
  backend::UpdateSpec update_;
  std::vector<std::string_view> slots_;
};

// F64 [parameters]: the sum of squares of each, in double over fixed blocks, so float32 cannot overflow it.
Tensor SquaredNorms(backend::Executor& executor, const nn::ParameterLayout& layout,
                    const Tensor& flat);

}  // namespace syncbn::train
