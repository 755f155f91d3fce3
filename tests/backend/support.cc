#include "tests/backend/support.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>

#include "base/check.h"

namespace syncbn::backend {
namespace {

DType input_type = DType::kFloat32;

double Fitting(double value) {
  const float rounded = static_cast<float>(value);
  return input_type == DType::kBFloat16 ? static_cast<float>(BFloat16(rounded)) : rounded;
}

constexpr int64_t kGuard = 16;
constexpr double kGuardValue = 77;

// Of a tensor of the host.
double ElementAsDouble(const Tensor& x, int64_t index) {
  switch (x.dtype()) {
    case DType::kFloat32:
      return x.Data<float>()[index];
    case DType::kFloat64:
      return x.Data<double>()[index];
    case DType::kBFloat16:
      return static_cast<float>(x.Data<BFloat16>()[index]);
    case DType::kInt32:
      return x.Data<int32_t>()[index];
    default:
      SYNCBN_CHECK(false) << "element type " << x.dtype();
  }
  return 0;
}

// Half a unit of the last of BF16's 8 bits, of which the first is not stored.
double StoredRounding(const Tensor& x, double value) {
  if (x.dtype() != DType::kBFloat16 || value == 0 || !std::isfinite(value)) return 0;
  return std::ldexp(1, std::ilogb(value) - 8);
}

template <typename Draw>
Tensor Drawn(Shape shape, Draw draw) {
  Tensor x(shape, DType::kFloat64);
  for (double& value : x.Span<double>()) value = Fitting(draw());
  return x;
}

RandomStream NumbersOf(std::string_view name) {
  return RandomStream(RandomKey(1).Fold(name));
}

::testing::AssertionResult SameShape(const Tensor& actual, const Tensor& expected) {
  if (actual.defined() && expected.defined() && actual.shape() == expected.shape()) {
    return ::testing::AssertionSuccess();
  }
  const auto describe = [](const Tensor& x) {
    return x.defined() ? x.shape().ToString() : std::string("undefined");
  };
  return ::testing::AssertionFailure()
         << "the shape is " << describe(actual) << ", expected " << describe(expected);
}

}  // namespace

void FitInputs(DType type) {
  input_type = type;
}

Tensor Fit(Tensor x) {
  for (double& value : x.Span<double>()) value = Fitting(value);
  return x;
}

Tensor RandomNormal(Shape shape, std::string_view name, double mean, double std) {
  RandomStream stream = NumbersOf(name);
  return Drawn(shape, [&] { return mean + std * stream.Normal(); });
}

Tensor RandomIntegers(Shape shape, std::string_view name, int low, int high) {
  RandomStream stream = NumbersOf(name);
  const auto count = static_cast<uint64_t>(high - low + 1);
  return Drawn(shape, [&] { return low + static_cast<double>(stream.Below(count)); });
}

Tensor RandomLabels(int64_t samples, std::string_view name, int classes) {
  RandomStream stream = NumbersOf(name);
  Tensor labels({samples}, DType::kInt32);
  for (int32_t& label : labels.Span<int32_t>()) {
    label = static_cast<int32_t>(stream.Below(static_cast<uint64_t>(classes)));
  }
  return labels;
}

Tensor Distinct(Shape shape, std::string_view name) {
  RandomStream stream = NumbersOf(name);
  std::vector<double> values(static_cast<size_t>(shape.elements()));
  std::iota(values.begin(), values.end(), -static_cast<double>(values.size()) / 2);
  for (size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[stream.Below(i)]);
  for (double& value : values) value /= 4;
  return Fit(FromValues(shape, std::move(values)));
}

Tensor Filled(Shape shape, double value) {
  return FromValues(shape, std::vector<double>(static_cast<size_t>(shape.elements()), value));
}

Tensor FromValues(Shape shape, std::vector<double> values) {
  SYNCBN_CHECK_EQ(shape.elements(), static_cast<int64_t>(values.size())) << "values of a tensor";
  Tensor x(shape, DType::kFloat64);
  std::copy(values.begin(), values.end(), x.Span<double>().begin());
  return x;
}

Tensor As(const Tensor& given, DType dtype) {
  if (!given.defined()) return given;
  const Tensor x = given.OnHost();
  if (dtype == DType::kBFloat16) return As(given, DType::kFloat32).As(dtype);
  Tensor copy(x.shape(), dtype);
  for (int64_t i = 0; i < x.elements(); ++i) {
    const double value = ElementAsDouble(x, i);
    if (dtype == DType::kFloat32) {
      copy.Data<float>()[i] = static_cast<float>(value);
    } else {
      copy.Data<double>()[i] = value;
    }
  }
  return copy;
}

std::vector<RandomKey> Keys(int64_t samples, std::string_view name) {
  std::vector<RandomKey> keys;
  for (int64_t i = 0; i < samples; ++i) {
    keys.push_back(RandomKey(2).Fold(name).Fold(static_cast<uint64_t>(i)));
  }
  return keys;
}

::testing::AssertionResult Near(const Tensor& given, const Tensor& given_expected, double relative,
                                double scale) {
  if (const auto same = SameShape(given, given_expected); !same) return same;
  const Tensor actual = given.OnHost(), expected = given_expected.OnHost();
  double largest = scale;
  for (int64_t i = 0; i < expected.elements(); ++i) {
    largest = std::max(largest, std::abs(ElementAsDouble(expected, i)));
  }
  int64_t worst = -1;
  double worst_error = relative * largest;
  for (int64_t i = 0; i < expected.elements(); ++i) {
    const double wanted = ElementAsDouble(expected, i);
    const double error =
        std::abs(ElementAsDouble(actual, i) - wanted) - StoredRounding(actual, wanted);
    if (!(error <= worst_error)) {  // also when it is NaN
      worst = i;
      worst_error = error;
    }
  }
  if (worst < 0) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << "element " << worst << " of " << expected.shape() << " is "
         << ElementAsDouble(actual, worst) << ", expected " << ElementAsDouble(expected, worst)
         << "; apart by " << worst_error << ", allowed " << relative * largest;
}

::testing::AssertionResult Equal(const Tensor& given, const Tensor& given_expected) {
  if (const auto same = SameShape(given, given_expected); !same) return same;
  const Tensor actual = given.OnHost(), expected = given_expected.OnHost();
  for (int64_t i = 0; i < expected.elements(); ++i) {
    const double a = ElementAsDouble(actual, i);
    double e = ElementAsDouble(expected, i);
    if (actual.dtype() == DType::kBFloat16) e = static_cast<float>(BFloat16(static_cast<float>(e)));
    if (a != e) {
      return ::testing::AssertionFailure() << "element " << i << " of " << expected.shape()
                                           << " is " << a << ", expected exactly " << e;
    }
  }
  return ::testing::AssertionSuccess();
}

::testing::AssertionResult SameBits(const Tensor& given, const Tensor& given_expected) {
  if (const auto same = SameShape(given, given_expected); !same) return same;
  const Tensor actual = given.OnHost(), expected = given_expected.OnHost();
  if (actual.dtype() != expected.dtype()) {
    return ::testing::AssertionFailure() << actual.dtype() << " instead of " << expected.dtype();
  }
  const auto a = actual.Bytes(), e = expected.Bytes();
  const auto [first, unused] = std::mismatch(a.begin(), a.end(), e.begin());
  if (first == a.end()) return ::testing::AssertionSuccess();
  const auto element = (first - a.begin()) / static_cast<int64_t>(SizeOf(actual.dtype()));
  return ::testing::AssertionFailure()
         << "bits differ from element " << element << " of " << expected.shape()
         << " on: " << ElementAsDouble(actual, element) << " and "
         << ElementAsDouble(expected, element);
}

GuardedGradient::GuardedGradient(Executor& executor, const Tensor& initial)
    : whole_(OnDevice(executor, As(Filled({initial.elements() + 2 * kGuard}, kGuardValue),
                                   executor.types().gradients))),
      inside_(whole_.Slice(kGuard, initial.shape())) {
  executor.Copy(As(initial, executor.types().gradients), inside_);
}

Tensor GuardedGradient::Result() const {
  const Tensor whole = whole_.OnHost();
  for (int64_t i = 0; i < kGuard; ++i) {
    EXPECT_EQ(ElementAsDouble(whole, i), kGuardValue) << "written before a gradient";
    EXPECT_EQ(ElementAsDouble(whole, whole.elements() - 1 - i), kGuardValue)
        << "written after a gradient";
  }
  return inside_.OnHost().Clone();
}

}  // namespace syncbn::backend
