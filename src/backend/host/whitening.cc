// Iterative normalization: co-moments, Newton's iteration for the inverse square root of a
// covariance, and the way back through it.
#include <algorithm>
#include <cmath>
#include <vector>

#include "backend/host/host_executor.h"
#include "backend/merge.h"

namespace syncbn::backend::host {
namespace {

using Matrix = std::vector<double>;

// Rows at a time: what is loaded of a group stays in the cache for the product.
constexpr int64_t kRows = 32;

size_t Square(int64_t d) {
  return static_cast<size_t>(d * d);
}

template <typename T>
void Load(const T* x, int64_t stride, int64_t rows, int64_t d, const double* mean, double* out) {
  for (int64_t r = 0; r < rows; ++r, x += stride, out += d) {
    for (int64_t j = 0; j < d; ++j) {
      out[j] = static_cast<double>(x[j]) - (mean == nullptr ? 0 : mean[j]);
    }
  }
}

// Rows of channels [begin, begin + d), less their means where there are any.
void Load(const Tensor& x, int64_t row, int64_t rows, int64_t begin, int64_t d, const double* mean,
          Matrix& out) {
  const int64_t stride = x.shape().channels(), at = row * stride + begin;
  if (x.dtype() == DType::kFloat64) {
    Load(x.Data<double>() + at, stride, rows, d, mean, out.data());
  } else {
    Load(x.Data<float>() + at, stride, rows, d, mean, out.data());
  }
}

template <typename T>
void Store(const Matrix& from, int64_t stride, int64_t rows, int64_t d, T* y) {
  const double* in = from.data();
  for (int64_t r = 0; r < rows; ++r, y += stride, in += d) {
    for (int64_t j = 0; j < d; ++j) y[j] = static_cast<T>(in[j]);
  }
}

void Store(const Matrix& from, int64_t row, int64_t rows, int64_t begin, int64_t d, Tensor& y) {
  const int64_t stride = y.shape().channels(), at = row * stride + begin;
  if (y.dtype() == DType::kFloat64) {
    Store(from, stride, rows, d, y.Data<double>() + at);
  } else {
    Store(from, stride, rows, d, y.Data<float>() + at);
  }
}

// visit(first row, number of rows)
template <typename Visit>
void ForRows(const Tensor& x, Visit visit) {
  const int64_t rows = x.shape().rows();
  for (int64_t row = 0; row < rows; row += kRows) visit(row, std::min(kRows, rows - row));
}

Product ProductOf(const double* a, const double* b, int64_t rows, int64_t depth, int64_t columns,
                  double* c) {
  return {.a = a,
          .a_row = depth,
          .a_depth = 1,
          .b = b,
          .c = c,
          .rows = rows,
          .depth = depth,
          .columns = columns};
}

// c += a^T b; a and b have `rows` rows.
Product OuterOf(const double* a, const double* b, int64_t rows, int64_t d, double* c) {
  return {.a = a, .a_row = 1, .a_depth = d, .b = b, .c = c, .rows = d, .depth = rows, .columns = d};
}

// Elements of Whitening::newton for a group of d channels.
int64_t NewtonElements(const WhiteningSpec& spec, int64_t d) {
  return 2 + 2 * (1 + spec.iterations) * d * d;
}

int64_t NewtonElements(const WhiteningSpec& spec) {
  int64_t elements = 0;
  for (int64_t k = 0; k < spec.groups(); ++k) elements += NewtonElements(spec, spec.size(k));
  return elements;
}

Whitening NewWhitening(Executor& executor, const WhiteningSpec& spec) {
  return {.mean = executor.New({spec.channels}, DType::kFloat64),
          .matrix = executor.New({spec.matrix_elements()}, DType::kFloat64),
          .newton = executor.New({NewtonElements(spec)}, DType::kFloat64)};
}

void CheckRows(const WhiteningSpec& spec, const Tensor& x) {
  SYNCBN_CHECK_EQ(x.shape().channels(), spec.channels) << "channels of a whitening";
}

// Products of d x d matrices by `multiply_add`.
template <typename MultiplyAdd>
class Algebra {
 public:
  Algebra(int64_t d, MultiplyAdd multiply_add) : d_(d), multiply_add_(multiply_add) {}

  Matrix Times(const double* a, const double* b) const {
    Matrix c(Square(d_), 0);
    multiply_add_(ProductOf(a, b, d_, d_, d_, c.data()));
    return c;
  }
  Matrix Times(const Matrix& a, const Matrix& b) const { return Times(a.data(), b.data()); }
  Matrix Identity() const {
    Matrix c(Square(d_), 0);
    for (int64_t i = 0; i < d_; ++i) c[static_cast<size_t>(i * d_ + i)] = 1;
    return c;
  }

  // W from a covariance with epsilon on its diagonal; fills the group's part of Whitening::newton:
  // count, trace, and Y_0, Z_0, Y_1 .. Z_iterations.
  //
  // The iterates come in pairs, Y_k+1 = Y_k R and Z_k+1 = R Z_k with R = (3 - Z_k Y_k) / 2, Y_0 = S
  // and Z_0 = I. Z is P, and Y is S P: P alone, as the formula has it, multiplies its own rounding
  // errors by the condition of S in every iteration once it has converged; the pair does not
  // (Higham 1997, "Stable iterations for the matrix square root").
  void Newton(const Matrix& covariance, double count, int64_t iterations, double* newton,
              double* w) const {
    double trace = 0;
    for (int64_t i = 0; i < d_; ++i) trace += covariance[static_cast<size_t>(i * d_ + i)];
    newton[0] = count;
    newton[1] = trace;
    Matrix y = covariance, z = Identity();
    for (double& value : y) value /= trace;
    double* iterates = newton + 2;
    const auto keep = [&] {
      iterates = std::ranges::copy(y, iterates).out;
      iterates = std::ranges::copy(z, iterates).out;
    };
    keep();
    for (int64_t k = 0; k < iterations; ++k) {
      const Matrix r = Factor(z.data(), y.data());
      y = Times(y, r);
      z = Times(r, z);
      keep();
    }
    const double scale = 1 / std::sqrt(trace);
    for (size_t i = 0; i < z.size(); ++i) w[i] = scale * z[i];
  }

  // The gradient of the covariance, made symmetric, from that of W (the appendix of Huang et al.
  // 2019, for pairs of iterates): with dR = Y dY_k+1 + dZ_k+1 Z,
  //   dY_k = dY_k+1 R - Z dR / 2,  dZ_k = R dZ_k+1 - dR Y / 2,
  // all of Y, Z and R being symmetric; then through S = covariance / trace and W = Z / sqrt(trace).
  Matrix Backward(const double* newton, int64_t iterations, const double* dw) const {
    const double trace = newton[1], scale = 1 / std::sqrt(trace);
    const int64_t size = d_ * d_;
    const double* const iterates = newton + 2;
    Matrix dy(Square(d_), 0), dz(dw, dw + size);
    for (double& value : dz) value *= scale;
    for (int64_t k = iterations - 1; k >= 0; --k) {
      const double* const y = iterates + 2 * k * size;
      const double* const z = y + size;
      const Matrix r = Factor(z, y);
      Matrix dr = Times(dz.data(), z);
      multiply_add_(ProductOf(y, dy.data(), d_, d_, d_, dr.data()));
      const Matrix through_z = Times(z, dr.data()), through_y = Times(dr.data(), y);
      dy = Times(dy, r);
      dz = Times(r, dz);
      for (size_t i = 0; i < dy.size(); ++i) {
        dy[i] -= 0.5 * through_z[i];
        dz[i] -= 0.5 * through_y[i];
      }
    }
    const double* const s = iterates;
    const double* const last = iterates + (2 * iterations + 1) * size;
    double along_z = 0, along_s = 0;
    for (size_t i = 0; i < dy.size(); ++i) {
      along_z += dw[i] * last[i];
      along_s += dy[i] * s[i];
    }
    const double dtrace = -0.5 * along_z * scale / trace - along_s / trace;
    Matrix dcovariance(Square(d_));
    for (int64_t i = 0; i < d_; ++i) {
      for (int64_t j = 0; j < d_; ++j) {
        const auto at = static_cast<size_t>(i * d_ + j), across = static_cast<size_t>(j * d_ + i);
        dcovariance[at] = 0.5 * (dy[at] + dy[across]) / trace + (i == j ? dtrace : 0);
      }
    }
    return dcovariance;
  }

 private:
  Matrix Factor(const double* z, const double* y) const {
    Matrix r = Times(z, y);
    for (double& value : r) value *= -0.5;
    for (int64_t i = 0; i < d_; ++i) r[static_cast<size_t>(i * d_ + i)] += 1.5;
    return r;
  }

  const int64_t d_;
  const MultiplyAdd multiply_add_;
};

}  // namespace

void HostExecutor::MultiplyAdd(const Product& product) {
  for (int64_t i = 0; i < product.rows; ++i) {
    double* const row = product.c + i * product.columns;
    for (int64_t k = 0; k < product.depth; ++k) {
      const double factor = product.a[i * product.a_row + k * product.a_depth];
      const double* const b = product.b + k * product.columns;
      for (int64_t j = 0; j < product.columns; ++j) row[j] += factor * b[j];
    }
  }
}

void HostExecutor::CoMoments(const WhiteningSpec& spec, const Tensor& x, Tensor& moments) {
  CheckRows(spec, x);
  const int64_t rows = x.shape().rows();
  double* block = moments.Data<double>();
  for (int64_t k = 0; k < spec.groups(); ++k) {
    const int64_t begin = spec.begin(k), d = spec.size(k);
    Matrix part(static_cast<size_t>(kRows * d)), products(Square(d), 0);
    std::vector<double> mean(static_cast<size_t>(d), 0);
    ForRows(x, [&](int64_t row, int64_t count) {
      Load(x, row, count, begin, d, nullptr, part);
      for (int64_t i = 0; i < count * d; ++i) {
        mean[static_cast<size_t>(i % d)] += part[static_cast<size_t>(i)];
      }
    });
    for (double& value : mean) value = rows == 0 ? 0 : value / static_cast<double>(rows);
    ForRows(x, [&](int64_t row, int64_t count) {
      Load(x, row, count, begin, d, mean.data(), part);
      MultiplyAdd(OuterOf(part.data(), part.data(), count, d, products.data()));
    });
    *block++ = static_cast<double>(rows);
    block = std::ranges::copy(mean, block).out;
    for (int64_t i = 0; i < d; ++i) {
      const auto row = products.begin() + i * d;
      block = std::copy(row + i, row + d, block);
    }
  }
  SYNCBN_CHECK(block == moments.Data<double>() + moments.elements()) << "moments of a whitening";
}

Whitening HostExecutor::WhitenByMoments(const WhiteningSpec& spec, const Tensor& moments) {
  Whitening whitening = NewWhitening(*this, spec);
  double* mean = whitening.mean.Data<double>();
  double* w = whitening.matrix.Data<double>();
  double* newton = whitening.newton.Data<double>();
  const double* block = moments.Data<double>();
  for (int64_t k = 0; k < spec.groups(); ++k) {
    const int64_t d = spec.size(k);
    const double count = block[0];
    mean = std::copy_n(block + 1, d, mean);
    const double* products = block + 1 + d;
    Matrix covariance(Square(d));
    for (int64_t i = 0; i < d; ++i) {
      for (int64_t j = i; j < d; ++j, ++products) {
        const double value = count > 0 ? *products / count : 0;
        covariance[static_cast<size_t>(i * d + j)] = covariance[static_cast<size_t>(j * d + i)] =
            value + (i == j ? spec.epsilon : 0);
      }
    }
    Algebra(d, [this](const Product& product) {
      MultiplyAdd(product);
    }).Newton(covariance, count, spec.iterations, newton, w);
    w += d * d;
    newton += NewtonElements(spec, d);
    block += MomentsElements(-d);
  }
  return whitening;
}

Whitening HostExecutor::WhitenByRunning(const WhiteningSpec& spec, const Tensor& running) {
  Whitening whitening = NewWhitening(*this, spec);
  double* mean = whitening.mean.Data<double>();
  double* w = whitening.matrix.Data<double>();
  double* newton = whitening.newton.Data<double>();
  const double* from = running.Data<double>();
  for (int64_t k = 0; k < spec.groups(); ++k) {
    const int64_t d = spec.size(k);
    mean = std::copy_n(from, d, mean);
    from += d;
    Matrix covariance(from, from + d * d);
    for (int64_t i = 0; i < d; ++i) covariance[static_cast<size_t>(i * d + i)] += spec.epsilon;
    Algebra(d, [this](const Product& product) {
      MultiplyAdd(product);
    }).Newton(covariance, 0, spec.iterations, newton, w);
    w += d * d;
    newton += NewtonElements(spec, d);
    from += d * d + 1;  // behind the number of batches
  }
  return whitening;
}

void HostExecutor::Whiten(const WhiteningSpec& spec, const Whitening& whitening, const Tensor& x,
                          Tensor& xhat) {
  CheckRows(spec, x);
  const double* mean = whitening.mean.Data<double>();
  const double* w = whitening.matrix.Data<double>();
  for (int64_t k = 0; k < spec.groups(); ++k) {
    const int64_t begin = spec.begin(k), d = spec.size(k);
    Matrix part(static_cast<size_t>(kRows * d)), result(part.size());
    ForRows(x, [&](int64_t row, int64_t count) {
      Load(x, row, count, begin, d, mean + begin, part);
      std::ranges::fill(result, 0);
      MultiplyAdd(ProductOf(part.data(), w, count, d, d, result.data()));  // W is symmetric
      Store(result, row, count, begin, d, xhat);
    });
    w += d * d;
  }
}

void HostExecutor::WhitenBackwardSums(const WhiteningSpec& spec, const Whitening& whitening,
                                      const Tensor& x, const Tensor& dxhat, Tensor& sums) {
  CheckRows(spec, x);
  SYNCBN_CHECK_EQ(x.elements(), dxhat.elements()) << "gradient of a whitening";
  Zero(sums);
  const double* mean = whitening.mean.Data<double>();
  double* out = sums.Data<double>();
  for (int64_t k = 0; k < spec.groups(); ++k) {
    const int64_t begin = spec.begin(k), d = spec.size(k);
    Matrix part(static_cast<size_t>(kRows * d)), gradient(part.size());
    ForRows(x, [&](int64_t row, int64_t count) {
      Load(x, row, count, begin, d, mean + begin, part);
      Load(dxhat, row, count, begin, d, nullptr, gradient);
      for (int64_t i = 0; i < count * d; ++i) out[i % d] += gradient[static_cast<size_t>(i)];
      MultiplyAdd(OuterOf(gradient.data(), part.data(), count, d, out + d));
    });
    out += d + d * d;
  }
}

// With D the gradient of the covariance: dx_i = W (g_i - mean g) + 2 / n D (x_i - mean).
void HostExecutor::WhitenBackwardInput(const WhiteningSpec& spec, const Whitening& whitening,
                                       const Tensor& sums, const Tensor& x, const Tensor& dxhat,
                                       Tensor& dx) {
  CheckRows(spec, x);
  const double* mean = whitening.mean.Data<double>();
  const double* w = whitening.matrix.Data<double>();
  const double* newton = whitening.newton.Data<double>();
  const double* sum = sums.defined() ? sums.Data<double>() : nullptr;
  for (int64_t k = 0; k < spec.groups(); ++k) {
    const int64_t begin = spec.begin(k), d = spec.size(k);
    std::vector<double> mean_gradient(static_cast<size_t>(d), 0);
    Matrix slope;
    if (sum != nullptr) {
      const double count = std::max(1.0, newton[0]);
      for (int64_t j = 0; j < d; ++j) mean_gradient[static_cast<size_t>(j)] = sum[j] / count;
      slope = Algebra(d, [this](const Product& product) {
                MultiplyAdd(product);
              }).Backward(newton, spec.iterations, sum + d);
      for (double& value : slope) value *= 2 / count;
      sum += d + d * d;
    }
    Matrix part(static_cast<size_t>(kRows * d)), result(part.size());
    ForRows(x, [&](int64_t row, int64_t count) {
      std::ranges::fill(result, 0);
      Load(dxhat, row, count, begin, d, mean_gradient.data(), part);
      MultiplyAdd(ProductOf(part.data(), w, count, d, d, result.data()));
      if (!slope.empty()) {
        Load(x, row, count, begin, d, mean + begin, part);
        MultiplyAdd(ProductOf(part.data(), slope.data(), count, d, d, result.data()));
      }
      Store(result, row, count, begin, d, dx);
    });
    w += d * d;
    newton += NewtonElements(spec, d);
  }
}

}  // namespace syncbn::backend::host
