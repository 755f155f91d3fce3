// Filters that were packed, and weights that were converted, for one version of the parameters.
#pragma once

#include <map>
#include <memory>
#include <utility>

#include "backend/weights_version.h"
#include "tensor/tensor.h"

namespace syncbn::backend::cuda {

// Of one executor. A filter is known by the memory of its weights, as long as that lives.
class FilterCache {
 public:
  // Gives up what was packed under another version.
  void SetVersion(WeightsVersion version) {
    if (version == version_) return;
    packed_.clear();
    version_ = version;
  }
  // What was made of these weights in this type; undefined where nothing is.
  Tensor Find(const Tensor& weight, DType type) const {
    const auto found = packed_.find({weight.DeviceAddress(), type});
    return found == packed_.end() || found->second.source.expired() ? Tensor()
                                                                    : found->second.filter;
  }
  // Without a version nothing is kept.
  void Keep(const Tensor& weight, Tensor filter) {
    if (!version_) return;
    const Key key{weight.DeviceAddress(), filter.dtype()};
    packed_[key] = {.source = weight.weak_memory(), .filter = std::move(filter)};
  }

 private:
  using Key = std::pair<const std::byte*, DType>;
  struct Packed {
    std::weak_ptr<const void> source;
    Tensor filter;
  };
  WeightsVersion version_;
  std::map<Key, Packed> packed_;
};

}  // namespace syncbn::backend::cuda
