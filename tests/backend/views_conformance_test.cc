// Operations on parts of larger tensors, which lie at any multiple of an element's size.
#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "tests/backend/conformance.h"

namespace syncbn::backend {
namespace {

class ViewsConformance : public ConformanceTest {
 protected:
  using Put = std::function<Tensor(const Tensor& x)>;

  // The results of the operations do not depend on whether their tensors begin at an odd element of
  // a larger one.
  void ExpectSame(const std::function<std::vector<Tensor>(const Put& put)>& operations) {
    const std::vector<Tensor> expected =
        operations([&](const Tensor& x) { return In(tested(), x); });
    const std::vector<Tensor> actual = operations([&](const Tensor& x) {
      Tensor inside = tested().New({x.elements() + 1}).Slice(1, x.shape());
      tested().Copy(In(tested(), x), inside);
      return inside;
    });
    ASSERT_EQ(actual.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_TRUE(Near(actual[i], expected[i], Rounding(1))) << "result " << i;
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Backends, ViewsConformance, ::testing::ValuesIn(BackendsUnderTest()),
                         NameOfCase);

// With and without a whole number of vectors in a row.
constexpr int64_t kChannels[] = {3, 8, 40};

TEST_P(ViewsConformance, ElementwiseOperations) {
  Executor& e = tested();
  for (const int64_t channels : kChannels) {
    SCOPED_TRACE(channels);
    const Shape shape{3, 5, 4, channels};
    const Tensor x = RandomNormal(shape, "x"), dy = RandomNormal(shape, "dy");
    const std::vector<RandomKey> keys = Keys(3, "keys");
    const NoiseSpec noise{.shift = 0.5, .scale = 1.25, .spread = 0.1};
    ExpectSame([&](const auto& put) {
      std::vector<Tensor> results;
      for (const ActivationKind kind : kActivations) {
        results.push_back(e.ActivationForward(kind, put(x)));
        results.push_back(e.ActivationBackward(kind, put(x), put(dy)));
      }
      const Tensor parts[] = {put(x), put(dy)};
      results.insert(results.end(),
                     {e.Add(put(x), put(dy)), e.Dropout(put(x), keys, 0.5),
                      e.Noise(noise, put(x), keys), e.NoiseBackward(noise, put(dy), keys),
                      e.ConcatChannels(parts), e.SliceChannels(put(x), 1, channels - 1)});
      return results;
    });
  }
}

TEST_P(ViewsConformance, Pooling) {
  Executor& e = tested();
  for (const int64_t channels : kChannels) {
    SCOPED_TRACE(channels);
    const Shape shape{2, 7, 6, channels};
    const Tensor x = Distinct(shape, "x"), few = RandomNormal({2, channels}, "few");
    ExpectSame([&](const auto& put) {
      std::vector<Tensor> results = {
          e.GlobalAveragePoolForward(put(x)), e.GlobalAveragePoolBackward(shape, put(few)),
          e.FlattenToChannelsFirst(put(x)),
          e.UnflattenFromChannelsFirst(shape, put(x.Reshape({2, 42 * channels})))};
      for (const PoolKind kind : {PoolKind::kMax, PoolKind::kAverage}) {
        const Pool2dSpec spec{.kind = kind, .kernel = 3, .stride = 2, .pad = 1};
        const PoolResult pooled = e.Pool2dForward(spec, put(x));
        const Tensor dy = RandomNormal(pooled.y.shape(), "dy");
        results.insert(results.end(),
                       {pooled.y, e.Pool2dBackward(spec, shape, put(dy), pooled.positions)});
      }
      return results;
    });
  }
}

// Weights lie anywhere among the other parameters, and libraries read them in wide accesses.
TEST_P(ViewsConformance, Convolutions) {
  Executor& e = tested();
  const auto place = [&](const Tensor& x, DType type, bool inside) {
    const Tensor there = e.ToDevice(x, type);
    if (!inside) return there;
    Tensor larger = e.New({x.elements() + 1}, type).Slice(1, x.shape());
    e.Copy(there, larger);
    return larger;
  };
  const Conv2dSpec specs[] = {
      {.in_channels = 8, .out_channels = 6},
      {.in_channels = 8, .out_channels = 6, .kernel_h = 3, .kernel_w = 3, .pad_h = 1},
      {.in_channels = 1, .out_channels = 5, .kernel_h = 3, .kernel_w = 3},
      {.in_channels = 6, .out_channels = 6, .kernel_h = 3, .kernel_w = 3, .groups = 6}};
  for (const Conv2dSpec& spec : specs) {
    SCOPED_TRACE(spec.in_channels);
    const Shape shape{2, 5, 4, spec.in_channels};
    const auto whole = [](const Shape& of, const char* name) {
      return RandomIntegers(of, name, -1, 1);
    };
    const Tensor x = whole(shape, "x"), dy = whole(spec.OutputShape(shape), "dy");
    const Tensor weight = whole(spec.WeightShape(), "weight");
    const auto passes = [&](bool inside) {
      const Tensor there = place(x, e.types().activations, inside);
      const Tensor gradient = place(dy, e.types().activations, inside);
      const Tensor filter = place(weight, e.types().parameters, inside);
      Tensor dweight = place(weight, e.types().gradients, inside);
      e.Conv2dBackwardWeights(spec, there, gradient, {dweight, false}, {});
      return std::vector<Tensor>{e.Conv2dForward(spec, there, filter, {}),
                                 e.Conv2dBackwardInput(spec, shape, gradient, filter), dweight};
    };
    const std::vector<Tensor> expected = passes(false), actual = passes(true);
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_TRUE(Near(actual[i], expected[i], 0)) << "result " << i;
    }
  }
}

TEST_P(ViewsConformance, RecurrentLayers) {
  Executor& e = tested();
  for (const int64_t hidden : kChannels) {
    SCOPED_TRACE(hidden);
    const Shape cell{5, hidden}, four{5, 4 * hidden}, sequence{3, 4, hidden};
    const Tensor x = RandomNormal(cell, "x"), y = RandomNormal(cell, "y");
    const Tensor a = RandomNormal(four, "a"), b = RandomNormal(four, "b");
    const Tensor steps = RandomNormal(sequence, "steps");
    ExpectSame([&](const auto& put) {
      Tensor state = put(x), dsum = put(x), gates = put(a), lstm_state = put(x);
      e.RnnForward(put(x), put(y), state);
      e.RnnBackward(state, put(y), dsum);
      const LstmCell lstm = e.LstmCellForward(put(a), put(b), put(x));
      const Tensor tanh_u = e.LstmStateForward(lstm.gates, put(y), lstm_state);
      const Tensor du = e.LstmStateBackward(lstm.gates, tanh_u, put(y));
      const Tensor before = e.LstmCellBackward(lstm.gates, put(x), tanh_u, put(y), put(x), gates);
      return std::vector<Tensor>{state,
                                 dsum,
                                 lstm.gates,
                                 lstm.cell,
                                 tanh_u,
                                 lstm_state,
                                 du,
                                 before,
                                 gates,
                                 e.SwapLeadingAxes(put(steps), 2),
                                 e.SwapLeadingAxesBackward({4, 3, hidden}, put(steps))};
    });
  }
}

}  // namespace
}  // namespace syncbn::backend
