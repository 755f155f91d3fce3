#include "nn/recurrent.h"

#include <vector>

#include "base/check.h"

namespace syncbn::nn {
namespace {

Tensor Normalize(const Norm& norm, Tensor x, TimeSteps steps, StepContext& context) {
  return InLayer(norm, "forward", context, [&] {
    return norm.Finish(norm.Start(std::move(x), context, steps), Tensor(), context);
  });
}

Tensor NormalizeBackward(const Norm& norm, Tensor dy, StepContext& context) {
  return InLayer(norm, "backward", context, [&] { return norm.Backward(std::move(dy), context); });
}

Tensor AsMatrix(const Tensor& x) {
  return x.Reshape({x.shape().rows(), x.shape().channels()});
}

// What the time steps of an LSTM leave for the backward pass; each has one entry a step, cells one
// more.
struct LstmSteps {
  std::vector<Tensor> gates, cells, tanh_u;
};

}  // namespace

Recurrent::Recurrent(std::string name, const Options& options, Norms norms)
    : Layer(std::move(name)),
      options_(options),
      gates_(options.lstm ? 4 * options.hidden : options.hidden),
      norms_(std::move(norms)) {
  SYNCBN_CHECK(norms_.ih != nullptr || (norms_.hh == nullptr && norms_.cell == nullptr));
}

Shape Recurrent::OutputShape(const Shape& input) const {
  if (input.rank() != 4) {
    throw Error(ErrorCode::kInvalidArgument,
                std::string(options_.lstm ? "lstm" : "rnn") +
                    ": the input must be [N, H, W, C], whose rows are the time steps, got " +
                    input.ToString())
        .AddFrame("layer " + name());
  }
  return {input[0], options_.hidden};
}

Tensor Recurrent::Rows(const Tensor& x, int64_t steps, StepContext& context) const {
  const Shape& shape = x.shape();
  const Tensor all = x.Reshape({shape[0], shape[1], shape[2] * shape[3]});
  if (norms_.over_time && steps == shape[1]) return all;
  Tensor rows = context.executor().SwapLeadingAxes(all, steps);
  if (norms_.over_time) rows = context.executor().SwapLeadingAxes(rows, shape[0]);
  return rows;
}

Tensor Recurrent::InputShares(const Tensor& rows, int64_t steps, StepContext& context) const {
  const Tensor weight = context.Use(options_.weight_ih);
  const Tensor bias = options_.bias_ih ? context.Use(*options_.bias_ih) : Tensor();
  backend::Executor& executor = context.executor();
  const Shape shape{rows.shape()[0], rows.shape()[1], gates_};
  Tensor shares = executor.LinearForward(AsMatrix(rows), weight, bias);
  if (norms_.over_time) {
    shares = Normalize(*norms_.ih, shares.Reshape(shape), {}, context);
    return executor.SwapLeadingAxes(shares, steps);
  }
  if (norms_.ih != nullptr) {
    shares = Normalize(*norms_.ih, std::move(shares), {.count = steps}, context);
  }
  return shares.Reshape(shape);
}

Tensor Recurrent::Forward(Tensor x, StepContext& context) const {
  backend::Executor& executor = context.executor();
  const Shape x_shape = x.shape();
  const int64_t samples = x_shape[0], hidden = options_.hidden;
  const int64_t steps = context.training() ? options_.train_rows.value_or(x_shape[1]) : x_shape[1];
  Tensor rows = Rows(x, steps, context);
  x = Tensor();
  const Tensor shares = InputShares(rows, steps, context);
  const Tensor weight = context.Use(options_.weight_hh);
  const Tensor bias = options_.bias_hh ? context.Use(*options_.bias_hh) : Tensor();
  // Those before each step, and the last.
  const Tensor states = executor.New({steps + 1, samples, hidden});
  Tensor state = At(states, 0);
  executor.Zero(state);
  LstmSteps lstm;
  if (options_.lstm) {
    lstm.cells.push_back(executor.New({samples, hidden}));
    executor.Zero(lstm.cells);
  }
  for (int64_t step = 0; step < steps; ++step) {
    Tensor share = executor.LinearForward(state, weight, bias);
    if (norms_.hh != nullptr) {
      share = Normalize(*norms_.hh, std::move(share), {.first = step}, context);
    }
    state = At(states, step + 1);
    if (!options_.lstm) {
      executor.RnnForward(At(shares, step), share, state);
      continue;
    }
    backend::LstmCell cell =
        executor.LstmCellForward(At(shares, step), std::move(share), lstm.cells.back());
    Tensor u = norms_.cell == nullptr
                   ? cell.cell
                   : Normalize(*norms_.cell, cell.cell, {.first = step}, context);
    Tensor tanh_u = executor.LstmStateForward(cell.gates, std::move(u), state);
    if (!context.training()) lstm.cells.clear();
    lstm.cells.push_back(std::move(cell.cell));
    if (!context.training()) continue;
    lstm.gates.push_back(std::move(cell.gates));
    lstm.tanh_u.push_back(std::move(tanh_u));
  }
  std::vector<Tensor> saved = {std::move(rows), states};
  for (std::vector<Tensor>* tensors : {&lstm.gates, &lstm.cells, &lstm.tanh_u}) {
    saved.insert(saved.end(), tensors->begin(), tensors->end());
  }
  context.Save({.owner = this, .tensors = std::move(saved), .shapes = {x_shape}});
  return state;
}

Tensor Recurrent::Backward(Tensor dy, StepContext& context) const {
  const StepContext::Record record = context.Restore(this);
  const Tensor& rows = record.tensors[0];
  const Tensor& states = record.tensors[1];
  const int64_t steps = states.shape()[0] - 1, samples = states.shape()[1];
  // Of an LSTM: see LstmSteps.
  const auto gates = [&](int64_t step) -> const Tensor& {
    return record.tensors[static_cast<size_t>(2 + step)];
  };
  const auto cell = [&](int64_t step) -> const Tensor& { return gates(steps + step); };
  const auto tanh_u = [&](int64_t step) -> const Tensor& { return gates(2 * steps + 1 + step); };

  backend::Executor& executor = context.executor();
  const Tensor weight = context.Parameter(options_.weight_hh);
  // d loss / d z, and that of W_hh h: the same but for a norm.
  const Tensor dz = executor.New({steps, samples, gates_});
  const Tensor dshares = norms_.hh == nullptr ? dz : executor.New(dz.shape());
  Tensor dstate = std::move(dy), dcell;
  for (int64_t step = steps - 1; step >= 0; --step) {
    Tensor dsum = At(dz, step);
    if (options_.lstm) {
      Tensor du = executor.LstmStateBackward(gates(step), tanh_u(step), dstate);
      if (norms_.cell != nullptr) du = NormalizeBackward(*norms_.cell, std::move(du), context);
      dcell = dcell.defined() ? executor.Add(std::move(du), dcell) : std::move(du);
      dcell = executor.LstmCellBackward(gates(step), cell(step), tanh_u(step), dstate,
                                        std::move(dcell), dsum);
    } else {
      executor.RnnBackward(At(states, step + 1), dstate, dsum);
    }
    if (norms_.hh != nullptr) {
      Tensor dshare = At(dshares, step);
      executor.Copy(NormalizeBackward(*norms_.hh, dsum, context), dshare);
    }
    // That of the state before the first step is nobody's.
    if (step > 0) dstate = executor.LinearBackwardInput(At(dshares, step), weight);
  }
  // Of the layers behind, where no norm of this one has waited.
  context.RunDeferred();
  const Tensor before = states.Slice(0, {steps * samples, options_.hidden});
  executor.LinearBackwardWeights(
      before, AsMatrix(dshares), context.Gradient(options_.weight_hh),
      options_.bias_hh ? context.Gradient(*options_.bias_hh) : backend::GradientOut{});
  // In the reverse of the order in which they are declared: that of the layout, from its end.
  if (options_.bias_hh) context.GradientDone(*options_.bias_hh);
  context.GradientDone(options_.weight_hh);
  return InputBackward(rows, dz, record.shapes[0], context);
}

Tensor Recurrent::InputBackward(const Tensor& rows, const Tensor& dz, const Shape& x_shape,
                                StepContext& context) const {
  backend::Executor& executor = context.executor();
  Tensor dshares = AsMatrix(dz);
  if (norms_.over_time) {
    dshares = executor.SwapLeadingAxes(dz, x_shape[0]);
    dshares = AsMatrix(NormalizeBackward(*norms_.ih, std::move(dshares), context));
  } else if (norms_.ih != nullptr) {
    dshares = NormalizeBackward(*norms_.ih, std::move(dshares), context);
  }
  executor.LinearBackwardWeights(
      AsMatrix(rows), dshares, context.Gradient(options_.weight_ih),
      options_.bias_ih ? context.Gradient(*options_.bias_ih) : backend::GradientOut{});
  if (options_.bias_ih) context.GradientDone(*options_.bias_ih);
  context.GradientDone(options_.weight_ih);
  if (options_.first && !context.inputs().input_gradient) return Tensor();
  Tensor drows = executor.LinearBackwardInput(dshares, context.Parameter(options_.weight_ih))
                     .Reshape(rows.shape());
  const int64_t steps = dz.shape()[0];
  if (norms_.over_time) {
    if (steps == x_shape[1]) return drows.Reshape(x_shape);
    drows = executor.SwapLeadingAxes(drows, steps);
  }
  const Shape features{x_shape[0], x_shape[1], x_shape[2] * x_shape[3]};
  return executor.SwapLeadingAxesBackward(features, drows).Reshape(x_shape);
}

}  // namespace syncbn::nn
