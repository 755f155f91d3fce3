#include "backend/merge.h"
#include "backend/reference/reference_executor.h"
#include "backend/shape_checks.h"

namespace syncbn::backend::reference {
namespace {

using Accum = long double;

// Calls visit(element, statistic, channel): where the element lies, where its segment and channel
// have their statistics, and where its channel has its parameters.
template <typename Visit>
void ForEachElement(const RowLayout& layout, Visit visit) {
  int64_t element = 0;
  for (int64_t segment = 0; segment < layout.segments; ++segment) {
    for (int64_t row = 0; row < layout.rows_per_segment(); ++row) {
      for (int64_t channel = 0; channel < layout.channels; ++channel) {
        visit(element++, segment * layout.channels + channel, channel);
      }
    }
  }
}

// The elements of a tensor, or `otherwise` for each of them when it is undefined.
class Values {
 public:
  Values(const Tensor& tensor, double otherwise)
      : data_(tensor.defined() ? tensor.Data<double>() : nullptr), otherwise_(otherwise) {}
  double operator[](int64_t index) const { return data_ == nullptr ? otherwise_ : data_[index]; }

 private:
  const double* data_;
  double otherwise_;
};

// The formulas of Normalization (backend/specs.h) for one element.
class Formula {
 public:
  Formula(const Normalization& norm, const Tensor& x)
      : x_(x.Data<double>()),
        mean_(norm.mean.Data<double>()),
        inv_std_(norm.inv_std.Data<double>()),
        gamma_(norm.gamma, 1),
        beta_(norm.beta, 0) {
    CheckNormalization(norm, x);
  }

  double Xhat(int64_t element, int64_t statistic) const {
    return (x_[element] - mean_[statistic]) * inv_std_[statistic];
  }
  double ScaledAndShifted(int64_t element, int64_t statistic, int64_t channel) const {
    return gamma_[channel] * Xhat(element, statistic) + beta_[channel];
  }
  double gamma(int64_t channel) const { return gamma_[channel]; }
  double inv_std(int64_t statistic) const { return inv_std_[statistic]; }

 private:
  const double* x_;
  const double* mean_;
  const double* inv_std_;
  Values gamma_, beta_;
};

// dy where the forward pass let it through.
class MaskedGradient {
 public:
  MaskedGradient(const Normalization& norm, const Formula& formula, const Tensor& y,
                 const Tensor& dy)
      : formula_(formula),
        relu_(norm.relu),
        y_(y.defined() ? y.Data<double>() : nullptr),
        dy_(dy.Data<double>()) {
    CheckGradient(norm, y, dy);
  }

  double operator()(int64_t element, int64_t statistic, int64_t channel) const {
    if (!relu_) return dy_[element];
    const double y =
        y_ != nullptr ? y_[element] : formula_.ScaledAndShifted(element, statistic, channel);
    return y > 0 ? dy_[element] : 0;
  }

 private:
  const Formula& formula_;
  bool relu_;
  const double* y_;
  const double* dy_;
};

}  // namespace

// mean = sum x / n, M2 = sum (x - mean)^2: the definition, in two passes.
void ReferenceExecutor::Moments(const RowLayout& layout, const Tensor& x, Tensor& moments) {
  CheckMoments(layout, x, moments);
  const double* in = x.Data<double>();
  const int64_t rows = layout.rows_per_segment(), channels = layout.channels;
  double* block = moments.Data<double>();
  for (int64_t segment = 0; segment < layout.segments; ++segment) {
    block[0] = static_cast<double>(rows);
    for (int64_t channel = 0; channel < channels; ++channel) {
      const double* first = in + segment * rows * channels + channel;
      Accum sum = 0;
      for (int64_t row = 0; row < rows; ++row) sum += first[row * channels];
      const Accum average = rows == 0 ? 0 : sum / static_cast<Accum>(rows);
      Accum squares = 0;
      for (int64_t row = 0; row < rows; ++row) {
        const Accum deviation = first[row * channels] - average;
        squares += deviation * deviation;
      }
      block[1 + channel] = static_cast<double>(average);
      block[1 + channels + channel] = static_cast<double>(squares);
    }
    block += MomentsElements(channels);
  }
}

// Ioffe and Szegedy 2015, algorithm 1, with what is fused after it.
Tensor ReferenceExecutor::NormalizeForward(const Normalization& norm, const Tensor& x,
                                           const Tensor& residual) {
  const Formula formula(norm, x);
  if (residual.defined()) CheckElements(norm.layout, residual, "residual");
  const Values added(residual, 0);
  Tensor y = New(x.shape());
  double* out = y.Data<double>();
  ForEachElement(norm.layout, [&](int64_t element, int64_t statistic, int64_t channel) {
    const double sum = formula.ScaledAndShifted(element, statistic, channel) + added[element];
    out[element] = norm.relu && sum <= 0 ? 0 : sum;  // NaN stays NaN
  });
  return y;
}

void ReferenceExecutor::NormalizeBackwardSums(const Normalization& norm, const Tensor& x,
                                              const Tensor& y, const Tensor& dy, Tensor& sum_dy,
                                              Tensor& sum_dy_xhat) {
  const Formula formula(norm, x);
  const MaskedGradient gradient(norm, formula, y, dy);
  CheckStatistic(norm.layout, sum_dy, "sum of dy");
  CheckStatistic(norm.layout, sum_dy_xhat, "sum of dy * xhat");
  double* sums = sum_dy.Data<double>();
  double* products = sum_dy_xhat.Data<double>();
  for (int64_t statistic = 0; statistic < sum_dy.elements(); ++statistic) {
    sums[statistic] = products[statistic] = 0;
  }
  ForEachElement(norm.layout, [&](int64_t element, int64_t statistic, int64_t channel) {
    const double d = gradient(element, statistic, channel);
    sums[statistic] += d;
    products[statistic] += d * formula.Xhat(element, statistic);
  });
}

// With the terms gamma * sum(dy) / n and gamma * sum(dy * xhat) / n this is the gradient of Ioffe
// and Szegedy 2015, section 3, collected by dy, 1 and xhat.
Tensor ReferenceExecutor::NormalizeBackwardInput(const Normalization& norm, const Tensor& x,
                                                 const Tensor& y, Tensor dy,
                                                 const InputTerms& terms, Tensor* dresidual) {
  const Formula formula(norm, x);
  const MaskedGradient gradient(norm, formula, y, dy);
  CheckTerms(norm.layout, terms);
  const Values constant(terms.mean_dy, 0), slope(terms.mean_dy_xhat, 0);
  Tensor dx = New(x.shape());
  Tensor masked = New(x.shape());
  ForEachElement(norm.layout, [&](int64_t element, int64_t statistic, int64_t channel) {
    const double d = gradient(element, statistic, channel);
    masked.Data<double>()[element] = d;
    dx.Data<double>()[element] =
        formula.inv_std(statistic) * (formula.gamma(channel) * d - constant[statistic] -
                                      formula.Xhat(element, statistic) * slope[statistic]);
  });
  if (dresidual != nullptr) *dresidual = masked;
  return dx;
}

}  // namespace syncbn::backend::reference
