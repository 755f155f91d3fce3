// The parameters of a model, and the name of their values.
//
// Copies refer to the same parameters. Who writes to them does it through Write, which gives the
// values a new name in every copy, and a pass tells its executor the name of what it reads
// (StepContext): so weights that were packed of other values are never used. Any number of threads
// may read while nobody writes.
#pragma once

#include <memory>
#include <utility>

#include "backend/weights_version.h"
#include "base/check.h"
#include "tensor/tensor.h"

namespace syncbn::nn {

class ParameterSet {
 public:
  // None.
  ParameterSet() = default;
  // These values, flat as ParameterLayout lays them out. From here on nobody writes to their memory
  // but this set.
  explicit ParameterSet(Tensor values)
      : shared_(std::make_shared<Shared>(
            Shared{.values = std::move(values), .version = backend::WeightsVersion::New()})) {}

  bool defined() const { return shared_ != nullptr; }
  // To be read.
  const Tensor& values() const { return shared().values; }
  backend::WeightsVersion version() const { return shared().version; }

  // Calls write(values), which changes them in place. Precondition: no pass reads them.
  template <typename F>
  void Write(F&& write) {
    Shared& all = shared();
    // Whatever comes of it, they are no longer what they were.
    all.version = backend::WeightsVersion();
    write(all.values);
    all.version = backend::WeightsVersion::New();
  }

 private:
  struct Shared {
    Tensor values;
    backend::WeightsVersion version;
  };

  Shared& shared() const {
    SYNCBN_CHECK(shared_ != nullptr) << "there are no parameters";
    return *shared_;
  }

  std::shared_ptr<Shared> shared_;
};

}  // namespace syncbn::nn
