// Average pooling by oneDNN; padding is not counted. Belongs to one executor and is confined to its
// thread.
#pragma once

#include <array>
#include <cstdint>

#include "backend/cpu/dnnl_session.h"
#include "backend/cpu/lru_cache.h"
#include "backend/specs.h"

namespace syncbn::backend::cpu {

class AveragePools {
 public:
  // `session` must outlive this.
  explicit AveragePools(DnnlSession& session) : session_(session) {}

  // Precondition of both: N > 0.
  void Forward(const Pool2dSpec& spec, const Tensor& x, Tensor& y);
  void Backward(const Pool2dSpec& spec, const Tensor& dy, Tensor& dx);

 private:
  struct Operation {
    dnnl::primitive primitive;
    dnnl::memory::desc scratchpad;
    PrimitiveArguments arguments;
  };
  using Key = std::array<int64_t, 8>;

  Operation& Get(bool backward, const Pool2dSpec& spec, const Shape& x);

  DnnlSession& session_;
  LruCache<Key, Operation> operations_{64};
};

}  // namespace syncbn::backend::cpu
