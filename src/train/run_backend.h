// The back end of a run, in the precision and with the convolutions of its run file.
#pragma once

#include <memory>

#include "backend/backend.h"
#include "syncbn/v1/run.pb.h"

namespace syncbn::train {

backend::Precision PrecisionOf(const v1::RunSpec& spec);
backend::ConvolutionForms ConvolutionsOf(const v1::RunSpec& spec);

class RunBackend {
 public:
  // `given` must outlive it. Throws UNIMPLEMENTED where it does not compute in what the run file
  // asks for.
  RunBackend(const backend::Backend& given, const v1::RunSpec& spec);

  const backend::Backend& get() const { return own_ != nullptr ? *own_ : given_; }

 private:
  const backend::Backend& given_;
  std::unique_ptr<backend::Backend> own_;  // null: the one that was given
};

}  // namespace syncbn::train
