#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/backend/conformance.h"

namespace syncbn::backend {
namespace {

class RecurrentConformance : public ConformanceTest {};
INSTANTIATE_TEST_SUITE_P(Backends, RecurrentConformance, ::testing::ValuesIn(BackendsUnderTest()),
                         NameOfCase);

// Samples and state; lengths around those of vector registers, and none.
const std::vector<Shape>& States() {
  static const std::vector<Shape> shapes = {{0, 5}, {1, 1}, {3, 7}, {4, 8}, {2, 19}, {5, 64}};
  return shapes;
}

Shape GatesOf(const Shape& state) {
  return {state[0], 4 * state[1]};
}

// A part of a larger tensor; what lies around it must stay.
class Part {
 public:
  Part(Executor& e, const Shape& shape) : whole_(e.New({shape[0] + 2, shape[1]})), shape_(shape) {
    e.Fill(whole_, 77);
    inside_ = whole_.Slice(shape[1], shape);
  }
  Tensor& operator*() { return inside_; }
  Tensor Result() const {
    const Tensor all = As(whole_, DType::kFloat64);
    for (int64_t i = 0; i < shape_[1]; ++i) {
      EXPECT_EQ(all.Data<double>()[i], 77);
      EXPECT_EQ(all.Data<double>()[all.elements() - 1 - i], 77);
    }
    return inside_;
  }

 private:
  Tensor whole_, inside_;
  Shape shape_;
};

TEST_P(RecurrentConformance, SwappedAxesAreStepsOfSamplesAndBack) {
  // [sample, step, feature] in the digits of a number.
  Tensor x(Shape{2, 3, 2}, DType::kFloat64);
  for (int i = 0; i < 12; ++i) x.Data<double>()[i] = 100 * (i / 6) + 10 * (i / 2 % 3) + i % 2;
  Executor& e = tested();
  const Tensor two = e.SwapLeadingAxes(In(e, x), 2);
  EXPECT_TRUE(Equal(two, FromValues({2, 2, 2}, {0, 1, 100, 101, 10, 11, 110, 111})));
  EXPECT_TRUE(Equal(e.SwapLeadingAxesBackward({2, 3, 2}, two),
                    FromValues({2, 3, 2}, {0, 1, 10, 11, 0, 0, 100, 101, 110, 111, 0, 0})));
  EXPECT_TRUE(Equal(e.SwapLeadingAxes(e.SwapLeadingAxes(In(e, x), 3), 2), x));
  EXPECT_EQ(e.SwapLeadingAxes(In(e, Filled({0, 3, 4, 2}, 0)), 2).shape(), (Shape{2, 0, 4, 2}));
  EXPECT_EQ(e.SwapLeadingAxesBackward({0, 3, 2}, In(e, Filled({2, 0, 2}, 0))).shape(),
            (Shape{0, 3, 2}));
}

TEST_P(RecurrentConformance, TheStateOfAnRnnAndItsGradientEqualTheReference) {
  for (const Shape& shape : States()) {
    SCOPED_TRACE(shape);
    const Tensor a = RandomNormal(shape, "a"), b = RandomNormal(shape, "b");
    const Tensor dstate = RandomNormal(shape, "dstate"), kept = RandomNormal(shape, "kept", 0, 0.4);
    ExpectClose(
        [&](Executor& e) {
          Part state(e, shape), dsum(e, shape);
          e.RnnForward(In(e, a), In(e, b), *state);
          e.RnnBackward(In(e, kept), In(e, dstate), *dsum);
          return std::vector<Tensor>{state.Result(), dsum.Result()};
        },
        1, 8);
  }
}

// Each operation on inputs of its own: what one gives is not stored as the reference has it.
std::vector<Tensor> LstmStep(Executor& e, const Shape& shape) {
  const auto in = [&](const Shape& of, const char* name, double mean = 0, double std = 1) {
    return In(e, RandomNormal(of, name, mean, std));
  };
  const Tensor before = in(shape, "before"), dstate = in(shape, "dstate");
  const Tensor gates = in(GatesOf(shape), "gates", 0.5, 0.15), tanh_u = in(shape, "tanh_u", 0, 0.4);
  const LstmCell cell = e.LstmCellForward(in(GatesOf(shape), "a"), in(GatesOf(shape), "b"), before);
  Part state(e, shape), dsum(e, GatesOf(shape));
  const Tensor of_u = e.LstmStateForward(gates, in(shape, "u"), *state);
  const Tensor du = e.LstmStateBackward(gates, tanh_u, dstate);
  const Tensor dbefore =
      e.LstmCellBackward(gates, before, tanh_u, dstate, in(shape, "dcell"), *dsum);
  return {cell.gates, cell.cell, of_u, state.Result(), du, dbefore, dsum.Result()};
}

TEST_P(RecurrentConformance, AStepOfAnLstmAndItsGradientEqualTheReference) {
  for (const Shape& shape : States()) {
    SCOPED_TRACE(shape);
    ExpectClose([&](Executor& e) { return LstmStep(e, shape); }, 1, 12);
  }
}

TEST_P(RecurrentConformance, AnOperandThatSomebodyHoldsIsNotOverwritten) {
  Executor& e = tested();
  const Shape shape{3, 7};
  const Tensor b = In(e, RandomNormal(GatesOf(shape), "b")), u = In(e, RandomNormal(shape, "u"));
  const Tensor b_before = e.Clone(b), u_before = e.Clone(u);
  const LstmCell cell = e.LstmCellForward(b, b, u);
  Tensor state = e.New(shape), dsum = e.New(GatesOf(shape));
  const Tensor tanh_u = e.LstmStateForward(cell.gates, u, state);
  e.LstmCellBackward(cell.gates, u, tanh_u, u, u, dsum);
  EXPECT_TRUE(SameBits(b, b_before));
  EXPECT_TRUE(SameBits(u, u_before));
}

TEST_P(RecurrentConformance, NotANumberStaysInItsPlace) {
  Executor& e = tested();
  const Shape shape{3, 9};
  Tensor a = RandomNormal(GatesOf(shape), "a");
  a.Data<double>()[36 + 9 + 4] = std::numeric_limits<double>::quiet_NaN();  // f of (1, 4)
  const Tensor zero = In(e, Filled(GatesOf(shape), 0)), one = In(e, Filled(shape, 1));
  const LstmCell cell = e.LstmCellForward(In(e, a), zero, one);
  Tensor state = e.New(shape);
  e.LstmStateForward(cell.gates, cell.cell, state);
  const Tensor result = As(state, DType::kFloat64);
  for (int64_t i = 0; i < 27; ++i) EXPECT_EQ(std::isnan(result.Data<double>()[i]), i == 13) << i;
}

}  // namespace
}  // namespace syncbn::backend
