// Convolutions of 3 x 3, stride 1, one group, by Winograd's minimal filtering (kernels/winograd.h),
// N H W C in and out, in all three passes. Tiles are taken in blocks, so that what is transformed
// and its products stay in the cache.
//
// Belongs to one executor and is confined to its thread. What is computed for an image does not
// depend on the other images of the batch; a gradient of weights adds over all tiles in an order
// that the shapes fix.
//
// Accuracy, which tests/backend/winograd_test.cc holds: y, dx and dweight are no farther from the
// same in double, in the root of the sum of squares, than twice as far as those of the direct form,
// where inputs are dense. Where most of them are zeros the direct form adds few products, and may
// be exact, while the transforms lose as ever: by 2 to 3 times as much at one value in four, and 10
// at one in twenty. An infinity or NaN of x spreads over its tile.
#pragma once

#include <cstdint>

#include "backend/cpu/dnnl_session.h"
#include "backend/cpu/kernels/kernel_table.h"
#include "backend/cpu/packed_weights.h"
#include "backend/specs.h"

namespace syncbn::backend::cpu {

class WinogradConvolutions {
 public:
  // All must outlive this.
  WinogradConvolutions(const KernelTable& kernels, DnnlSession& session, PackedWeights& packed)
      : kernels_(kernels), session_(session), packed_(packed) {}

  // Whether there is such a form of the convolution.
  static bool Fits(const Conv2dSpec& spec);

  // As those of Convolutions. Weights are packed for `version` if it is set.
  void Forward(const WinogradTile& tile, const Conv2dSpec& spec, WeightsVersion version,
               const Tensor& x, const Tensor& weight, const Tensor& bias, Tensor& y);
  void BackwardInput(const WinogradTile& tile, const Conv2dSpec& spec, WeightsVersion version,
                     const Tensor& dy, const Tensor& weight, Tensor& dx);
  void BackwardWeights(const WinogradTile& tile, const Conv2dSpec& spec, const Tensor& x,
                       const Tensor& dy, Tensor& dweight, bool accumulate);

 private:
  void Convolve(WinogradTiles tiles, int64_t images, int64_t depth, int64_t columns, const float* x,
                const float* packed, const float* bias, float* y);
  // Calls body(const float* packed) with the weights in Winograd's domain.
  template <typename Body>
  void WithPacked(const WinogradTile& tile, const Conv2dSpec& spec, WeightsVersion version,
                  bool backward, const Tensor& weight, Body body);

  const KernelTable& kernels_;
  DnnlSession& session_;
  PackedWeights& packed_;
};

}  // namespace syncbn::backend::cpu
