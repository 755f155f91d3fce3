#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/backend/conformance.h"

namespace syncbn::backend {
namespace {

struct PoolingCase {
  Pool2dSpec spec;  // kind is set by the test
  int64_t height, width, channels;
};

const std::vector<PoolingCase>& Cases() {
  static const std::vector<PoolingCase> cases = {
      {{.kernel = 2, .stride = 2}, 8, 6, 16},
      {{.kernel = 2, .stride = 2}, 7, 5, 3},
      {{.kernel = 3, .stride = 2, .pad = 1}, 9, 7, 64},
      {{.kernel = 3, .stride = 2, .pad = 1}, 6, 8, 10},
      {{.kernel = 3, .stride = 1, .pad = 1}, 5, 5, 24},
      {{.kernel = 2, .stride = 3}, 8, 7, 1},
      {{.kernel = 5, .stride = 5}, 5, 5, 10},
      {{.kernel = 4, .stride = 1, .pad = 2}, 3, 4, 3},
      {{.kernel = 1, .stride = 1}, 3, 2, 16},
  };
  return cases;
}

std::vector<Tensor> ForwardAndBackward(Executor& e, const Pool2dSpec& spec, const Tensor& x,
                                       const Tensor& dy) {
  const PoolResult pooled = e.Pool2dForward(spec, In(e, x));
  return {pooled.y, e.Pool2dBackward(spec, x.shape(), In(e, dy), pooled.positions)};
}

class PoolingConformance : public ConformanceTest {
 protected:
  // Calls check(spec, x_shape) for every case.
  template <typename Check>
  void ForEachCase(PoolKind kind, Check check) {
    for (const PoolingCase& c : Cases()) {
      for (const int64_t samples : {0, 1, 2, 5}) {
        Pool2dSpec spec = c.spec;
        spec.kind = kind;
        const Shape x_shape{samples, c.height, c.width, c.channels};
        SCOPED_TRACE(::testing::Message() << x_shape << ", kernel " << spec.kernel << ", stride "
                                          << spec.stride << ", padding " << spec.pad);
        check(spec, x_shape);
      }
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Backends, PoolingConformance, ::testing::ValuesIn(BackendsUnderTest()),
                         NameOfCase);

TEST_P(PoolingConformance, MaximaAreExactAndTheirGradientsGoWhereTheReferenceSendsThem) {
  ForEachCase(PoolKind::kMax, [&](const Pool2dSpec& spec, const Shape& x_shape) {
    const Tensor x = Distinct(x_shape, "x");
    const Tensor dy = RandomIntegers(spec.OutputShape(x_shape), "dy", -4, 4);
    ExpectExact([&](Executor& e) { return ForwardAndBackward(e, spec, x, dy); });
  });
}

// After a ReLU many elements of a window are equal: 0.
TEST_P(PoolingConformance, AKindThatNobodyHasTaughtItIsAnError) {
  Executor& e = tested();
  const Pool2dSpec spec{.kind = static_cast<PoolKind>(9)};
  const Tensor x = In(e, Filled({1, 2, 2, 4}, 1)), dy = In(e, Filled({1, 1, 1, 4}, 1));
  EXPECT_THROW(e.Pool2dForward(spec, x), Error);
  EXPECT_THROW(e.Pool2dBackward(spec, x.shape(), dy, {}), Error);
}

TEST_P(PoolingConformance, GradientsOfEqualMaximaGoToTheFirst) {
  ForEachCase(PoolKind::kMax, [&](const Pool2dSpec& spec, const Shape& x_shape) {
    const Tensor x = RandomIntegers(x_shape, "x", 0, 1);
    const Tensor dy = RandomIntegers(spec.OutputShape(x_shape), "dy", -4, 4);
    ExpectExact([&](Executor& e) { return ForwardAndBackward(e, spec, x, dy); });
  });
}

TEST_P(PoolingConformance, PaddingIsNotTheMaximumOfNegativeNumbers) {
  const Pool2dSpec spec{.kind = PoolKind::kMax, .kernel = 3, .stride = 2, .pad = 1};
  const Tensor x = RandomIntegers({2, 5, 5, 16}, "x", -9, -1);
  ExpectExact([&](Executor& e) { return std::vector<Tensor>{e.Pool2dForward(spec, In(e, x)).y}; });
}

TEST_P(PoolingConformance, MeansEqualTheReferenceUpToRounding) {
  ForEachCase(PoolKind::kAverage, [&](const Pool2dSpec& spec, const Shape& x_shape) {
    const Tensor x = RandomNormal(x_shape, "x");
    const Tensor dy = RandomNormal(spec.OutputShape(x_shape), "dy");
    ExpectClose([&](Executor& e) { return ForwardAndBackward(e, spec, x, dy); },
                spec.kernel * spec.kernel);
  });
}

TEST_P(PoolingConformance, MeansOfTwoByTwoWholeNumbersAreExact) {
  const Pool2dSpec spec{.kind = PoolKind::kAverage, .kernel = 2, .stride = 2, .pad = 1};
  const Tensor x = RandomIntegers({3, 6, 5, 10}, "x", -9, 9);
  const Tensor dy = RandomIntegers(spec.OutputShape(x.shape()), "dy", -9, 9);
  ExpectExact([&](Executor& e) { return ForwardAndBackward(e, spec, x, dy); });
}

std::vector<Tensor> GlobalForwardAndBackward(Executor& e, const Tensor& x, const Tensor& dy) {
  return {e.GlobalAveragePoolForward(In(e, x)), e.GlobalAveragePoolBackward(x.shape(), In(e, dy))};
}

TEST_P(PoolingConformance, GlobalMeansEqualTheReferenceUpToRounding) {
  for (const int64_t channels : {1, 3, 10, 16, 24, 64}) {
    for (const int64_t samples : {0, 1, 2, 5}) {
      const Shape x_shape{samples, 5, 7, channels};
      SCOPED_TRACE(x_shape);
      const Tensor x = RandomNormal(x_shape, "x", 1), dy = RandomNormal({samples, channels}, "dy");
      ExpectClose([&](Executor& e) { return GlobalForwardAndBackward(e, x, dy); }, 5 * 7);
    }
  }
}

TEST_P(PoolingConformance, GlobalMeansOfSixteenWholeNumbersAreExact) {
  for (const int64_t channels : {1, 3, 10, 64}) {
    const Tensor x = RandomIntegers({5, 4, 4, channels}, "x", -9, 9);
    const Tensor dy = RandomIntegers({5, channels}, "dy", -9, 9);
    ExpectExact([&](Executor& e) { return GlobalForwardAndBackward(e, x, dy); });
  }
}

TEST_P(PoolingConformance, FlattenMovesEveryElementToItsPlaceAndBack) {
  for (const int64_t channels : {1, 3, 10, 16, 24, 64}) {
    for (const int64_t samples : {0, 1, 5}) {
      const Tensor x = RandomNormal({samples, 5, 3, channels}, "x");
      const Tensor dy = RandomNormal({samples, 15 * channels}, "dy");
      SCOPED_TRACE(x.shape());
      ExpectExact([&](Executor& e) {
        return std::vector<Tensor>{e.FlattenToChannelsFirst(In(e, x)),
                                   e.UnflattenFromChannelsFirst(x.shape(), In(e, dy))};
      });
    }
  }
}

}  // namespace
}  // namespace syncbn::backend
