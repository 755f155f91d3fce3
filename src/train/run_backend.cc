#include "train/run_backend.h"

#include <string>
#include <utility>

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

backend::ConvolutionForms ConvolutionsOf(const v1::RunSpec& spec) {
  switch (spec.convolution()) {
    case v1::CONVOLUTION_AUTO:
      return backend::ConvolutionForms::kAuto;
    case v1::CONVOLUTION_DIRECT:
    case v1::CONVOLUTION_UNSPECIFIED:  // a run file from before there was a choice
      return backend::ConvolutionForms::kDirect;
    default:
      ThrowUnknownValue("convolution", static_cast<int>(spec.convolution()));
  }
}

RunBackend::RunBackend(const backend::Backend& given, const v1::RunSpec& spec) : given_(given) {
  const backend::Precision precision = PrecisionOf(spec);
  if (precision != backend::Precision::kFloat32) {
    own_ = WithFrame(
        [&] { return "the run file's precision, " + std::string(PrecisionName(precision)); },
        [&] { return given.WithPrecision(precision); });
  }
  if (ConvolutionsOf(spec) == backend::ConvolutionForms::kAuto) {
    if (auto other = get().WithConvolutions(backend::ConvolutionForms::kAuto)) {
      own_ = std::move(other);
    }
  }
}

}  // namespace syncbn::train
