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
  // Updates so far: accepted steps.
  int64_t updates = 0;

  // A copy with memory of its own.
  OptimizerState Clone() const;
};

struct UpdateInputs {
  double learning_rate = 0;
  // The gradient is multiplied by this first (clipping).
  double gradient_scale = 1;
  // Flat, of the mean loss over the SGD batch.
  Tensor gradients;
};

// With g the scaled gradient and d the weight decay (0 for exempt parameters):
//   sgd    g += d w (coupled) or w -= rate d w (decoupled); v = momentum v + g; w -= rate v,
//          or w -= rate (g + momentum v) with nesterov (PyTorch's form: the rate is not in v)
//   lars   sgd on trust (g + d w), trust = trust_coefficient |w| / (|g| + d |w|), or 1 where |w|
//          or |g| is 0 (You et al. 2017); norms of each tensor, in double over fixed blocks
//   adamw  Loshchilov and Hutter 2019, decay always decoupled
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
  // Zeros, no updates.
  OptimizerState InitialState(DType dtype) const;

  // One update of parameters and state in place. Only the gradients' finite values make sense here.
  void Update(backend::Executor& executor, const UpdateInputs& inputs, Tensor& parameters,
              OptimizerState& state) const;
  // The same for parameters [begin, end) only, without counting the update: parameters do not
  // depend on each other, so several threads may share an update; one of them adds 1 to
  // state.updates afterwards.
  void UpdateRange(backend::Executor& executor, const UpdateInputs& inputs, int begin, int end,
                   Tensor& parameters, OptimizerState& state) const;

  // Views of the state for files: "optimizer.velocity.layer1.0.conv1.weight".
  std::vector<NamedTensor> StateTensors(const OptimizerState& state) const;

  // Whether weight decay acts on the parameter.
  bool Decays(const nn::Parameter& parameter) const;

 private:
  double TrustRatio(backend::Executor& executor, double gradient_scale, double coupled_decay,
                    const Tensor& weight, const Tensor& gradient) const;

  v1::OptimizerSpec spec_;
  const nn::ParameterLayout& layout_;
  bool decoupled_;
  std::vector<std::string_view> slots_;
};

struct GradientNorm {
  // Euclidean norm of all gradients together. Infinite or NaN when !finite.
  double norm = 0;
  // Whether every element is finite.
  bool finite = true;
};

// Sum over the parameters, in the layout's order, of each tensor's sum of squares: in double, so
// float32 gradients cannot overflow it.
GradientNorm GlobalNorm(backend::Executor& executor, const nn::ParameterLayout& layout,
                        const Tensor& gradients);

// The factor that brings gradients of this norm down to clip_norm; 1 where they are below it, or
// when clip_norm is 0 (never clip).
double ClipScale(double norm, double clip_norm);

}  // namespace syncbn::train
