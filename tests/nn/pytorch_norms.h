// PyTorch's normalizations as its CPU back end computes them in float32, as plain loops: what the
// accuracy of the CPU back end is measured against. From pytorch/pytorch, aten/src/ATen/native:
//   batch     cpu/batch_norm_kernel.cpp, batch_norm_cpu_*_contiguous_impl; the inverse deviation is
//             made in double (Normalization.cpp, InvStd)
//   instance  Normalization.cpp, instance_norm: batch norm of the view [1, N C, H, W]
//   layer     cpu/layer_norm_kernel.cpp, LayerNorm(Backward)KernelImplInternal
//   group     cpu/group_norm_kernel.cpp, GroupNormKernelImplInternal, GroupNormInputBackward
//   weight    cpu/WeightNormKernel.cpp, weight_norm_(backward_)first_dim_kernel
// Sums that PyTorch makes with vectors are made one by one here.
#pragma once

#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

namespace syncbn::nn::pytorch {

// `segments` matrices of rows x channels.
struct Inputs {
  int64_t segments = 1, rows = 0, channels = 0;
  std::vector<float> x, dy;        // [segments, rows, channels]
  std::vector<float> gamma, beta;  // [channels]
  float epsilon = 1e-5f;

  size_t At(int64_t segment, int64_t row, int64_t channel) const {
    return static_cast<size_t>((segment * rows + row) * channels + channel);
  }
};

struct Results {
  std::vector<float> y, dx, dgamma, dbeta;

  explicit Results(const Inputs& in)
      : y(in.x.size()), dx(in.x.size()), dgamma(in.gamma.size()), dbeta(in.gamma.size()) {}
};

// Statistics of each segment and channel. The rows of a plane are added in float, samples in
// double: a batch norm of features has one segment of many planes of a single number, an instance
// norm has planes.
inline Results BatchNorm(const Inputs& in, bool rows_are_a_plane) {
  Results out(in);
  const float n = static_cast<float>(in.rows);
  for (int64_t s = 0; s < in.segments; ++s) {
    for (int64_t c = 0; c < in.channels; ++c) {
      double total = 0, squares = 0;
      for (int64_t r = 0; r < in.rows; ++r) total += in.x[in.At(s, r, c)];
      const float mean = static_cast<float>(total / static_cast<double>(in.rows));
      for (int64_t r = 0; r < in.rows; ++r) {
        const float d = in.x[in.At(s, r, c)] - mean;
        squares += d * d;
      }
      const float var_sum = static_cast<float>(squares);
      const float invstd =
          static_cast<float>(1 / std::sqrt(static_cast<double>(var_sum / n) + in.epsilon));
      const float w = in.gamma[static_cast<size_t>(c)], bias = in.beta[static_cast<size_t>(c)];
      const float alpha = invstd * w, constant = bias - mean * alpha;
      double sum = 0, dotp = 0;
      float plane_sum = 0, plane_dotp = 0;
      for (int64_t r = 0; r < in.rows; ++r) {
        const size_t i = in.At(s, r, c);
        const float product = (in.x[i] - mean) * in.dy[i];
        out.y[i] = in.x[i] * alpha + constant;
        sum += in.dy[i];
        dotp += product;
        plane_sum += in.dy[i];
        plane_dotp += product;
      }
      if (rows_are_a_plane) {
        sum = plane_sum;
        dotp = plane_dotp;
      }
      const float k = static_cast<float>(dotp) * invstd * invstd / n;
      const float grad_mean = static_cast<float>(sum / static_cast<double>(in.rows));
      for (int64_t r = 0; r < in.rows; ++r) {
        const size_t i = in.At(s, r, c);
        out.dx[i] = (in.dy[i] - grad_mean - (in.x[i] - mean) * k) * invstd * w;
      }
      out.dgamma[static_cast<size_t>(c)] += static_cast<float>(dotp * invstd);
      out.dbeta[static_cast<size_t>(c)] += static_cast<float>(sum);
    }
  }
  return out;
}

// Mean and biased variance of `values`, by Welford's formula in float.
template <typename Value>
std::pair<float, float> RowwiseMoments(int64_t count, Value value) {
  float mean = 0, m2 = 0;
  for (int64_t i = 0; i < count; ++i) {
    const float x = value(i), delta = x - mean;
    mean += delta / static_cast<float>(i + 1);
    m2 += delta * (x - mean);
  }
  return {mean, m2 / static_cast<float>(count)};
}

// Statistics of each segment (a sample) over all its elements.
inline Results LayerNorm(const Inputs& in) {
  Results out(in);
  const int64_t count = in.rows * in.channels;
  const float scale = 1.0f / static_cast<float>(count);
  for (int64_t s = 0; s < in.segments; ++s) {
    const size_t begin = in.At(s, 0, 0);
    const auto [mean, variance] =
        RowwiseMoments(count, [&](int64_t i) { return in.x[begin + static_cast<size_t>(i)]; });
    const float a = 1.0f / std::sqrt(variance + in.epsilon);
    float ds = 0, db = 0;
    for (int64_t j = 0; j < count; ++j) {
      const size_t i = begin + static_cast<size_t>(j), c = static_cast<size_t>(j % in.channels);
      out.y[i] = (in.x[i] * a - a * mean) * in.gamma[c] + in.beta[c];
      out.dgamma[c] += in.dy[i] * (a * in.x[i] - a * mean);
      out.dbeta[c] += in.dy[i];
      ds += in.dy[i] * in.x[i] * in.gamma[c];
      db += in.dy[i] * in.gamma[c];
    }
    const float b = (db * mean - ds) * a * a * a * scale, constant = -b * mean - db * a * scale;
    for (int64_t j = 0; j < count; ++j) {
      const size_t i = begin + static_cast<size_t>(j), c = static_cast<size_t>(j % in.channels);
      out.dx[i] = a * in.dy[i] * in.gamma[c] + b * in.x[i] + constant;
    }
  }
  return out;
}

// Statistics of each segment (a sample) and group of consecutive channels.
inline Results GroupNorm(const Inputs& in, int64_t groups) {
  Results out(in);
  const int64_t size = in.channels / groups, count = in.rows * size;
  const float s = 1.0f / static_cast<float>(count);
  for (int64_t n = 0; n < in.segments; ++n) {
    for (int64_t g = 0; g < groups; ++g) {
      const auto [mean, variance] = RowwiseMoments(
          count, [&](int64_t i) { return in.x[in.At(n, i % in.rows, g * size + i / in.rows)]; });
      const float rstd = 1.0f / std::sqrt(std::fmax(variance, 0.0f) + in.epsilon);
      float ds_gamma = 0, db_gamma = 0;
      for (int64_t c = g * size; c < (g + 1) * size; ++c) {
        const float gamma = in.gamma[static_cast<size_t>(c)];
        float ds = 0, db = 0;
        for (int64_t r = 0; r < in.rows; ++r) {
          ds += in.dy[in.At(n, r, c)] * in.x[in.At(n, r, c)];
          db += in.dy[in.At(n, r, c)];
        }
        ds_gamma += ds * gamma;
        db_gamma += db * gamma;
        out.dgamma[static_cast<size_t>(c)] += (ds - db * mean) * rstd;
        out.dbeta[static_cast<size_t>(c)] += db;
      }
      const float c2 = (db_gamma * mean - ds_gamma) * rstd * rstd * rstd * s;
      const float c3 = -c2 * mean - db_gamma * rstd * s;
      for (int64_t c = g * size; c < (g + 1) * size; ++c) {
        const float gamma = in.gamma[static_cast<size_t>(c)];
        const float scale = rstd * gamma, bias = -scale * mean + in.beta[static_cast<size_t>(c)];
        for (int64_t r = 0; r < in.rows; ++r) {
          const size_t i = in.At(n, r, c);
          out.y[i] = scale * in.x[i] + bias;
          out.dx[i] = rstd * gamma * in.dy[i] + c2 * in.x[i] + c3;
        }
      }
    }
  }
  return out;
}

// w = gain v / |v| of each row of v [outputs, inputs].
struct WeightNormResults {
  std::vector<float> w, dv, dgain;
};
inline WeightNormResults WeightNorm(int64_t outputs, int64_t inputs, const std::vector<float>& v,
                                    const std::vector<float>& gain, const std::vector<float>& dw) {
  WeightNormResults out{std::vector<float>(v.size()), std::vector<float>(v.size()), {}};
  for (int64_t o = 0; o < outputs; ++o) {
    const size_t begin = static_cast<size_t>(o * inputs), end = begin + static_cast<size_t>(inputs);
    float squares = 0, sum = 0;
    for (size_t i = begin; i < end; ++i) {
      squares += v[i] * v[i];
      sum += dw[i] * v[i];
    }
    const float norm = std::sqrt(squares), grad_gain = sum / norm;
    const float a = gain[static_cast<size_t>(o)] / norm, b = a * grad_gain / norm;
    out.dgain.push_back(grad_gain);
    for (size_t i = begin; i < end; ++i) {
      out.w[i] = v[i] * a;
      out.dv[i] = a * dw[i] - b * v[i];
    }
  }
  return out;
}

}  // namespace syncbn::nn::pytorch
