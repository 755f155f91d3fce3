#include "data/batch.h"

#include <utility>

#include "backend/executor.h"

namespace syncbn::data {

Tensor TakeImages(backend::Executor& executor, Batch& batch) {
  executor.WaitFor(batch.ready);
  if (batch.images.defined()) {
    return executor.ToDevice(std::exchange(batch.images, {}), executor.types().activations);
  }
  return executor.MakeImages(std::exchange(batch.raw, {}));
}

}  // namespace syncbn::data
