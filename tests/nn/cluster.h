// A training pass of R replicas on P virtual processes, and what their group makes of it.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "tests/nn/support.h"
#include "tests/support/run_replicas.h"
#include "tests/support/test_device.h"

namespace syncbn::nn {

class Cluster {
 public:
  // What is computed and merged with: by default the reference.
  Cluster(int replicas, int processes, const backend::Backend& backend = Reference())
      : backend_(backend), reducers_(processes, {.replicas = replicas, .backend = &backend}) {}

  // parts[r] is what replica r sees. Throws the first error.
  std::vector<PassResult> Run(const Model& model, const PassSettings& settings,
                              const std::vector<Part>& parts) {
    std::vector<PassResult> results(parts.size());
    std::vector<Error> errors;
    RunReplicas(
        reducers_,
        [&](comm::ReplicaLink link) {
          const size_t replica = static_cast<size_t>(link.replica);
          const auto executor = backend_.MakeExecutor();
          PassSettings own = settings;
          own.link = link;
          results[replica] = RunPass(model, *executor, own, parts[replica]);
        },
        errors);
    if (!errors.empty()) throw errors.front();
    return results;
  }

 private:
  static const backend::Backend& Reference() {
    static const std::unique_ptr<backend::Backend> backend =
        backend::OnTestDevice(backend::MakeReferenceBackend);
    return *backend;
  }

  const backend::Backend& backend_;
  InProcessReducers reducers_;
};

// The pass as one replica with all samples would have made it: outputs stacked, gradients summed,
// moments merged.
inline PassResult Joined(const Model& model, const std::vector<PassResult>& results) {
  std::vector<Tensor> logits, dimages;
  PassResult joined;
  joined.gradients = Tensor::Zeros(Shape{model.parameters().flat_elements()}, DType::kFloat64);
  joined.moments =
      Tensor::Zeros(Shape{model.running_statistics().moments_elements()}, DType::kFloat64);
  for (const PassResult& result : results) {
    logits.push_back(result.logits);
    joined.statistics_messages += result.statistics_messages;
    const Tensor& moments = result.moments;
    comm::MergeMoments(model.running_statistics().channels(), joined.moments.Span<double>(),
                       moments.Span<double>());
    if (!result.gradients.defined()) continue;
    dimages.push_back(result.dimages);
    const Tensor gradients = As(result.gradients, DType::kFloat64);
    for (int64_t i = 0; i < gradients.elements(); ++i) {
      joined.gradients.Data<double>()[i] += gradients.Data<double>()[i];
    }
  }
  joined.logits = Stacked(logits);
  if (!dimages.empty()) joined.dimages = Stacked(dimages);
  return joined;
}

// Parts of these sizes, with images that differ between replicas in mean, so that statistics of one
// replica are far from those of all.
inline std::vector<Part> UnequalParts(const InputSpec& input, const std::vector<int64_t>& sizes) {
  std::vector<Part> parts;
  uint64_t first_id = 0;
  for (size_t r = 0; r < sizes.size(); ++r) {
    parts.push_back(RandomPart(input, sizes[r], "replica " + std::to_string(r),
                               0.5 * static_cast<double>(r), first_id));
    first_id += static_cast<uint64_t>(sizes[r]);
  }
  return parts;
}

}  // namespace syncbn::nn
