#pragma once

#include "backend/specs.h"

namespace syncbn::backend {

// All of them.
inline constexpr ActivationKind kActivations[] = {ActivationKind::kRelu, ActivationKind::kSigmoid,
                                                  ActivationKind::kTanh, ActivationKind::kGelu,
                                                  ActivationKind::kSilu};

}  // namespace syncbn::backend
