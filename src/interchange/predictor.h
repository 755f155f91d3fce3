// A trained model at work on single images.
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "backend/backend.h"
#include "data/image_file.h"
#include "interchange/model_input.h"
#include "nn/model.h"
#include "train/checkpoint_store.h"

namespace syncbn::interchange {

struct Guess {
  int label = 0;
  double probability = 0;
};

// Not thread-safe.
class Predictor {
 public:
  // `backend` must outlive it. Throws FAILED_PRECONDITION where a norm has no running statistics
  // (what it gives would depend on the batch) or the checkpoint is not of this run file.
  Predictor(const backend::Backend& backend, const v1::RunSpec& run, ModelInput input,
            const train::StoredCheckpoint& checkpoint);
  ~Predictor();

  // The logits of an image, brought to the model's size and channels and standardized as in
  // training. Every image is a pass of its own: the bits do not depend on others.
  std::vector<double> Logits(const data::Image& image);
  // Of a file's, made as evaluation makes those of an image folder. Throws as data::ReadImage does.
  std::vector<double> Logits(const std::filesystem::path& file);

  const ModelInput& input() const { return input_; }

 private:
  data::MiddleCrop Crop() const;
  // Of an image that has the model's size and channels.
  std::vector<double> LogitsOfFitted(data::Image image);

  const ModelInput input_;
  const std::unique_ptr<const nn::Model> model_;
  const std::unique_ptr<backend::Executor> executor_;
  nn::ParameterSet parameters_;
  Tensor running_statistics_;
};

// The `count` most likely labels, the likeliest first and of equal ones the smaller label; softmax
// in double.
std::vector<Guess> MostLikely(const std::vector<double>& logits, size_t count);

}  // namespace syncbn::interchange
