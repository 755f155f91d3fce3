#include "train/prepared_run.h"

#include <utility>

namespace syncbn::train {
namespace {

std::unique_ptr<const nn::Model> BuildModelFor(const v1::RunSpec& spec,
                                               const data::Dataset& dataset) {
  const data::ImageShape& image = dataset.image_shape();
  return nn::BuildModelOf(spec, {.height = image.height,
                                 .width = image.width,
                                 .channels = image.channels,
                                 .classes = dataset.classes()});
}

}  // namespace

PreparedRun::PreparedRun(v1::RunSpec spec, data::DatasetCache& datasets)
    : spec_(std::move(spec)),
      data_(datasets.Get(spec_.data(), spec_.seed())),
      model_(BuildModelFor(spec_, data_->train())),
      train_(data_->train(),
             data::BatchMaker::Options::ForTraining(spec_, data_->StandardizationOf(spec_.data()))),
      test_(data_->test(), data::BatchMaker::Options::ForEvaluation(
                               spec_, data_->StandardizationOf(spec_.data()))) {}

}  // namespace syncbn::train
