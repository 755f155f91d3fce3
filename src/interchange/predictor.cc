#include "interchange/predictor.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "data/batch_maker.h"
#include "nn/step_context.h"
#include "train/optimizer.h"

namespace syncbn::interchange {
namespace {

std::unique_ptr<const nn::Model> BuiltFor(const v1::RunSpec& run, const ModelInput& input) {
  auto model = nn::BuildModelOf(run, {.height = input.image.height,
                                      .width = input.image.width,
                                      .channels = input.image.channels,
                                      .classes = static_cast<int64_t>(input.classes.size())});
  for (const nn::NormStatistics& norm : model->running_statistics().norms()) {
    if (norm.tracked) continue;
    throw Error(
        ErrorCode::kFailedPrecondition,
        "layer " + norm.name +
            " has no running statistics (norm.running: none): what the model says of an image "
            "depends on the images beside it; `syncbn evaluate --with batch` evaluates such a "
            "model");
  }
  return model;
}

}  // namespace

Predictor::Predictor(const backend::Backend& backend, const v1::RunSpec& run, ModelInput input,
                     const train::StoredCheckpoint& checkpoint)
    : input_(std::move(input)), model_(BuiltFor(run, input_)), executor_(backend.MakeExecutor()) {
  const train::Optimizer optimizer(run.train().optimizer(), model_->parameters());
  const train::TrainingState state =
      train::RestoreState({&model_->parameters(), &model_->running_statistics(), &optimizer},
                          backend.types().parameters, checkpoint.manifest, checkpoint.tensors,
                          checkpoint.folder.string())
          .ToDevice(*executor_);
  parameters_ = nn::ParameterSet(state.parameters);
  running_statistics_ = state.running_statistics;
}

Predictor::~Predictor() = default;

data::MiddleCrop Predictor::Crop() const {
  return {
      .shorter_side = input_.middle_of, .height = input_.image.height, .width = input_.image.width};
}

std::vector<double> Predictor::Logits(const data::Image& image) {
  const data::ImageShape& shape = input_.image;
  const data::Image colours = data::WithChannels(image, shape.channels);
  return LogitsOfFitted(input_.middle_of == 0 ? data::Resized(colours, shape.height, shape.width)
                                              : data::Middle(colours, Crop()));
}

std::vector<double> Predictor::Logits(const std::filesystem::path& file) {
  if (input_.middle_of == 0) return Logits(data::ReadImage(file));
  return LogitsOfFitted(data::WithChannels(data::ReadMiddle(file, Crop()), input_.image.channels));
}

std::vector<double> Predictor::LogitsOfFitted(data::Image fitted) {
  const data::Dataset one({.name = "an image",
                           .split = data::Split::kTest,
                           .image = input_.image,
                           .classes = 1,
                           .images = std::move(fitted.pixels),
                           .labels = {0}});
  const std::array<uint64_t, 1> first = {0};
  const data::Batch batch =
      data::BatchMaker(one, {.augment = {}, .seed = 0, .standardize = input_.standardize})
          .Make(first, 0);
  nn::StepContext context({.executor = executor_.get(),
                           .parameter_layout = &model_->parameters(),
                           .running_statistics_layout = &model_->running_statistics(),
                           .parameters = parameters_,
                           .running_statistics = running_statistics_,
                           .mode = nn::Mode::kEvaluate,
                           .sample_ids = batch.sample_ids});
  const Tensor logits =
      executor_
          ->Convert(model_->Forward(
                        executor_->ToDevice(batch.images, executor_->types().activations), context),
                    executor_->types().parameters)
          .OnHost();
  if (logits.dtype() == DType::kFloat64) {
    const auto values = logits.Span<double>();
    return {values.begin(), values.end()};
  }
  const auto values = logits.Span<float>();
  return {values.begin(), values.end()};
}

std::vector<Guess> MostLikely(const std::vector<double>& logits, size_t count) {
  const double largest = *std::ranges::max_element(logits);
  double sum = 0;
  for (const double logit : logits) sum += std::exp(logit - largest);
  std::vector<int> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, std::ranges::greater(),
                           [&](int label) { return logits[static_cast<size_t>(label)]; });
  order.resize(std::min(count, order.size()));
  std::vector<Guess> guesses;
  for (const int label : order) {
    guesses.push_back(
        {.label = label,
         .probability = std::exp(logits[static_cast<size_t>(label)] - largest) / sum});
  }
  return guesses;
}

}  // namespace syncbn::interchange
