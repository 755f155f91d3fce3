// Samples of one step for one replica.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/event.h"
#include "backend/images.h"
#include "tensor/tensor.h"

namespace syncbn::backend {
class Executor;
}

namespace syncbn::data {

struct Batch {
  // float32 [n, H, W, C], on the host; n may be 0. Undefined where `raw` is in their place.
  Tensor images;
  Tensor labels;  // int32 [n]
  std::vector<uint64_t> sample_ids;
  // On a device, which then makes the images.
  backend::RawImages raw = {};
  // Behind which tensors of a device may be read.
  backend::Event ready = {};

  int64_t size() const { return static_cast<int64_t>(sample_ids.size()); }
};

// The images as activations on the executor's device, with the same values whichever way the batch
// has them. What is given to the executor from here on is behind `ready`. The batch gives them up.
Tensor TakeImages(backend::Executor& executor, Batch& batch);

}  // namespace syncbn::data
