// One step of all replicas of a process, apart from what a trainer makes of it.
#include "train/train_step.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "backend/backend.h"
#include "base/rng.h"
#include "comm/in_process.h"
#include "comm/make_reducer.h"
#include "tests/support/in_process_run.h"
#include "tests/support/one_order_exchange.h"
#include "tests/support/small_run.h"
#include "tests/support/test_device.h"
#include "train/probes/noise_scale.h"

namespace syncbn::train {
namespace {

constexpr nn::InputSpec kImages{.height = 8, .width = 8, .channels = 3, .classes = 10};

// Batches of random images of these sizes, and what a step of theirs needs.
class StepBatches {
 public:
  explicit StepBatches(std::vector<int64_t> sizes) : sizes_(std::move(sizes)), rows_{0} {
    for (int64_t size : sizes_) rows_.push_back(rows_.back() + size);
    images_ = Tensor({total(), kImages.height, kImages.width, kImages.channels}, DType::kFloat32);
    labels_ = Tensor({total()}, DType::kInt32);
    RandomStream stream{RandomKey(5)};
    for (float& x : images_.Span<float>()) x = 2 * stream.Uniform() - 1;
    for (int32_t& x : labels_.Span<int32_t>()) x = static_cast<int32_t>(stream.Below(10));
  }

  int replicas() const { return static_cast<int>(sizes_.size()); }
  int64_t total() const { return rows_.back(); }
  const std::vector<int64_t>& rows() const { return rows_; }
  // The same samples as one replica's batch.
  StepBatches Together() const {
    StepBatches one({total()});
    one.images_ = images_;
    one.labels_ = labels_;
    return one;
  }
  // Those of one replica, as the only one's.
  StepBatches Alone(int replica) const {
    const data::Batch batch = Of(replica);
    StepBatches one({batch.size()});
    one.images_ = batch.images;
    one.labels_ = batch.labels;
    one.first_id_ = batch.sample_ids.front();
    return one;
  }
  data::Batch Of(int replica) const {
    const int64_t begin = rows_.at(static_cast<size_t>(replica));
    const int64_t end = rows_.at(static_cast<size_t>(replica) + 1);
    data::Batch batch{.images = images_.Rows(begin, end), .labels = labels_.Rows(begin, end)};
    batch.sample_ids.resize(static_cast<size_t>(end - begin));
    std::iota(batch.sample_ids.begin(), batch.sample_ids.end(),
              first_id_ + static_cast<uint64_t>(begin));
    return batch;
  }

 private:
  std::vector<int64_t> sizes_, rows_;
  Tensor images_, labels_;
  // Dropout is keyed by it.
  uint64_t first_id_ = 0;
};

struct StepResult {
  Tensor gradients, moments, logits, replica_squares;
  StepFigures totals;
};

struct StepOptions {
  std::string norm_batch = "global";
  int processes = 1;
  double bucket_bytes = 1e9;
  bool logits = true;
  // See comm::ReducerOptions.
  comm::MakeExchange make_exchange = {};
  TrainStep::ObserverSource observers = {};
  // Changes what a process asks for.
  std::function<void(int process, StepSettings& settings)> adjust = {};
};

std::unique_ptr<nn::Model> MakeModel(int replicas, const std::string& norm_batch) {
  const v1::RunSpec spec = RunSpecFromYaml(SmallRun(replicas, 4, norm_batch));
  return nn::BuildModel(spec.model(), spec.cluster(), kImages);
}

// One step on virtual processes; the results of each.
std::vector<StepResult> RunStep(const StepBatches& batches, const StepOptions& options = {}) {
  const int replicas = batches.replicas();
  const auto model = MakeModel(replicas, options.norm_batch);
  const auto backend = backend::OnTestDevice(backend::MakeReferenceBackend);
  const auto executor = backend->MakeExecutor();
  const Tensor before = nn::InitialParameters(model->parameters(), 1, backend->types().parameters);
  const Tensor parameters = executor->Clone(before);
  const Tensor running_statistics =
      executor->Clone(nn::InitialRunningStatistics(model->running_statistics()));
  executor->Synchronize();
  auto communicators = comm::MakeInProcessCommunicators(options.processes);
  std::vector<StepResult> results(static_cast<size_t>(options.processes));
  auto run_process = [&](int process) {
    const auto reducer = comm::MakeReducer(
        *communicators[static_cast<size_t>(process)],
        {.replicas = replicas, .make_exchange = options.make_exchange, .backend = backend.get()});
    const comm::Group local = comm::ReplicaMap(replicas, options.processes).OfProcess(process);
    Engine engine({.first_replica = local.begin, .replicas = local.size(), .concurrency = 2},
                  *model, *backend, *reducer);
    TrainStep step(engine, options.bucket_bytes);
    StepSettings settings{.seed = 1,
                          .global_batch = batches.total(),
                          .parameters = nn::ParameterSet(parameters),
                          .running_statistics = running_statistics};
    if (options.logits) settings.logit_rows = batches.rows();
    if (options.adjust) options.adjust(process, settings);
    step.Run(
        settings, [&](int replica) { return batches.Of(replica); }, options.observers);
    const StepFigures figures = step.Figures();
    results[static_cast<size_t>(process)] = {.gradients = step.gradients().OnHost().Clone(),
                                             .moments = step.moments().OnHost().Clone(),
                                             .logits = step.logits().OnHost(),
                                             .replica_squares = step.replica_squares().OnHost(),
                                             .totals = figures};
  };
  OnProcesses(options.processes, run_process);
  const Tensor after = parameters.OnHost();
  EXPECT_TRUE(std::ranges::equal(after.Bytes(), before.Bytes()))
      << "a step must change no parameter";
  return results;
}

void ExpectEqualBits(const Tensor& a, const Tensor& b, const char* what) {
  ASSERT_EQ(a.shape(), b.shape()) << what;
  EXPECT_TRUE(std::ranges::equal(a.Bytes(), b.Bytes())) << what;
}

// Sums in another order: a few units in the last place of the largest.
void ExpectNear(const Tensor& a, const Tensor& b, const char* what) {
  ASSERT_EQ(a.shape(), b.shape()) << what;
  ASSERT_GT(a.elements(), 0) << what;
  const std::span<const double> x = a.Span<double>(), y = b.Span<double>();
  double largest = 0, difference = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    largest = std::max(largest, std::abs(x[i]));
    difference = std::max(difference, std::abs(x[i] - y[i]));
  }
  EXPECT_GT(largest, 0) << what;
  EXPECT_LE(difference, 1e-13 * largest) << what;
}

TEST(TrainStep, OfUnevenAndEmptyReplicasIsThatOfAllSamplesTogether) {
  // Dropout among it: what it drops hangs on the samples, not on where they lie.
  const StepBatches batches({3, 0, 4, 1});
  const StepResult apart = RunStep(batches).front();
  const StepResult together = RunStep(batches.Together()).front();
  EXPECT_EQ(apart.totals.samples, 8);
  EXPECT_EQ(apart.totals.correct, together.totals.correct);
  EXPECT_NEAR(apart.totals.loss, together.totals.loss, 1e-13 * together.totals.loss);
  ExpectNear(apart.gradients, together.gradients, "gradients");
  ExpectNear(apart.moments, together.moments, "moments");
  ExpectNear(apart.logits, together.logits, "logits");
}

TEST(TrainStep, GivesEveryProcessTheSameBitsAndThoseOfOneProcess) {
  for (const char* norm_batch : {"global", "replica", "2"}) {
    const StepBatches batches({4, 4, 4, 4});
    const StepResult one = RunStep(batches, {.norm_batch = norm_batch}).front();
    const auto many = RunStep(batches, {.norm_batch = norm_batch, .processes = 3});
    ASSERT_EQ(many.size(), 3u);
    for (const StepResult& result : many) {
      ExpectEqualBits(result.gradients, one.gradients, "gradients");
      ExpectEqualBits(result.moments, one.moments, "moments");
      ExpectEqualBits(result.logits, one.logits, "logits");
      EXPECT_EQ(result.totals.loss, one.totals.loss);
      EXPECT_EQ(result.totals.correct, one.totals.correct);
    }
  }
}

TEST(TrainStep, EndsInTheSameBitsOverAnExchangeThatNeedsOneOrder) {
  // Statistics of groups that lie in, beside and across processes, between buckets of gradients.
  const StepBatches batches({3, 0, 4, 1, 2, 5});
  for (const char* norm_batch : {"8", "12", "global"}) {
    const StepResult one =
        RunStep(batches, {.norm_batch = norm_batch, .bucket_bytes = 500}).front();
    for (const int processes : {2, 4, 5}) {
      for (const StepResult& result :
           RunStep(batches, {.norm_batch = norm_batch,
                            .processes = processes,
                            .bucket_bytes = 500,
                            .make_exchange = MakeOneOrderExchanges(processes)})) {
        ExpectEqualBits(result.gradients, one.gradients, "gradients");
        ExpectEqualBits(result.moments, one.moments, "moments");
        ExpectEqualBits(result.logits, one.logits, "logits");
        EXPECT_EQ(result.totals.loss, one.totals.loss);
      }
    }
  }
}

TEST(TrainStep, GivesTheSameGradientsInBucketsOfAnySize) {
  const StepBatches batches({4, 4});
  const StepResult whole = RunStep(batches).front();
  for (const double bytes : {1.0, 500.0, 5000.0}) {
    const StepResult cut = RunStep(batches, {.bucket_bytes = bytes}).front();
    ExpectEqualBits(cut.gradients, whole.gradients, "gradients");
  }
}

TEST(TrainStep, LogitsOfEachReplicaLieInItsRows) {
  const StepBatches batches({2, 0, 3});
  // As observers see them, replica by replica.
  std::vector<Tensor> seen(3);
  const auto watch = [&](int replica) -> nn::TensorObserver {
    return [&seen, replica](std::string_view layer, std::string_view, const Tensor& tensor) {
      if (layer == "logits") seen[static_cast<size_t>(replica)] = tensor.Clone();
    };
  };
  const StepResult result = RunStep(batches, {.observers = watch}).front();
  ASSERT_EQ(result.logits.shape(), (Shape{5, 10}));
  for (size_t replica = 0; replica < 3; ++replica) {
    ASSERT_TRUE(seen[replica].defined()) << replica;
    ExpectEqualBits(result.logits.Rows(batches.rows()[replica], batches.rows()[replica + 1]),
                    seen[replica], "logits");
  }
  EXPECT_FALSE(RunStep(batches, {.logits = false}).front().logits.defined());
}

// A model of no parameters that notes whether it was asked for the gradient of the images.
class AskedLayer : public nn::Layer {
 public:
  explicit AskedLayer(std::vector<int>& asked) : Layer("asked"), asked_(asked) {}
  Shape OutputShape(const Shape& input) const override { return {input[0], kImages.classes}; }
  Tensor Forward(Tensor x, nn::StepContext& context) const override {
    backend::Executor& executor = context.executor();
    return executor.NewZeros(OutputShape(x.shape()), executor.types().activations);
  }
  Tensor Backward(Tensor dy, nn::StepContext& context) const override {
    asked_.at(static_cast<size_t>(context.link().replica)) =
        context.inputs().input_gradient ? 1 : 0;
    return {};
  }

 private:
  std::vector<int>& asked_;
};

// The first layer's gradient of its input costs as much as its forward pass, and nobody trains
// images.
TEST(TrainStep, ComputesTheGradientOfTheImagesForThoseWhoWatchAlone) {
  const StepBatches batches({2, 2});
  const auto asked_with = [&](const TrainStep::ObserverSource& observers) {
    std::vector<int> asked(2, -1);
    const nn::Model model(std::make_unique<AskedLayer>(asked), {}, {}, {}, kImages);
    const auto backend = backend::OnTestDevice(backend::MakeReferenceBackend);
    auto communicators = comm::MakeInProcessCommunicators(1);
    const auto reducer =
        comm::MakeReducer(*communicators.front(), {.replicas = 2, .backend = backend.get()});
    Engine engine({.replicas = 2}, model, *backend, *reducer);
    TrainStep step(engine, 1e9);
    step.Run(
        {.global_batch = batches.total(),
         .parameters = nn::ParameterSet(backend->MakeExecutor()->New({0})),
         .running_statistics = backend->MakeExecutor()->New({0}, DType::kFloat64)},
        [&](int replica) { return batches.Of(replica); }, observers);
    return asked;
  };
  EXPECT_EQ(asked_with({}), (std::vector<int>{0, 0}));
  // The trainer always has a source of observers; what counts is whether one comes out of it.
  EXPECT_EQ(asked_with([](int) { return nn::TensorObserver(); }), (std::vector<int>{0, 0}));
  EXPECT_EQ(asked_with([](int replica) -> nn::TensorObserver {
              if (replica == 0) return {};
              return [](std::string_view, std::string_view, const Tensor&) {};
            }),
            (std::vector<int>{0, 1}));
}

double SumOfSquares(const Tensor& values) {
  double sum = 0;
  for (const double value : values.Span<double>()) sum += value * value;
  return sum;
}

// A step of each replica's samples alone is what the replica computes where statistics are its own.
TEST(TrainStep, NormsOfReplicasAndTheirNoiseAreThoseOfEachReplicaAlone) {
  const std::vector<int64_t> sizes = {3, 0, 4, 1};
  const StepBatches batches(sizes);
  const auto wanted = [](int, StepSettings& settings) { settings.replica_squares = true; };
  StepOptions options{.norm_batch = "replica", .adjust = wanted};
  const StepResult step = RunStep(batches, options).front();
  ASSERT_EQ(step.replica_squares.shape(), (Shape{4}));
  std::vector<ReplicaGradient> replicas;
  // By its definition: the weighted variance of the replicas' gradients around that of all.
  double between = 0;
  for (int replica = 0; replica < 4; ++replica) {
    const double adds = step.replica_squares.Span<double>()[static_cast<size_t>(replica)];
    const double samples = static_cast<double>(sizes[static_cast<size_t>(replica)]);
    replicas.push_back({.samples = sizes[static_cast<size_t>(replica)]});
    if (samples == 0) {
      EXPECT_EQ(adds, 0);
      continue;
    }
    const StepResult alone = RunStep(batches.Alone(replica), {.norm_batch = "replica"}).front();
    const double square = SumOfSquares(alone.gradients), share = samples / 8;
    EXPECT_NEAR(adds, share * share * square, 1e-12 * square) << replica;
    replicas.back().squared_norm = adds / (share * share);
    for (int64_t i = 0; i < alone.gradients.elements(); ++i) {
      const size_t at = static_cast<size_t>(i);
      const double apart = alone.gradients.Span<double>()[at] - step.gradients.Span<double>()[at];
      between += samples * apart * apart;
    }
  }
  const double variance = between / (3 - 1), square = SumOfSquares(step.gradients);
  const auto noise = EstimateNoise(replicas, square);
  ASSERT_TRUE(noise.has_value());
  EXPECT_GT(variance, 0);
  EXPECT_NEAR(noise->variance, variance, 1e-11 * variance);
  EXPECT_NEAR(noise->squared_gradient, square - variance / 8, 1e-11 * variance);

  options.processes = 3;
  options.bucket_bytes = 500;
  for (const StepResult& result : RunStep(batches, options)) {
    ExpectEqualBits(result.replica_squares, step.replica_squares, "norms of replicas");
    ExpectEqualBits(result.gradients, step.gradients, "gradients");
  }
  EXPECT_FALSE(RunStep(batches).front().replica_squares.defined()) << "nobody wants them";
}

TEST(TrainStep, WithoutABackwardPassHasTheSameLossToTheBit) {
  const StepBatches batches({3, 0, 4, 1});
  const StepResult whole = RunStep(batches).front();
  const auto forward = [](int, StepSettings& settings) { settings.backward = false; };
  for (const StepResult& result : RunStep(batches, {.processes = 2, .adjust = forward})) {
    EXPECT_EQ(result.totals.loss, whole.totals.loss);
    EXPECT_EQ(result.totals.correct, whole.totals.correct);
    EXPECT_EQ(SumOfSquares(result.gradients), 0) << "none were computed";
  }
}

TEST(TrainStep, RequestsOfAnyProcessReachAll) {
  const StepBatches batches({2, 2, 2});
  const auto ask = [](int process, StepSettings& settings) {
    settings.wants_stop = process == 1;
    settings.wants_checkpoint = process == 2;
  };
  const auto results = RunStep(batches, {.processes = 3, .adjust = ask});
  ASSERT_EQ(results.size(), 3u);
  for (const StepResult& result : results) {
    EXPECT_TRUE(result.totals.stop_wanted);
    EXPECT_TRUE(result.totals.checkpoint_wanted);
  }
  const StepResult none = RunStep(batches).front();
  EXPECT_FALSE(none.totals.stop_wanted);
  EXPECT_FALSE(none.totals.checkpoint_wanted);
}

}  // namespace
}  // namespace syncbn::train
