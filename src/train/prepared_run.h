// What a process prepares for a run alone, before it meets the others: data and model. What a user
// can get wrong in these is found here.
#pragma once

#include <cstdint>
#include <memory>

#include "data/batch_maker.h"
#include "data/dataset_cache.h"
#include "nn/model.h"
#include "syncbn/v1/run.pb.h"

namespace syncbn::train {

// Immutable: several runs may use it at once.
class PreparedRun {
 public:
  // `spec` is validated and complete. Throws what loading data and building the model throw.
  PreparedRun(v1::RunSpec spec, data::DatasetCache& datasets);
  PreparedRun(const PreparedRun&) = delete;
  PreparedRun& operator=(const PreparedRun&) = delete;

  const v1::RunSpec& spec() const { return spec_; }
  const data::LoadedDataset& data() const { return *data_; }
  const nn::Model& model() const { return *model_; }
  // Batches of the training split as they are trained on, and of the test split.
  const data::BatchMaker& train() const { return train_; }
  const data::BatchMaker& test() const { return test_; }

 private:
  const v1::RunSpec spec_;
  const std::shared_ptr<const data::LoadedDataset> data_;
  const std::unique_ptr<const nn::Model> model_;
  const data::BatchMaker train_, test_;
};

}  // namespace syncbn::train
