// A trained model's tensors under the names that PyTorch and torchvision have for them.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "nn/model.h"
#include "syncbn/v1/run.pb.h"
#include "train/named_tensor.h"

namespace syncbn::interchange {

// Parameters and running statistics of a checkpoint, as train::CheckpointTensors names them; all on
// the host.
class Weights {
 public:
  // Of all tensors of a checkpoint; those of the optimizer are left out.
  explicit Weights(std::span<const train::NamedTensor> checkpoint);

  const std::vector<train::NamedTensor>& tensors() const { return tensors_; }
  // Undefined where there is none.
  Tensor Find(std::string_view name) const;

 private:
  std::vector<train::NamedTensor> tensors_;
};

struct StateDictOptions {
  // Batch norms that stand directly behind a convolution or a linear layer become a part of it
  // (fold.h).
  bool fold_batch_norms = false;
};

// What load_state_dict(strict=True) of torchvision's model of the same name takes (with a head and
// a stem as the run's): convolutions of torchvision's VGGs have a bias before their norm, which the
// run's have not, and get zeros. Folded, it is that of the same model with an identity in the place
// of norms and with biases.
std::vector<train::NamedTensor> StateDict(const v1::ModelSpec& spec, const nn::Model& model,
                                          const Weights& weights, const StateDictOptions& options);

}  // namespace syncbn::interchange
