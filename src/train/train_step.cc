#include "train/train_step.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <span>
#include <utility>

#include "base/check.h"
#include "train/optimizer.h"

namespace syncbn::train {
namespace {

enum SumIndex { kLoss, kCorrect, kSamples, kCheckpoint, kStop, kSums };
// The last of the sums are what was asked for, and not 0 where it was. So that the device itself
// finds the step that was launched behind not to be acceptable, before the host knows, they are
// among what must be finite there, and are not where something was asked for.
constexpr int64_t kRequests = kSums - kCheckpoint;
constexpr double kAskedFor = std::numeric_limits<double>::infinity();

// The logits of one replica in their place among those of all, which are zero: their sum over the
// replicas is all of them.
Tensor AmongAll(backend::Executor& executor, const Tensor& logits, int replica,
                const std::vector<int64_t>& rows) {
  const size_t at = static_cast<size_t>(replica);
  SYNCBN_CHECK_EQ(logits.shape()[0], rows.at(at + 1) - rows[at]) << "rows of replica " << replica;
  Tensor all = executor.NewZeros(logits.shape().WithLeading(rows.back()), logits.dtype());
  Tensor own = all.Rows(rows[at], rows[at + 1]);
  executor.Copy(logits, own);
  return all;
}

// The sums of squares of the gradients in a bucket, into their places.
void SumSquares(backend::Executor& executor, const nn::ParameterLayout& layout,
                const GradientBucket& bucket, const Tensor& gradients, Tensor& squares) {
  std::vector<Tensor> tensors;
  for (int i = bucket.first_parameter; i <= bucket.last_parameter; ++i) {
    tensors.push_back(layout.View(gradients, i));
  }
  Tensor sums = squares.Slice(bucket.first_parameter, {static_cast<int64_t>(tensors.size())});
  executor.SumsOfSquares(tensors, sums);
}

}  // namespace

double BucketBytes(const v1::ClusterSpec& cluster) {
  return cluster.bucket_mib() * 1024 * 1024;
}

TrainStep::TrainStep(Engine& engine, double bucket_bytes)
    : engine_(engine),
      buckets_(MakeGradientBuckets(engine.model().parameters(),
                                   SizeOf(engine.backend().types().gradients), bucket_bytes)),
      all_{0, engine.reducer().replicas()},
      gradients_(engine.executors().main().NewZeros({engine.model().parameters().flat_elements()},
                                                    engine.backend().types().gradients)),
      finite_(engine.executors().main().NewZeros(
          {engine.model().running_statistics().moments_elements() + kRequests}, DType::kFloat64)),
      moments_(finite_.Slice(0, {engine.model().running_statistics().moments_elements()})),
      figures_(engine.executors().main().NewZeros({kSums + backend::verdict::kElements},
                                                  DType::kFloat64)) {}

Tensor TrainStep::verdict() const {
  return figures_.Slice(kSums, {backend::verdict::kElements});
}

void TrainStep::Run(const StepSettings& settings, const BatchSource& batches,
                    const ObserverSource& observers) {
  backend::Executor& main = engine_.executors().main();
  logits_ = settings.logit_rows.empty()
                ? Tensor()
                : main.New({settings.logit_rows.back(), engine_.model().input().classes},
                           main.types().parameters);
  replica_squares_ = settings.replica_squares ? main.New({all_.size()}, DType::kFloat64) : Tensor();
  ahead_ = settings.ahead;
  if (ahead_) {
    Tensor asked = finite_.Slice(moments_.elements(), {kRequests});
    main.Copy(figures_.Slice(kCheckpoint, {kRequests}), asked);
  }
  // Replicas write to what the main executor has read of the last step.
  const backend::Event before = main.Record();
  engine_.Run([&](int replica) { RunReplica(replica, settings, batches, observers, before); });
  for (const backend::Event& event : reduced_) main.WaitFor(event);
  reduced_.clear();
}

void TrainStep::Judge(double clip_norm) {
  backend::Executor& main = engine_.executors().main();
  squares_ = SquaredNorms(main, engine_.model().parameters(), gradients_);
  Tensor result = verdict();
  main.JudgeStep({.squares = squares_,
                  .loss = figures_.Slice(kLoss, {1}),
                  .moments = ahead_ ? finite_ : moments_},
                 clip_norm, result);
}

FiguresOnTheWay TrainStep::SendFigures() const {
  backend::Executor& main = engine_.executors().main();
  FiguresOnTheWay figures{.values = main.NewOnHost(figures_.shape(), figures_.dtype()),
                          .there = {}};
  main.Copy(figures_, figures.values);
  figures.there = main.Record();
  return figures;
}

StepFigures TrainStep::Take(const FiguresOnTheWay& figures) const {
  figures.there.WaitOnHost();
  engine_.reducer().Confirm();
  const std::span<const double> values = figures.values.Span<double>();
  const std::span<const double> verdict = values.subspan(kSums);
  return {.loss = values[kLoss],
          .correct = values[kCorrect],
          .samples = values[kSamples],
          .checkpoint_wanted = values[kCheckpoint] > 0,
          .stop_wanted = values[kStop] > 0,
          .accepted = verdict[backend::verdict::kAccepted] > 0,
          .gradient_norm = verdict[backend::verdict::kNorm],
          .gradient_scale = verdict[backend::verdict::kScale]};
}

void TrainStep::RunReplica(int replica, const StepSettings& settings, const BatchSource& batches,
                           const ObserverSource& observers, const backend::Event& before) {
  const nn::Model& model = settings.model != nullptr ? *settings.model : engine_.model();
  const comm::ReplicaLink link = engine_.Link(replica);
  // The first replica of the process receives what the process shares.
  const bool receives = replica == engine_.first_replica();

  std::vector<comm::Reducer::Handle> handles;
  handles.reserve(buckets_.size() + 4);
  {
    data::Batch batch = [&] {
      const Engine::Waiting waiting(engine_, replica, settings.step, Activity::kData);
      return batches(replica);
    }();
    const ExecutorPool::Lease lease = engine_.TakeTurn(replica, settings.step);
    link.reducer->Report(replica, settings.step, "forward", "");
    backend::Executor& executor = lease.executor();
    executor.WaitFor(before);
    Tensor images = data::TakeImages(executor, batch);
    Tensor gradients =
        executor.New({model.parameters().flat_elements()}, executor.types().gradients);
    // Before they are given away.
    Tensor squares = settings.replica_squares
                         ? executor.New({model.parameters().size()}, DType::kFloat64)
                         : Tensor();
    BucketCounter counter(buckets_);
    nn::TensorObserver observer = observers ? observers(replica) : nn::TensorObserver();
    const std::unique_ptr<PassWatch> watch =
        settings.watches ? settings.watches(executor) : std::unique_ptr<PassWatch>();
    // Nobody trains the images; who watches a step may want their gradient.
    const bool input_gradient = observer != nullptr;
    nn::StepContext context({
        .executor = &executor,
        .parameter_layout = &model.parameters(),
        .running_statistics_layout = &model.running_statistics(),
        .parameters = settings.parameters,
        .running_statistics = settings.running_statistics,
        .gradients = gradients,
        .mode = nn::Mode::kTrain,
        .link = engine_.LayerLink(replica),
        .seed = settings.seed,
        .epoch = settings.epoch,
        .step = settings.step,
        .sample_ids = batch.sample_ids,
        .input_gradient = input_gradient,
        .defer_weight_gradients = model.statistics_cross_replicas(),
        .on_gradient_ready =
            [&](int parameter) {
              const int index = counter.Complete(parameter);
              if (index < 0) return;
              const GradientBucket& bucket = buckets_[static_cast<size_t>(index)];
              const Shape shape{bucket.end - bucket.begin};
              if (squares.defined()) {
                SumSquares(executor, model.parameters(), bucket, gradients, squares);
              }
              handles.push_back(
                  link.Start({.operation = comm::Operation::kSum,
                              .group = all_,
                              .contribution = gradients.Slice(bucket.begin, shape),
                              .ready = executor.Record(),
                              .result = receives ? gradients_.Slice(bucket.begin, shape) : Tensor(),
                              .name = bucket.name}));
              link.reducer->Progress();
            },
        .observer = std::move(observer),
        .watch = watch.get(),
    });

    Tensor logits = model.Forward(std::move(images), context);
    context.Observe("logits", "output", logits);
    link.reducer->Report(replica, settings.step, "loss", "");
    backend::LossResult loss = executor.SoftmaxCrossEntropy(
        logits, executor.ToDevice(batch.labels, DType::kInt32), settings.label_smoothing,
        1.0 / static_cast<double>(settings.global_batch), settings.backward);
    Tensor sums = executor.NewZeros({kSums}, DType::kFloat64);
    const auto sum = [&](SumIndex index) { return sums.Slice(index, {1}); };
    const auto fill = [&](SumIndex index, double value) {
      Tensor place = sum(index);
      executor.Fill(place, value);
    };
    Tensor total = sum(kLoss), correct = sum(kCorrect);
    executor.AddSum(loss.losses, total);
    executor.AddSum(loss.correct, correct);
    fill(kSamples, static_cast<double>(batch.sample_ids.size()));
    if (receives && settings.wants_checkpoint) fill(kCheckpoint, kAskedFor);
    if (receives && settings.wants_stop) fill(kStop, kAskedFor);
    if (!settings.logit_rows.empty()) {
      handles.push_back(link.Start(
          {.operation = comm::Operation::kSum,
           .group = all_,
           .contribution = AmongAll(executor, executor.Convert(logits, executor.types().parameters),
                                    replica, settings.logit_rows),
           .ready = executor.Record(),
           .result = receives ? logits_ : Tensor(),
           .name = "logits"}));
    }
    logits = Tensor();
    if (settings.backward) {
      model.Backward(std::move(loss.dlogits), context);
      context.FinishGradients();
    }
    if (squares.defined()) {
      // In its place among those of all, which are 0.
      Tensor norms = executor.NewZeros(replica_squares_.shape(), DType::kFloat64);
      Tensor own = norms.Slice(replica, {1});
      executor.AddSum(squares, own);
      handles.push_back(link.Start({.operation = comm::Operation::kSum,
                                    .group = all_,
                                    .contribution = std::move(norms),
                                    .ready = executor.Record(),
                                    .result = receives ? replica_squares_ : Tensor(),
                                    .name = "norms of replicas"}));
    }
    handles.push_back(link.Start({.operation = comm::Operation::kSum,
                                  .group = all_,
                                  .contribution = std::move(sums),
                                  .ready = executor.Record(),
                                  .result = receives ? figures_.Slice(0, {kSums}) : Tensor(),
                                  .name = "loss"}));
    if (settings.backward && model.running_statistics().size() > 0) {
      handles.push_back(link.Start({.operation = comm::Operation::kMergeMoments,
                                    .group = all_,
                                    .contribution = context.moments(),
                                    .ready = executor.Record(),
                                    .result = receives ? moments_ : Tensor(),
                                    .channels = model.running_statistics().channels(),
                                    .name = "moments of all layers"}));
    }
    if (watch != nullptr)
      std::ranges::move(watch->Reduce(link, receives), std::back_inserter(handles));
  }
  link.reducer->Report(replica, settings.step, "gradients", "");
  const StepClock::Wait wait(engine_.clock(), Share::kGradients);
  for (const comm::Reducer::Handle& handle : handles) {
    const backend::Event done = link.reducer->Wait(handle);
    if (receives) reduced_.push_back(done);
  }
}

}  // namespace syncbn::train
