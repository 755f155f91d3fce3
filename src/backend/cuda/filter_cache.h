// Filters that were packed for one version of the parameters.
#pragma once

#include <map>
#include <memory>

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
  // What was packed of these weights; undefined where nothing is.
  Tensor Find(const Tensor& weight) const {
    const auto found = packed_.find(weight.DeviceAddress());
    return found == packed_.end() || found->second.source.expired() ? Tensor()
                                                                    : found->second.filter;
  }
  // Without a version nothing is kept.
  void Keep(const Tensor& weight, Tensor filter) {
    if (version_)
      packed_[weight.DeviceAddress()] = {.source = weight.weak_memory(),
                                         .filter = std::move(filter)};
  }

 private:
  struct Packed {
    std::weak_ptr<const void> source;
    Tensor filter;
  };
  WeightsVersion version_;
  std::map<const std::byte*, Packed> packed_;
};

}  // namespace syncbn::backend::cuda
