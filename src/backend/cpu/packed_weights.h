// Weights in the layouts that convolutions prefer, packed once for each version of the parameters
// and shared by the executors of a back end: k replicas of a process do not pack the same weights k
// times.
//
// Thread-safe. A packing is found by the memory of the weights (as long as it lives: what comes to
// lie at the same address later is something else), the layout and the version. That the values are those that
// were packed is checked by a few of them, which costs nothing: an update of weights changes nearly all.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <oneapi/dnnl/dnnl.hpp>
#include <vector>

#include "backend/weights_version.h"
#include "tensor/tensor.h"

namespace syncbn::backend::cpu {

class PackedWeights {
 public:
  // Read-only while anybody holds it.
  struct Packing {
    std::weak_ptr<const void> source;
    WeightsVersion version;
    // Of a few of the values.
    uint64_t sample = 0;
    dnnl::memory::desc layout;
    dnnl::memory memory;

    bool Holds(WeightsVersion wanted) const { return version == wanted && !source.expired(); }

   private:
    friend class PackedWeights;
    enum class State { kFilling, kReady, kFailed };
    State state = State::kFilling;
  };
  using Handle = std::shared_ptr<const Packing>;

  // The packing of `weights`; pack(memory) is called to fill it if nobody else has. A holder gives
  // the handle up when it moves to another version, so that the memory can serve for that. Throws INTERNAL when
  // the values are not those that were packed under this version.
  template <typename Pack>
  Handle Get(const Tensor& weights, WeightsVersion version, const dnnl::memory::desc& layout,
             const dnnl::engine& engine, Pack pack) {
    bool fill = false;
    const std::shared_ptr<Packing> packing = Find(weights, version, layout, engine, &fill);
    if (fill) {
      try {
        pack(packing->memory);
      } catch (...) {
        Filled(*packing, Packing::State::kFailed);
        throw;
      }
      Filled(*packing, Packing::State::kReady);
    }
    return packing;
  }

  size_t bytes() const;

 private:
  // Sleeps while another thread fills the packing. *fill: the caller has to.
  std::shared_ptr<Packing> Find(const Tensor& weights, WeightsVersion version,
                                const dnnl::memory::desc& layout, const dnnl::engine& engine,
                                bool* fill);
  void Filled(Packing& packing, Packing::State state);
  // Forgets packings whose weights are gone.
  void DropExpired();

  mutable std::mutex mutex_;
  std::condition_variable filled_;
  std::map<const void*, std::vector<std::shared_ptr<Packing>>> packings_;
};

}  // namespace syncbn::backend::cpu
