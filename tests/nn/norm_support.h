// Models that are nothing but one norm, and its definition in plain loops.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/nn/support.h"

namespace syncbn::nn {

// Images of h x w x c whose logits are the norm's output, [N, C, H, W] flattened. `norm` is the
// text of a NormSpec; `rest` may hold more layers behind it ("layers {relu {}}").
struct NormNet {
  InputSpec input;
  std::unique_ptr<Model> model;

  NormNet(int64_t height, int64_t width, int64_t channels, const std::string& norm,
          const v1::ClusterSpec& cluster = MakeCluster(1, {8}), const std::string& rest = "",
          const BuildOptions& options = {})
      : input{height, width, channels, height * width * channels},
        model(MakeModel("layers {norm {" + norm + "}} " + rest + " layers {flatten {}}", input,
                        cluster, options)) {}

  PassSettings Settings(Mode mode = Mode::kTrain) const {
    return {.parameters = RandomParameters(*model),
            .running_statistics = RandomRunningStatistics(*model),
            .mode = mode};
  }
  Part Data(int64_t samples, std::string_view name = "x", double mean = 0.5) const {
    return RandomPart(input, samples, name, mean);
  }
  // In the layout of images, [N,H,W,C].
  Tensor AsImages(const Tensor& logits) const;
  Tensor Gradient(const PassResult& result, std::string_view parameter) const {
    return model->parameters().View(result.gradients, model->parameters().Find(parameter));
  }
};

// (x - mean) / sqrt(var + epsilon), where the elements of x [N,H,W,C] with the same `set` (a
// function of sample and channel) share mean and biased variance.
template <typename Set>
Tensor Normalized(const Tensor& x, double epsilon, Set set);

// The moments [count, mean[C], m2[C]] over all samples.
Tensor MomentsOf(const Tensor& x);

// -- Definitions ---------------------------------------------------------------------------------

inline Tensor NormNet::AsImages(const Tensor& logits) const {
  const int64_t samples = logits.shape()[0];
  Tensor x(Shape{samples, input.height, input.width, input.channels}, DType::kFloat64);
  const int64_t area = input.height * input.width;
  for (int64_t n = 0; n < samples; ++n) {
    for (int64_t p = 0; p < area; ++p) {
      for (int64_t c = 0; c < input.channels; ++c) {
        x.Data<double>()[(n * area + p) * input.channels + c] =
            logits.Data<double>()[n * area * input.channels + c * area + p];
      }
    }
  }
  return x;
}

template <typename Set>
Tensor Normalized(const Tensor& x, double epsilon, Set set) {
  const int64_t channels = x.shape().channels();
  const int64_t per_sample = x.shape()[0] == 0 ? 1 : x.elements() / x.shape()[0];
  const auto set_of = [&](int64_t i) {
    return static_cast<size_t>(set(i / per_sample, i % channels));
  };
  std::vector<double> count, mean, square;
  for (int64_t i = 0; i < x.elements(); ++i) {
    if (set_of(i) >= count.size()) count.resize(set_of(i) + 1);
    count[set_of(i)] += 1;
  }
  mean.resize(count.size());
  square.resize(count.size());
  const double* in = x.Data<double>();
  for (int64_t i = 0; i < x.elements(); ++i) mean[set_of(i)] += in[i] / count[set_of(i)];
  for (int64_t i = 0; i < x.elements(); ++i) {
    const double d = in[i] - mean[set_of(i)];
    square[set_of(i)] += d * d / count[set_of(i)];
  }
  Tensor y(x.shape(), DType::kFloat64);
  for (int64_t i = 0; i < x.elements(); ++i) {
    y.Data<double>()[i] = (in[i] - mean[set_of(i)]) / std::sqrt(square[set_of(i)] + epsilon);
  }
  return y;
}

inline Tensor MomentsOf(const Tensor& x) {
  const int64_t channels = x.shape().channels(), rows = x.shape().rows();
  Tensor moments = Tensor::Zeros({1 + 2 * channels}, DType::kFloat64);
  double* out = moments.Data<double>();
  out[0] = static_cast<double>(rows);
  for (int64_t c = 0; c < channels; ++c) {
    double sum = 0, squares = 0;
    for (int64_t r = 0; r < rows; ++r) sum += x.Data<double>()[r * channels + c];
    const double mean = rows > 0 ? sum / static_cast<double>(rows) : 0;
    for (int64_t r = 0; r < rows; ++r) {
      const double d = x.Data<double>()[r * channels + c] - mean;
      squares += d * d;
    }
    out[1 + c] = mean;
    out[1 + channels + c] = squares;
  }
  return moments;
}

}  // namespace syncbn::nn
