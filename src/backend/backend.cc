#include "backend/backend.h"

#include <string>

#include "base/error.h"
#include "base/unknown_value.h"

namespace syncbn::backend {

std::string_view PrecisionName(Precision precision) {
  switch (precision) {
    case Precision::kFloat32:
      return "float32";
    case Precision::kTf32:
      return "tf32";
    case Precision::kBFloat16:
      return "bf16";
  }
  ThrowUnknownValue("precision", static_cast<int>(precision));
}

std::unique_ptr<Backend> Backend::WithPrecision(Precision precision) const {
  const std::string wanted(PrecisionName(precision));
  throw Error(ErrorCode::kUnimplemented,
              "the " + std::string(name()) + " back end does not compute in " + wanted +
                  ": tf32 and bf16 are those of the cuda back end, on a GPU (--backend cuda). "
                  "`precision: float32` is computed everywhere");
}

}  // namespace syncbn::backend
