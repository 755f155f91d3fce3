#include "train/train_step.h"

#include <algorithm>

#include "base/check.h"

namespace syncbn::train {
namespace {

enum SumIndex { kLoss, kCorrect, kSamples, kCheckpoint, kStop, kSums };

// The logits of one replica in their place among those of all, which are zero: their sum over the
// replicas is all of them.
Tensor AmongAll(const Tensor& logits, int replica, const std::vector<int64_t>& rows) {
  const size_t at = static_cast<size_t>(replica);
  SYNCBN_CHECK_EQ(logits.shape()[0], rows.at(at + 1) - rows[at]) << "rows of replica " << replica;
  Tensor all = Tensor::Zeros(logits.shape().WithLeading(rows.back()), logits.dtype());
  std::ranges::copy(logits.Bytes(), all.Rows(rows[at], rows[at + 1]).Bytes().begin());
  return all;
}

}  // namespace

TrainStep::TrainStep(Engine& engine, double bucket_bytes)
    : engine_(engine),
      buckets_(MakeGradientBuckets(engine.model().parameters(), SizeOf(engine.backend().dtype()),
                                   bucket_bytes)),
      all_{0, engine.reducer().replicas()},
      gradients_(Tensor::Zeros({engine.model().parameters().flat_elements()},
                               engine.backend().dtype())),
      moments_(Tensor::Zeros({engine.model().state().moments_elements()}, DType::kFloat64)),
      sums_(Tensor::Zeros({kSums}, DType::kFloat64)) {}

void TrainStep::Run(const StepSettings& settings, const BatchSource& batches,
                    const ObserverSource& observers) {
  logits_ = settings.logit_rows.empty()
                ? Tensor()
                : Tensor({settings.logit_rows.back(), engine_.model().input().classes},
                         engine_.backend().dtype());
  engine_.Run([&](int replica) { RunReplica(replica, settings, batches, observers); });
  const std::span<const double> sums = std::as_const(sums_).Span<double>();
  totals_ = {.loss = sums[kLoss],
             .correct = sums[kCorrect],
             .samples = sums[kSamples],
             .checkpoint_wanted = sums[kCheckpoint] > 0,
             .stop_wanted = sums[kStop] > 0};
}

void TrainStep::RunReplica(int replica, const StepSettings& settings, const BatchSource& batches,
                           const ObserverSource& observers) {
  const nn::Model& model = engine_.model();
  const comm::ReplicaLink link = engine_.Link(replica);
  // The first replica of the process receives what the process shares.
  const bool receives = replica == engine_.first_replica();

  std::vector<comm::Reducer::Handle> handles;
  handles.reserve(buckets_.size() + 3);
  Tensor sums = Tensor::Zeros({kSums}, DType::kFloat64);
  Tensor moments;
  {
    data::Batch batch = [&] {
      const Engine::Waiting waiting(engine_, replica, settings.step, Activity::kData);
      return batches(replica);
    }();
    const ExecutorPool::Lease lease = engine_.TakeTurn(replica, settings.step);
    link.reducer->Report(replica, settings.step, "forward", "");
    backend::Executor& executor = lease.executor();
    executor.SetWeightsVersion(settings.parameters_version);
    Tensor gradients = executor.New({model.parameters().flat_elements()});
    BucketCounter counter(buckets_);
    nn::TensorObserver observer = observers ? observers(replica) : nn::TensorObserver();
    // Nobody trains the images; who watches a step may want their gradient.
    const bool input_gradient = observer != nullptr;
    nn::StepContext context({
        .executor = &executor,
        .parameter_layout = &model.parameters(),
        .state_layout = &model.state(),
        .parameters = settings.parameters,
        .state = settings.norm_state,
        .gradients = gradients,
        .mode = nn::Mode::kTrain,
        .link = engine_.LayerLink(replica),
        .seed = settings.seed,
        .epoch = settings.epoch,
        .step = settings.step,
        .sample_ids = batch.sample_ids,
        .input_gradient = input_gradient,
        .on_gradient_ready =
            [&](int parameter) {
              const int index = counter.Complete(parameter);
              if (index < 0) return;
              const GradientBucket& bucket = buckets_[static_cast<size_t>(index)];
              const Shape shape{bucket.end - bucket.begin};
              handles.push_back(link.Start(
                  {.operation = comm::Operation::kSum,
                   .group = all_,
                   .contribution = gradients.Slice(bucket.begin, shape),
                   .result = receives ? gradients_.Slice(bucket.begin, shape) : Tensor(),
                   .name = bucket.name}));
              link.reducer->Progress();
            },
        .observer = std::move(observer),
    });

    Tensor logits = model.Forward(batch.images.As(executor.dtype()), context);
    context.Observe("logits", "output", logits);
    backend::LossResult loss = executor.SoftmaxCrossEntropy(
        logits, batch.labels, settings.label_smoothing,
        1.0 / static_cast<double>(settings.global_batch), /*want_gradient=*/true);
    const std::span<double> totals = sums.Span<double>();
    for (double value : std::as_const(loss.losses).Span<double>()) totals[kLoss] += value;
    totals[kCorrect] = static_cast<double>(loss.correct);
    totals[kSamples] = static_cast<double>(batch.sample_ids.size());
    if (receives) {
      totals[kCheckpoint] = settings.wants_checkpoint ? 1 : 0;
      totals[kStop] = settings.wants_stop ? 1 : 0;
    }
    if (!settings.logit_rows.empty()) {
      handles.push_back(link.Start({.operation = comm::Operation::kSum,
                                    .group = all_,
                                    .contribution = AmongAll(logits, replica, settings.logit_rows),
                                    .result = receives ? logits_ : Tensor(),
                                    .name = "logits"}));
    }
    logits = Tensor();
    model.Backward(std::move(loss.dlogits), context);
    context.FinishGradients();
    moments = context.moments();
  }

  handles.push_back(link.Start({.operation = comm::Operation::kSum,
                                .group = all_,
                                .contribution = std::move(sums),
                                .result = receives ? sums_ : Tensor(),
                                .name = "loss"}));
  if (model.state().size() > 0) {
    handles.push_back(link.Start({.operation = comm::Operation::kMergeMoments,
                                  .group = all_,
                                  .contribution = std::move(moments),
                                  .result = receives ? moments_ : Tensor(),
                                  .channels = model.state().channels(),
                                  .name = "moments of all layers"}));
  }
  link.reducer->Report(replica, settings.step, "gradients", "");
  const StepClock::Wait wait(engine_.clock(), Share::kGradients);
  for (const comm::Reducer::Handle& handle : handles) link.Wait(handle);
}

}  // namespace syncbn::train
