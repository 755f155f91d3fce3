// Recurrent layers over the rows of an image, from the first to the last; x_t are the pixels of row
// t, from the first to the last, each with its channels. h and c are 0 before the first row, and
// the output is the h behind the last, [N, hidden].
//
//   rnn (Elman 1990)                             h' = tanh(z)
//   lstm (Hochreiter and Schmidhuber 1997,       z = i, f, g, o;  c' = sigmoid(f) c + sigmoid(i)
//   tanh(g)
//         Gers et al. 2000)                      h' = sigmoid(o) tanh(c')
//
// without norms  z = W_ih x_t + b_ih + W_hh h + b_hh, PyTorch's nn.RNN and nn.LSTM (batch_first)
// with norms     z = N_ih(W_ih x_t) + N_hh(W_hh h), whose one bias is the shift of N_ih, and
// tanh(N_c(c')): batch
//                norm of each time step (Cooijmans et al. 2017), layer norm (Ba et al. 2016); or
//                N_ih alone, over time, too (Laurent et al. 2016)
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "nn/layer.h"
#include "nn/norm.h"

namespace syncbn::nn {

class Recurrent : public Layer {
 public:
  struct Options {
    bool lstm = false;
    int64_t hidden = 0;
    // Rows that a training pass reads; none: all. Other passes read all.
    std::optional<int64_t> train_rows = std::nullopt;
    // The layer's input is the images (WeightedLayer).
    bool first = false;
    // Parameters: [G, W C], [G, hidden] and [G], where G is hidden, or 4 hidden of an LSTM.
    int weight_ih = 0, weight_hh = 0;
    // Only those without a norm that has them as its shift, or that would cancel them.
    std::optional<int> bias_ih = std::nullopt, bias_hh = std::nullopt;
  };
  // Null: none there. They get all time steps in one call (ih) or one after the other.
  struct Norms {
    std::unique_ptr<Norm> ih, hh, cell;
    // Whether ih gets [N, time steps, G], without regard to which step it is.
    bool over_time = false;
  };

  Recurrent(std::string name, const Options& options, Norms norms);

  Shape OutputShape(const Shape& input) const override;
  Tensor Forward(Tensor x, StepContext& context) const override;
  Tensor Backward(Tensor dy, StepContext& context) const override;

 private:
  // The elements of one time step in a tensor [time steps, N, width].
  static Tensor At(const Tensor& steps, int64_t step) {
    const Shape& shape = steps.shape();
    const Shape of_one{shape[1], shape[2]};
    return steps.Slice(step * of_one.elements(), of_one);
  }
  // Samples of time steps or time steps of samples, as ih takes them: [.., .., features].
  Tensor Rows(const Tensor& x, int64_t steps, StepContext& context) const;
  // N_ih(W_ih x) + b_ih, [time steps, N, G].
  Tensor InputShares(const Tensor& rows, int64_t steps, StepContext& context) const;
  Tensor InputBackward(const Tensor& rows, const Tensor& dz, const Shape& x_shape,
                       StepContext& context) const;

  const Options options_;
  const int64_t gates_;  // G
  const Norms norms_;
};

}  // namespace syncbn::nn
