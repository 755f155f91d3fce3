// A tensor and the name under which files hold it.
#pragma once

#include <string>

#include "tensor/tensor.h"

namespace syncbn::train {

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

}  // namespace syncbn::train
