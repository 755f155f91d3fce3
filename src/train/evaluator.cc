#include "train/evaluator.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <optional>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/unknown_value.h"
#include "data/sampler.h"

namespace syncbn::train {
namespace {

enum SumIndex { kLoss, kCorrect, kSamples, kSums };

// What the test batches are normalized with.
nn::Mode ModeOf(v1::EvaluationMode mode) {
  switch (mode) {
    case v1::EVALUATION_MODE_RUNNING:
    case v1::EVALUATION_MODE_PRECISE: return nn::Mode::kEvaluate;
    case v1::EVALUATION_MODE_BATCH: return nn::Mode::kBatchStatistics;
    default: ThrowUnknownValue("train.evaluate.with", static_cast<int>(mode));
  }
}

}  // namespace

Evaluator::Evaluator(Engine& engine, const data::BatchMaker& train, const data::BatchMaker& test,
                     const Options& options)
    : engine_(engine), train_(train), test_(test), options_(options) {}

EvaluationResult Evaluator::Evaluate(v1::EvaluationMode mode, const ModelState& state) {
  const auto start = std::chrono::steady_clock::now();
  ModelState evaluated = state;
  if (mode == v1::EVALUATION_MODE_PRECISE) {
    evaluated.running_statistics = PreciseStatistics(state, options_.precise_samples);
  }

  const int64_t samples = test_.dataset().size();
  std::vector<uint64_t> order(static_cast<size_t>(samples));
  std::iota(order.begin(), order.end(), uint64_t{0});
  // A copy to other memory of the host would stop it where nobody judges how long.
  Tensor sums = engine_.executors().main().NewOnHost({kSums}, DType::kFloat64);
  std::ranges::fill(sums.Span<double>(), 0.0);
  RunPasses(test_, PlanOf(samples), order, ModeOf(mode), evaluated, &sums, nullptr);
  const std::span<const double> totals = std::as_const(sums).Span<double>();
  return {.loss = totals[kLoss] / totals[kSamples],
          .accuracy = totals[kCorrect] / totals[kSamples],
          .samples = samples,
          .seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()};
}

data::BatchPlan Evaluator::PlanOf(int64_t samples) const {
  return data::BatchPlan(samples, options_.batch_per_replica, v1::LAST_BATCH_KEEP);
}

Tensor Evaluator::PreciseStatistics(const ModelState& state, int64_t samples) {
  const nn::RunningStatisticsLayout& layout = engine_.model().running_statistics();
  const int64_t size = train_.dataset().size();
  samples = std::min(samples, size);
  const std::vector<uint64_t> order =
      data::Sampler({.samples = size,
                     .seed = RandomKey(state.seed).Fold("precise").value(),
                     .shuffle = true})
          .Order(0);
  backend::Executor& executor = engine_.executors().main();
  Tensor moments = executor.NewZeros({layout.moments_elements()}, DType::kFloat64);
  RunPasses(train_, PlanOf(samples), std::span(order).first(static_cast<size_t>(samples)),
            nn::Mode::kBatchStatistics, state, nullptr, &moments);
  // Momentum 1 forgets the old statistics.
  return nn::UpdatedRunningStatistics(executor, layout,
                                      {.kind = nn::RunningRule::Kind::kMomentum, .momentum = 1},
                                      state.running_statistics, moments);
}

std::unique_ptr<data::Loader> Evaluator::LoaderFor(const data::BatchMaker& maker,
                                                   const data::BatchPlan& plan,
                                                   std::span<const uint64_t> order, int64_t epoch) {
  if (maker.dataset().in_memory() || options_.prefetch == 0) return nullptr;
  const backend::Backend& backend = engine_.backend();
  if (copies_ == nullptr && &backend.device() != &Device::Host()) {
    copies_ = backend.MakeCopyStream();
  }
  return std::make_unique<data::Loader>(
      maker, std::vector<uint64_t>(order.begin(), order.end()), plan,
      data::Loader::Options{.first_replica = engine_.first_replica(),
                            .replicas = engine_.local_replicas(),
                            .prefetch = options_.prefetch,
                            .threads = options_.threads,
                            .epoch = epoch,
                            .copies = copies_.get()});
}

void Evaluator::RunPasses(const data::BatchMaker& maker, const data::BatchPlan& plan,
                          std::span<const uint64_t> order, nn::Mode mode, const ModelState& state,
                          Tensor* sums, Tensor* moments) {
  const nn::Model& model = engine_.model();
  const comm::Group all{0, engine_.reducer().replicas()};
  const std::unique_ptr<data::Loader> loader = LoaderFor(maker, plan, order, state.epoch);
  // The main executor has made the state, and what receives the moments.
  const backend::Event before = engine_.executors().main().Record();
  engine_.Run([&](int replica) {
    const comm::ReplicaLink link = engine_.Link(replica);
    const bool receives = replica == engine_.first_replica();
    Tensor local_sums, local_moments;
    backend::Event ready;
    {
      // One workspace for all batches of the replica.
      const ExecutorPool::Lease lease = engine_.TakeTurn(replica, state.step);
      backend::Executor& executor = lease.executor();
      executor.WaitFor(before);
      local_sums = executor.NewZeros({kSums}, DType::kFloat64);
      local_moments =
          executor.NewZeros({1, model.running_statistics().moments_elements()}, DType::kFloat64);
      int64_t samples = 0;
      for (int64_t step = 0; step < plan.steps_per_epoch(); ++step) {
        const data::PositionRange slice = plan.Slice(step, replica);
        data::Batch batch = [&] {
          const Engine::Waiting waiting(engine_, replica, state.step, Activity::kData);
          if (loader != nullptr) return std::move(loader->Next(replica).batch);
          return maker.MakeFor(
              executor,
              order.subspan(static_cast<size_t>(slice.begin), static_cast<size_t>(slice.size())),
              state.epoch);
        }();
        link.reducer->Report(replica, state.step, "forward", "");
        nn::StepContext context({.executor = &executor,
                                 .parameter_layout = &model.parameters(),
                                 .running_statistics_layout = &model.running_statistics(),
                                 .parameters = state.parameters,
                                 .running_statistics = state.running_statistics,
                                 .mode = mode,
                                 .link = engine_.LayerLink(replica),
                                 .seed = state.seed,
                                 .epoch = state.epoch,
                                 .step = state.step,
                                 .sample_ids = batch.sample_ids});
        const Tensor logits = model.Forward(data::TakeImages(executor, batch), context);
        if (sums != nullptr) {
          const backend::LossResult loss =
              executor.SoftmaxCrossEntropy(logits, executor.ToDevice(batch.labels, DType::kInt32),
                                           0, 1, /*want_gradient=*/false);
          Tensor total = local_sums.Slice(kLoss, {1}), correct = local_sums.Slice(kCorrect, {1});
          executor.AddSum(loss.losses, total);
          executor.AddSum(loss.correct, correct);
          samples += batch.size();
        }
        if (moments != nullptr) {
          executor.MergeMoments(model.running_statistics().channels(), {}, context.moments(),
                                local_moments);
        }
      }
      Tensor seen = local_sums.Slice(kSamples, {1});
      executor.Fill(seen, static_cast<double>(samples));
      ready = executor.Record();
    }
    if (sums != nullptr) {
      link.Reduce({.operation = comm::Operation::kSum,
                   .group = all,
                   .contribution = std::move(local_sums),
                   .ready = ready,
                   .result = receives ? *sums : Tensor(),
                   .name = "evaluation"});
    }
    if (moments != nullptr && model.running_statistics().size() > 0) {
      link.Reduce({.operation = comm::Operation::kMergeMoments,
                   .group = all,
                   .contribution = std::move(local_moments),
                   .ready = ready,
                   .result = receives ? *moments : Tensor(),
                   .channels = model.running_statistics().channels(),
                   .name = "precise moments"});
    }
  });
}

}  // namespace syncbn::train
