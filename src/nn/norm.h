// What every normalization has in common: xhat = (x - mean) / sqrt(var + epsilon), y = gamma xhat +
// beta, optionally plus a residual and followed by ReLU in the same pass over memory. The kinds
// differ in which elements share a mean and a variance.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backend/specs.h"
#include "nn/layer.h"

namespace syncbn::nn {

// The matrix rows x channels of x cut into segments of `samples` samples each. Precondition:
// samples divides the samples of x.
backend::RowLayout LayoutOf(const Shape& x, int64_t segments, int64_t samples);

// The time steps that a norm within a recurrent layer gets, one behind the other along the first
// axis. A layer over images has one.
struct TimeSteps {
  int64_t first = 0;
  int64_t count = 1;
};

class Norm : public Layer {
 public:
  struct Options {
    // Indices of gamma and beta, [C]; none: 1 and 0.
    std::optional<int> gamma = std::nullopt;
    std::optional<int> beta = std::nullopt;
    double epsilon = 1e-5;
  };

  Norm(std::string name, const Options& options) : Layer(std::move(name)), options_(options) {}

  Shape OutputShape(const Shape& input) const override { return input; }
  std::string_view output_is() const override { return relu_ ? "output behind ReLU" : "output"; }
  // The same of a pass with a residual.
  std::string_view sum_is() const {
    return relu_ ? "sum with the shortcut, behind ReLU" : "sum with the shortcut";
  }
  Tensor Forward(Tensor x, StepContext& context) const final;
  Tensor Backward(Tensor dy, StepContext& context) const final;

  // The statistics of x, and what is still to be waited for.
  struct Pending {
    Tensor x;
    TimeSteps steps;
    backend::RowLayout layout;
    // F64 [segments, C]; undefined until Finish where other replicas take part.
    Tensor mean, inv_std;
    // Elements behind each segment's statistics; undefined when they do not depend on x.
    Tensor counts;  // F64 [segments]
    // Moments under way.
    Tensor message;
    std::vector<int64_t> channels;  // of its blocks
    comm::Reducer::Handle handle;
    // Of batch renormalization, while training; else undefined.
    backend::Renorm renorm;
    // Of iterative normalization: moments of the slices that are not sent, and what whitens them.
    Tensor moments;
    std::vector<backend::Whitening> whitenings;

    void Set(backend::Statistics statistics) {
      mean = std::move(statistics.mean);
      inv_std = std::move(statistics.inv_std);
      counts = std::move(statistics.counts);
    }
  };
  // Forward is Finish(Start(x)); other work may lie between, while the message is under way.
  // x has the samples of each step.
  Pending Start(Tensor x, StepContext& context, TimeSteps steps = {}) const;
  // residual: undefined, or of x's shape.
  Tensor Finish(Pending pending, const Tensor& residual, StepContext& context) const;
  // For a forward pass with a residual: returns dx, and d loss / d residual in *dresidual.
  Tensor Backward(Tensor dy, Tensor* dresidual, StepContext& context) const;

  // For whoever builds a model: ReLU (after the residual, if any) becomes a part of this layer.
  void FuseRelu() { relu_ = true; }
  bool relu() const { return relu_; }

 protected:
  double epsilon() const { return options_.epsilon; }
  const Options& options() const { return options_; }

  virtual void StartStatistics(Pending& pending, StepContext& context) const = 0;
  virtual void FinishStatistics(Pending& pending, StepContext& context) const = 0;

  // This replica's sums of a backward pass.
  struct Sums {
    const backend::RowLayout& layout;
    // F64 [2, segments, C]: of dy, and of dy * xhat.
    const Tensor& both;
    // The two of them, F64 [segments, C].
    const Tensor& dy;
    const Tensor& dy_xhat;
    const Tensor& counts;
    // Undefined: 1.
    const Tensor& gamma;
    // Time steps that the segments belong to, equally many to each.
    int64_t steps;
    // See Pending.
    const backend::Renorm& renorm;
  };
  // Sends what other replicas need; returns an empty handle when nobody does.
  virtual comm::Reducer::Handle StartInputTerms(const Sums& sums, Tensor& message,
                                                StepContext& context) const {
    return nullptr;
  }
  virtual backend::InputTerms FinishInputTerms(const Sums& sums,
                                               const comm::Reducer::Handle& handle,
                                               const Tensor& message,
                                               StepContext& context) const = 0;

  // From the gradient of what was normalized to that of the layer's input, where FinishStatistics
  // has put something else into its place.
  virtual Tensor BackwardThroughStatistics(Tensor dx, StepContext& context) const { return dx; }

  // Waits for a message of statistics and counts the time.
  static void WaitForStatistics(const comm::Reducer::Handle& handle, StepContext& context);

 private:
  Tensor UseIfAny(std::optional<int> parameter, StepContext& context) const;
  void WriteParameterGradients(const Sums& sums, StepContext& context) const;

  const Options options_;
  bool relu_ = false;
};

}  // namespace syncbn::nn
