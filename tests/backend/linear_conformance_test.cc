#include <gtest/gtest.h>

#include "tests/backend/conformance.h"

namespace syncbn::backend {
namespace {

struct Sizes {
  int64_t in, out;
};

constexpr Sizes kSizes[] = {{1, 1}, {3, 10}, {10, 3}, {16, 24}, {24, 1}, {64, 64}, {784, 10}};

class Passes {
 public:
  Passes(Sizes sizes, int64_t samples, int whole) {
    const auto draw = [whole](Shape shape, std::string_view name) {
      return whole > 0 ? RandomIntegers(shape, name, -whole, whole) : RandomNormal(shape, name);
    };
    x_ = draw({samples, sizes.in}, "x");
    weight_ = draw({sizes.out, sizes.in}, "weight");
    bias_ = draw({sizes.out}, "bias");
    dy_ = draw({samples, sizes.out}, "dy");
    dweight_ = draw(weight_.shape(), "dweight before");
    dbias_ = draw(bias_.shape(), "dbias before");
  }

  std::vector<Tensor> Forward(Executor& e) const {
    return {e.LinearForward(In(e, x_), Parameter(e, weight_), Parameter(e, bias_)),
            e.LinearForward(In(e, x_), Parameter(e, weight_), {})};
  }
  std::vector<Tensor> BackwardInput(Executor& e) const {
    return {e.LinearBackwardInput(In(e, dy_), Parameter(e, weight_))};
  }
  std::vector<Tensor> BackwardWeights(Executor& e) const {
    std::vector<Tensor> results;
    for (const bool accumulate : {false, true}) {
      GuardedGradient dweight(e, dweight_), dbias(e, dbias_), alone(e, dweight_);
      e.LinearBackwardWeights(In(e, x_), In(e, dy_), dweight.Out(accumulate),
                              dbias.Out(accumulate));
      e.LinearBackwardWeights(In(e, x_), In(e, dy_), alone.Out(accumulate), {});
      results.insert(results.end(), {dweight.Result(), dbias.Result(), alone.Result()});
    }
    return results;
  }

 private:
  Tensor x_, weight_, bias_, dy_, dweight_, dbias_;
};

class LinearConformance : public ConformanceTest {
 protected:
  // Of which sums are exact where results are stored: BF16 has those up to 256.
  int WholeNumbers() const { return StoresBFloat16() ? 1 : 4; }
};
INSTANTIATE_TEST_SUITE_P(Backends, LinearConformance, ::testing::ValuesIn(BackendsUnderTest()),
                         NameOfCase);

TEST_P(LinearConformance, EqualsTheReferenceUpToRounding) {
  for (const Sizes sizes : kSizes) {
    for (const int64_t samples : {0, 1, 2, 5, 33}) {
      SCOPED_TRACE(::testing::Message()
                   << sizes.in << " -> " << sizes.out << ", samples " << samples);
      const Passes passes(sizes, samples, /*whole=*/0);
      // Before the bias is added.
      ExpectClose([&](Executor& e) { return passes.Forward(e); }, sizes.in, 4, /*stored=*/1);
      ExpectClose([&](Executor& e) { return passes.BackwardInput(e); }, sizes.out);
      ExpectClose([&](Executor& e) { return passes.BackwardWeights(e); }, samples);
    }
  }
}

TEST_P(LinearConformance, IsExactOnSmallWholeNumbers) {
  for (const Sizes sizes : kSizes) {
    for (const int64_t samples : {1, 5, 33}) {
      SCOPED_TRACE(::testing::Message()
                   << sizes.in << " -> " << sizes.out << ", samples " << samples);
      const Passes passes(sizes, samples, WholeNumbers());
      ExpectExact([&](Executor& e) { return passes.Forward(e); });
      ExpectExact([&](Executor& e) { return passes.BackwardInput(e); });
      ExpectExact([&](Executor& e) { return passes.BackwardWeights(e); });
    }
  }
}

}  // namespace
}  // namespace syncbn::backend
