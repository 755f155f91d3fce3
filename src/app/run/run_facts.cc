#include "app/run/run_facts.h"

#include "app/client_text.h"
#include "app/versions.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/text.h"
#include "config/difference.h"

namespace syncbn::app {
namespace {

std::string ModelName(const v1::ModelSpec& spec) {
  return spec.architecture().empty() ? Plural(spec.layers_size(), "layer") : spec.architecture();
}

}  // namespace

Facts FactsOf(const train::PreparedRun& run, const backend::Backend& backend) {
  const std::string text = config::CanonicalText(run.spec());
  const data::LoadedDataset::Digests& data = run.data().digests();
  return {{"program", ProgramDigest()},
          {"back end", std::string(backend.name()) + ": " + backend.Description()},
          {"run file", DigestOf(std::as_bytes(std::span(text.data(), text.size()))).Hex()},
          {"training data", data.train.Hex()},
          {"test data", data.test.Hex()}};
}

std::string DescriptionOf(const train::PreparedRun& run) {
  const data::Dataset &train = run.data().train(), &test = run.data().test();
  return ModelName(run.spec().model()) + ", " + Thousands(run.model().parameters().elements()) +
         " parameters; " + train.name() + ", " + Thousands(train.size()) + " training and " +
         Thousands(test.size()) + " test image" + (test.size() == 1 ? "" : "s") + " of " +
         train.image_shape().ToString();
}

}  // namespace syncbn::app
