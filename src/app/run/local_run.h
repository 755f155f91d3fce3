// What a process prepares for a run alone, before it meets the others: run file, data, model, back end.
// Everything a user can get wrong in these is found here.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "backend/backend.h"
#include "config/run_file.h"
#include "data/batch_maker.h"
#include "data/dataset.h"
#include "nn/model.h"

namespace syncbn::app {

class LocalRun {
 public:
  // `backend_name`: "cpu", "reference" or "cuda". Throws what loading data and building the model throw.
  LocalRun(config::RunFile file, const std::string& backend_name);

  const config::RunFile& file() const { return file_; }
  const v1::RunSpec& spec() const { return file_.spec; }
  const backend::Backend& backend() const { return *backend_; }
  const nn::Model& model() const { return *model_; }
  const data::BatchMaker& train() const { return *train_; }
  const data::BatchMaker& test() const { return *test_; }
  int64_t sgd_batch() const;

  // What results depend on beside the run file's path and the machine: equal facts, equal bits.
  std::map<std::string, std::string> Facts() const;

  // "resnet20, 272,474 parameters, 21 norms; shapes: 8192 training and 2048 test images of 32 x 32 x 3"
  std::string Description() const;

 private:
  config::RunFile file_;
  std::unique_ptr<backend::Backend> backend_;
  data::DatasetPair data_;
  std::unique_ptr<nn::Model> model_;
  std::unique_ptr<data::BatchMaker> train_;
  std::unique_ptr<data::BatchMaker> test_;
};

// "1,234,567"
std::string GroupDigits(long long value);

}  // namespace syncbn::app
