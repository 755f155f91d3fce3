#include <vector>

#include "backend/reference/indexing.h"
#include "backend/reference/reference_executor.h"

namespace syncbn::backend::reference {
namespace {

// A convolution is a sum of products
//
//   y[n, oh, ow, o] = bias[o] + sum over kh, kw, i of
//       x[n, oh * stride_h - pad_h + kh, ow * stride_w - pad_w + kw, group(o) * I + i]
//       * weight[o, i, kh, kw]
//
// with I = in_channels / groups and x = 0 outside the image (PyTorch's Conv2d: a
// cross-correlation). Calls visit(x_index, weight_index, y_index) for each product whose x is
// inside.
template <typename Visit>
void ForEachProduct(const Conv2dSpec& spec, const Shape& x, const Shape& y, Visit visit) {
  const Index4 x_at(x), y_at(y), weight_at(spec.WeightShape());
  const int64_t inputs = spec.in_channels / spec.groups;
  const int64_t outputs = spec.out_channels / spec.groups;
  for (int64_t n = 0; n < y[0]; ++n) {
    for (int64_t oh = 0; oh < y[1]; ++oh) {
      for (int64_t ow = 0; ow < y[2]; ++ow) {
        for (int64_t kh = 0; kh < spec.kernel_h; ++kh) {
          const int64_t h = oh * spec.stride_h - spec.pad_h + kh;
          if (h < 0 || h >= x[1]) continue;
          for (int64_t kw = 0; kw < spec.kernel_w; ++kw) {
            const int64_t w = ow * spec.stride_w - spec.pad_w + kw;
            if (w < 0 || w >= x[2]) continue;
            for (int64_t group = 0; group < spec.groups; ++group) {
              for (int64_t i = 0; i < inputs; ++i) {
                for (int64_t o = group * outputs; o < (group + 1) * outputs; ++o) {
                  visit(x_at(n, h, w, group * inputs + i), weight_at(o, i, kh, kw),
                        y_at(n, oh, ow, o));
                }
              }
            }
          }
        }
      }
    }
  }
}

void CheckWeight(const Conv2dSpec& spec, const Tensor& weight) {
  SYNCBN_CHECK_EQ(weight.shape(), spec.WeightShape()) << "weight of a convolution";
}

}  // namespace

Tensor ReferenceExecutor::Conv2dForward(const Conv2dSpec& spec, const Tensor& x,
                                        const Tensor& weight, const Tensor& bias) {
  CheckWeight(spec, weight);
  Tensor y = NewZeros(spec.OutputShape(x.shape()));
  double* out = y.Data<double>();
  if (bias.defined()) {
    SYNCBN_CHECK_EQ(bias.elements(), spec.out_channels) << "bias of a convolution";
    const double* b = bias.Data<double>();
    for (int64_t k = 0; k < y.elements(); ++k) out[k] = b[k % spec.out_channels];
  }
  const double* in = x.Data<double>();
  const double* factors = weight.Data<double>();
  ForEachProduct(spec, x.shape(), y.shape(),
                 [&](int64_t xi, int64_t wi, int64_t yi) { out[yi] += in[xi] * factors[wi]; });
  return y;
}

// d loss / d x[xi] = sum over the products with xi of dy[yi] * weight[wi].
Tensor ReferenceExecutor::Conv2dBackwardInput(const Conv2dSpec& spec, const Shape& x_shape,
                                              const Tensor& dy, const Tensor& weight) {
  CheckWeight(spec, weight);
  SYNCBN_CHECK_EQ(dy.shape(), spec.OutputShape(x_shape)) << "gradient of a convolution";
  Tensor dx = NewZeros(x_shape);
  double* out = dx.Data<double>();
  const double* in = dy.Data<double>();
  const double* factors = weight.Data<double>();
  ForEachProduct(spec, x_shape, dy.shape(),
                 [&](int64_t xi, int64_t wi, int64_t yi) { out[xi] += in[yi] * factors[wi]; });
  return dx;
}

// d loss / d weight[wi] = sum over the products with wi of dy[yi] * x[xi]; the bias is in every
// output of its channel.
void ReferenceExecutor::Conv2dBackwardWeights(const Conv2dSpec& spec, const Tensor& x,
                                              const Tensor& dy, GradientOut dweight,
                                              GradientOut dbias) {
  SYNCBN_CHECK_EQ(dy.shape(), spec.OutputShape(x.shape())) << "gradient of a convolution";
  const double* in = x.Data<double>();
  const double* dout = dy.Data<double>();
  std::vector<double> weight_sums(static_cast<size_t>(spec.WeightShape().elements()), 0.0);
  ForEachProduct(spec, x.shape(), dy.shape(),
                 [&](int64_t xi, int64_t wi, int64_t yi) { weight_sums[wi] += dout[yi] * in[xi]; });
  WriteGradient(dweight, weight_sums);

  std::vector<double> bias_sums(static_cast<size_t>(spec.out_channels), 0.0);
  for (int64_t k = 0; k < dy.elements(); ++k) bias_sums[k % spec.out_channels] += dout[k];
  WriteGradient(dbias, bias_sums);
}

}  // namespace syncbn::backend::reference
