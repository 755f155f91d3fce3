#include "tests/backend/conformance.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace syncbn::backend {

void PrintTo(const BackendCase& backend, std::ostream* out) {
  *out << backend.name;
}

std::string NameOfCase(const ::testing::TestParamInfo<BackendCase>& info) {
  return info.param.name;
}

ConformanceTest::ConformanceTest()
    : backend_(GetParam().make()),
      tested_(backend_->MakeExecutor()),
      reference_(MakeReferenceBackend()->MakeExecutor()) {
  FitInputs(StoresBFloat16() ? DType::kBFloat16 : DType::kFloat32);
}

double ConformanceTest::Rounding(int64_t terms, double factor) const {
  const double epsilon = backend_->types().activations == DType::kFloat64
                             ? std::numeric_limits<double>::epsilon()
                             : std::numeric_limits<float>::epsilon();
  return factor * std::sqrt(static_cast<double>(std::max<int64_t>(terms, 1))) * epsilon;
}

double ConformanceTest::StoredRounding(int times) const {
  return StoresBFloat16() ? times * 0x1p-8 : 0;
}

std::vector<Tensor> ConformanceTest::Tested(const Operation& operation) {
  tested().SetWeightsVersion(WeightsVersion::New());
  return operation(tested());
}

void ConformanceTest::ExpectClose(const Operation& operation, int64_t terms, double factor,
                                  int stored) {
  const std::vector<Tensor> actual = Tested(operation), expected = operation(reference());
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_TRUE(Near(actual[i], expected[i], Rounding(terms, factor) + StoredRounding(stored)))
        << "result " << i;
  }
}

void ConformanceTest::ExpectExact(const Operation& operation) {
  const std::vector<Tensor> actual = Tested(operation), expected = operation(reference());
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_TRUE(Equal(actual[i], expected[i])) << "result " << i;
  }
}

}  // namespace syncbn::backend
