#include "train/run_backend.h"

#include <string>

#include "base/error.h"
#include "base/unknown_value.h"

namespace syncbn::train {

backend::Precision PrecisionOf(const v1::RunSpec& spec) {
  switch (spec.precision()) {
    case v1::PRECISION_FLOAT32:
    case v1::PRECISION_UNSPECIFIED:  // a run file from before there was a choice
      return backend::Precision::kFloat32;
    case v1::PRECISION_TF32:
      return backend::Precision::kTf32;
    case v1::PRECISION_BF16:
      return backend::Precision::kBFloat16;
    default:
      ThrowUnknownValue("precision", static_cast<int>(spec.precision()));
  }
}

RunBackend::RunBackend(const backend::Backend& given, const v1::RunSpec& spec) : given_(given) {
  const backend::Precision precision = PrecisionOf(spec);
  if (precision == backend::Precision::kFloat32) return;
  own_ = WithFrame(
      [&] { return "the run file's precision, " + std::string(PrecisionName(precision)); },
      [&] { return given.WithPrecision(precision); });
}

}  // namespace syncbn::train
