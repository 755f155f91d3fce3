// Convolutions by oneDNN: activations N H W C as they are, weights packed from PyTorch's layout
// into whatever the primitive prefers. Those that ChooseWinograd names, where kAuto is asked for,
// by Winograd's minimal filtering.
//
// Belongs to one executor and is confined to its thread. Primitives are kept for each spec and
// input shape; results never depend on what is kept.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>

#include "backend/convolution_forms.h"
#include "backend/cpu/convolution_choice.h"
#include "backend/cpu/dnnl_session.h"
#include "backend/cpu/lru_cache.h"
#include "backend/cpu/packed_weights.h"
#include "backend/cpu/winograd.h"
#include "backend/specs.h"

namespace syncbn::backend::cpu {

class Convolutions {
 public:
  // All must outlive this.
  Convolutions(ConvolutionForms forms, const KernelTable& kernels, DnnlSession& session,
               PackedWeights& packed)
      : forms_(forms),
        isa_(kernels.isa),
        session_(session),
        packed_(packed),
        winograd_(kernels, session, packed) {}

  void SetWeightsVersion(WeightsVersion version);

  // Preconditions of all: x.shape() and y.shape() (or those of the gradients) fit the spec; N > 0.
  void Forward(const Conv2dSpec& spec, const Tensor& x, const Tensor& weight, const Tensor& bias,
               Tensor& y);
  void BackwardInput(const Conv2dSpec& spec, const Tensor& dy, const Tensor& weight, Tensor& dx);
  // dweight is written, or added to.
  void BackwardWeights(const Conv2dSpec& spec, const Tensor& x, const Tensor& dy, Tensor& dweight,
                       bool accumulate);

 private:
  enum class Direction { kForward, kForwardBias, kBackwardInput, kBackwardWeights };
  struct Reordering {
    dnnl::reorder primitive;
    dnnl::memory::desc scratchpad;
  };
  struct Operation {
    dnnl::primitive primitive;
    dnnl::memory::desc weights, scratchpad;
    PrimitiveArguments arguments;
    // Of this pass; by the address of the weights.
    std::unordered_map<const void*, PackedWeights::Handle> packings;
    // From PyTorch's layout of the weights to the primitive's; for gradients the other way, written
    // or added.
    Reordering pack, unpack, unpack_and_add;
    dnnl::memory packed_gradient;
  };
  using Key = std::array<int64_t, 14>;

  // None for the direct form. x: the shape of the input.
  std::optional<WinogradTile> Tile(ConvolutionPass pass, const Conv2dSpec& spec,
                                   const Shape& x) const;
  Operation& Get(Direction direction, const Conv2dSpec& spec, const Shape& x);
  Operation Make(Direction direction, const Conv2dSpec& spec, const Shape& x) const;
  void MakeReorderings(const Conv2dSpec& spec, bool gradient, Operation& operation) const;
  // The weights as the operation wants them.
  dnnl::memory Packed(const Conv2dSpec& spec, Operation& operation, const Tensor& weight);
  void Reorder(Reordering& reordering, const dnnl::memory& from, const dnnl::memory& to);

  ConvolutionForms forms_;
  Isa isa_;
  DnnlSession& session_;
  PackedWeights& packed_;
  WinogradConvolutions winograd_;
  WeightsVersion version_;
  // Layers x directions x batch sizes (full, last, evaluation) of a deep network.
  LruCache<Key, Operation> operations_{512};
};

}  // namespace syncbn::backend::cpu
