#include "app/run/local_run.h"

#include "app/versions.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/text.h"
#include "config/difference.h"
#include "data/batch_plan.h"

namespace syncbn::app {
namespace {

std::unique_ptr<backend::Backend> MakeBackend(const std::string& name) {
  if (name == "cpu") return backend::MakeCpuBackend();
  if (name == "reference") return backend::MakeReferenceBackend();
  if (name == "cuda") return backend::MakeCudaBackend();
  throw Error(ErrorCode::kInvalidArgument,
              "there is no back end '" + name + "'; expected cpu, reference or cuda");
}

std::string ModelName(const v1::ModelSpec& spec) {
  return spec.architecture().empty() ? Plural(spec.layers_size(), "layer") : spec.architecture();
}

}  // namespace

LocalRun::LocalRun(config::RunFile file, const std::string& backend_name)
    : file_(std::move(file)),
      backend_(MakeBackend(backend_name)),
      data_(data::MakeDataset(spec().data(), spec().seed())) {
  const data::ImageShape& image = data_.train->image_shape();
  model_ = nn::BuildModel(spec().model(), spec().cluster(),
                          {.height = image.height,
                           .width = image.width,
                           .channels = image.channels,
                           .classes = data_.train->classes()});
  const data::ChannelStatistics statistics = data_.train->ComputeStatistics();
  train_ = std::make_unique<data::BatchMaker>(
      *data_.train, data::BatchMaker::Options::ForTraining(spec(), statistics));
  test_ = std::make_unique<data::BatchMaker>(
      *data_.test, data::BatchMaker::Options::ForEvaluation(spec(), statistics));
}

int64_t LocalRun::sgd_batch() const {
  int64_t sum = 0;
  for (int64_t batch : data::BatchPerReplica(spec().cluster())) sum += batch;
  return sum;
}

std::map<std::string, std::string> LocalRun::Facts() const {
  const std::string text = config::CanonicalText(spec());
  return {{"program", ProgramDigest()},
          {"back end", std::string(backend_->name()) + ": " + backend_->Description()},
          {"run file", DigestOf(std::as_bytes(std::span(text.data(), text.size()))).Hex()},
          {"training data", data_.train->ComputeDigest().Hex()},
          {"test data", data_.test->ComputeDigest().Hex()}};
}

std::string LocalRun::Description() const {
  const data::ImageShape& image = data_.train->image_shape();
  return ModelName(spec().model()) + ", " + GroupDigits(model_->parameters().elements()) +
         " parameters; " + data_.train->name() + ", " + GroupDigits(data_.train->size()) +
         " training and " + GroupDigits(data_.test->size()) + " test image" +
         (data_.test->size() == 1 ? "" : "s") + " of " + image.ToString();
}

std::string GroupDigits(long long value) {
  std::string text = std::to_string(value);
  for (int at = static_cast<int>(text.size()) - 3; at > (value < 0 ? 1 : 0); at -= 3) {
    text.insert(static_cast<size_t>(at), ",");
  }
  return text;
}

}  // namespace syncbn::app
