// How far every normalization in float32 is from double, beside PyTorch's own float32 form.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/nn/norm_support.h"
#include "tests/nn/pytorch_norms.h"
#include "tests/support/test_device.h"

namespace syncbn::nn {
namespace {

constexpr int64_t kCounts[] = {1, 2, 3, 4, 8, 64};

const backend::Backend& Cpu() {
  static const std::unique_ptr<backend::Backend> backend =
      backend::OnTestDevice(backend::MakeCpuBackend);
  return *backend;
}

std::vector<float> Floats(const Tensor& x) {
  const Tensor copy = As(x, DType::kFloat32);
  return {copy.Span<float>().begin(), copy.Span<float>().end()};
}

template <typename Values>
double Distance(const Values& values, const Tensor& exact) {
  double distance = 0;
  for (int64_t i = 0; i < exact.elements(); ++i) {
    const double value = static_cast<double>(values[static_cast<size_t>(i)]);
    distance = std::max(distance, std::abs(value - exact.Data<double>()[i]));
  }
  return distance;
}

// The farthest over all draws, for each result.
struct Apart {
  double own = 0, pytorch = 0;
};
class Distances {
 public:
  void Add(const std::string& what, const Tensor& own, const std::vector<float>& pytorch,
           const Tensor& exact) {
    apart_[what].own = std::max(apart_[what].own, Distance(Floats(own), exact));
    apart_[what].pytorch = std::max(apart_[what].pytorch, Distance(pytorch, exact));
  }
  void ExpectAtMostTwice() const {
    for (const auto& [what, distance] : apart_) {
      EXPECT_LE(distance.own, 2 * distance.pytorch) << what;
    }
  }

 private:
  std::map<std::string, Apart> apart_;
};

// x and dy of these means, deviation 1: sums that cancel and sums that do not.
struct Draw {
  double x_mean = 0, dy_mean = 0;
};
constexpr Draw kDraws[] = {{0, 0}, {0.5, 3}, {30, 0}, {30, 100}, {0, 1e4}};

// A net that is a single norm over images of `pixels` x 1 x channels, and `samples` of them.
struct NormCase {
  std::string norm;
  int64_t pixels = 1, channels = 1, samples = 1;
};

using Form = std::function<pytorch::Results(const pytorch::Inputs&)>;

void ExpectNoFartherThanTwicePyTorch(const NormCase& c, bool samples_are_segments,
                                     const Form& form) {
  SCOPED_TRACE(::testing::Message() << c.norm << ": " << c.samples << " samples of " << c.pixels
                                    << " pixels, " << c.channels << " channels");
  const NormNet net(c.pixels, 1, c.channels, c.norm,
                    MakeCluster(1, {static_cast<int>(std::max<int64_t>(2, c.samples))}));
  const PassSettings settings = net.Settings();
  for (const Draw& draw : kDraws) {
    SCOPED_TRACE(::testing::Message() << "means " << draw.x_mean << " and " << draw.dy_mean);
    Distances distances;
    for (int i = 0; i < 8; ++i) {
      Part part = net.Data(c.samples, "x" + std::to_string(i), draw.x_mean);
      part.dlogits = RandomNormal(part.dlogits.shape(), "dy" + std::to_string(i), draw.dy_mean);
      const auto parameter = [&](std::string_view name) {
        return net.model->parameters().View(settings.parameters,
                                            net.model->parameters().Find(name));
      };
      const pytorch::Inputs inputs{.segments = samples_are_segments ? c.samples : 1,
                                   .rows = samples_are_segments ? c.pixels : c.samples * c.pixels,
                                   .channels = c.channels,
                                   .x = Floats(part.images),
                                   .dy = Floats(net.AsImages(part.dlogits)),
                                   .gamma = Floats(parameter("0.weight")),
                                   .beta = Floats(parameter("0.bias"))};
      const pytorch::Results pytorch = form(inputs);
      const PassResult exact = RunPass(*net.model, settings, part);
      const PassResult own = RunPass(*net.model, *Cpu().MakeExecutor(), settings, part);
      distances.Add("y", net.AsImages(As(own.logits, DType::kFloat64)), pytorch.y,
                    net.AsImages(exact.logits));
      distances.Add("dx", own.dimages, pytorch.dx, exact.dimages);
      distances.Add("dgamma", net.Gradient(own, "0.weight"), pytorch.dgamma,
                    net.Gradient(exact, "0.weight"));
      distances.Add("dbeta", net.Gradient(own, "0.bias"), pytorch.dbeta,
                    net.Gradient(exact, "0.bias"));
    }
    distances.ExpectAtMostTwice();
  }
}

TEST(NormAccuracy, BatchNormOfFeaturesIsWithinTwicePyTorchsDistanceFromDouble) {
  for (const int64_t count : kCounts) {
    for (const int64_t channels : {5, 20, 64}) {
      ExpectNoFartherThanTwicePyTorch(
          {.norm = "", .channels = channels, .samples = count}, false,
          [](const pytorch::Inputs& in) { return pytorch::BatchNorm(in, false); });
    }
  }
}

TEST(NormAccuracy, InstanceNormIsWithinTwicePyTorchsDistanceFromDouble) {
  for (const int64_t count : kCounts) {
    if (count == 1) continue;  // refused: SampleNorm.AGroupOfOneElementIsRefused
    for (const int64_t channels : {5, 64}) {
      ExpectNoFartherThanTwicePyTorch(
          {.norm = "kind: NORM_KIND_INSTANCE", .pixels = count, .channels = channels, .samples = 4},
          true, [](const pytorch::Inputs& in) { return pytorch::BatchNorm(in, true); });
    }
  }
}

TEST(NormAccuracy, LayerNormIsWithinTwicePyTorchsDistanceFromDouble) {
  for (const int64_t count : kCounts) {
    if (count == 1) continue;
    ExpectNoFartherThanTwicePyTorch(
        {.norm = "kind: NORM_KIND_LAYER", .channels = count, .samples = 16}, true,
        pytorch::LayerNorm);
  }
}

TEST(NormAccuracy, GroupNormIsWithinTwicePyTorchsDistanceFromDouble) {
  for (const int64_t count : kCounts) {
    if (count == 1) continue;
    for (const int64_t pixels : {1, 2}) {
      if (count % pixels != 0) continue;
      ExpectNoFartherThanTwicePyTorch(
          {.norm = "kind: NORM_KIND_GROUP groups: 4",
           .pixels = pixels,
           .channels = 4 * count / pixels,
           .samples = 8},
          true, [](const pytorch::Inputs& in) { return pytorch::GroupNorm(in, 4); });
    }
  }
}

TEST(NormAccuracy, WeightNormIsWithinTwicePyTorchsDistanceFromDouble) {
  const int64_t outputs = 20;
  const auto reference = backend::OnTestDevice(backend::MakeReferenceBackend)->MakeExecutor(),
             cpu = Cpu().MakeExecutor();
  for (const int64_t inputs : kCounts) {
    SCOPED_TRACE(inputs);
    Distances distances;
    for (int i = 0; i < 8; ++i) {
      const std::string draw = std::to_string(inputs) + "." + std::to_string(i);
      const Tensor v = RandomNormal({outputs, inputs}, "v" + draw),
                   dw = RandomNormal({outputs, inputs}, "dw" + draw, 1),
                   gain = RandomNormal({outputs}, "gain" + draw, 1);
      const auto run = [&](backend::Executor& executor) {
        const Tensor own_v = ForExecutor(executor, v), own_gain = ForExecutor(executor, gain);
        const backend::WeightNormResult forward = executor.WeightNormForward(own_v, own_gain);
        const Tensor dv = executor.New(v.shape()), dgain = executor.New(gain.shape());
        executor.WeightNormBackward(own_v, own_gain, forward.norms, ForExecutor(executor, dw),
                                    {.tensor = dv}, {.tensor = dgain});
        return std::vector<Tensor>{forward.weight.OnHost(), dv.OnHost(), dgain.OnHost()};
      };
      const std::vector<Tensor> exact = run(*reference), own = run(*cpu);
      const pytorch::WeightNormResults pytorch =
          pytorch::WeightNorm(outputs, inputs, Floats(v), Floats(gain), Floats(dw));
      distances.Add("w", own[0], pytorch.w, exact[0]);
      distances.Add("dv", own[1], pytorch.dv, exact[1]);
      distances.Add("dgain", own[2], pytorch.dgain, exact[2]);
    }
    distances.ExpectAtMostTwice();
  }
}

// What a layer before the norm learns from it: nothing, to the last bit, or an optimizer that
// divides by the size of the gradient (adamw) makes a whole step of what rounding left.
TEST(NormAccuracy, TheGradientOfABatchNormOverEqualElementsIsExactlyZero) {
  for (const int64_t count : {1, 2, 3, 7, 16}) {
    for (const int64_t channels : {5, 20, 64}) {
      const NormNet net(1, 1, channels, "", MakeCluster(1, {32}));
      Part part = net.Data(1);
      const Part one = part;
      for (int64_t i = 1; i < count; ++i) part = StackedParts({part, one});
      EXPECT_EQ(
          MaxAbsolute(RunPass(*net.model, *Cpu().MakeExecutor(), net.Settings(), part).dimages), 0)
          << count << " samples, " << channels << " channels";
    }
  }
}

}  // namespace
}  // namespace syncbn::nn
