// Matrix products by oneDNN, on plain row-major matrices. Belongs to one executor and is confined
// to its thread.
#pragma once

#include <array>
#include <cstdint>

#include "backend/cpu/dnnl_session.h"
#include "backend/cpu/lru_cache.h"

namespace syncbn::backend::cpu {

// c [rows, columns] = a b, or += a b. a is rows x depth, b depth x columns; a `transposed` operand
// lies in memory as its transpose.
struct ProductSpec {
  int64_t rows = 0;
  int64_t depth = 0;
  int64_t columns = 0;
  bool a_transposed = false;
  bool b_transposed = false;
  bool accumulate = false;
};

class MatrixProducts {
 public:
  // `session` must outlive this.
  explicit MatrixProducts(DnnlSession& session) : session_(session) {}

  // bias [columns] is added to each row of c; may be null. Precondition: no extent is 0.
  void Multiply(const ProductSpec& spec, const float* a, const float* b, const float* bias,
                float* c);

 private:
  struct Operation {
    dnnl::primitive primitive;
    dnnl::memory::desc scratchpad;
    PrimitiveArguments arguments;
  };
  using Key = std::array<int64_t, 7>;

  Operation Make(const ProductSpec& spec, bool bias) const;

  DnnlSession& session_;
  LruCache<Key, Operation> operations_{256};
};

}  // namespace syncbn::backend::cpu
