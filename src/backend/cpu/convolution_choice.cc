#include "backend/cpu/convolution_choice.h"

#include <algorithm>
#include <cstdint>

#include "backend/cpu/winograd.h"

namespace syncbn::backend::cpu {
namespace {

struct Candidate {
  WinogradTile tile;
  // What the transforms cost beside the products: multiplications for each position and channel of
  // inputs and outputs. Fitted to build/bin/convolution_bench (tests/README.md says when and
  // where); of the gradient of the weights other transforms.
  int64_t transforms, transforms_of_weights;
};

constexpr Candidate kCandidates[] = {{{4, 4}, 27, 20}, {{4, 2}, 9, 14}, {{2, 2}, 6, 10}};
// What has to be gained at least, in percent: what is not in the count (weights, caches) varies.
constexpr int64_t kGain = 10;

// Where inputs and outputs both have values; what else a tile covers is padding.
struct Extent {
  int64_t height, width;
};

// Whether the result is near enough to the exact one for dense inputs
// (tests/backend/winograd_test.cc): beside what the transforms lose, which padding makes no less,
// the direct form loses with every product that it adds.
bool Accurate(ConvolutionPass pass, const WinogradTile& tile, const Conv2dSpec& spec,
              int64_t images, const Extent& common) {
  if (common.height < tile.down || common.width < tile.across) return false;
  switch (pass) {
    case ConvolutionPass::kForward:
      return tile.across < 4 ? tile.down < 4 || common.width > 2 : spec.in_channels >= 32;
    // oneDNN adds in groups here, and is near to the exact result however many channels there are.
    case ConvolutionPass::kBackwardInput:
      return tile.across < 4 && (tile.down < 4 || common.width > 2);
    case ConvolutionPass::kBackwardWeights: {
      const int64_t pixels = images * common.height * common.width;
      return pixels >= (tile.across == 4 ? 1024 : tile.down == 4 ? 512 : 128);
    }
  }
  return false;
}

}  // namespace

std::optional<WinogradTile> ChooseWinograd(ConvolutionPass pass, const Conv2dSpec& spec,
                                           const Shape& x, Isa isa) {
  // Not measured with AVX-512, where oneDNN's direct form has vectors twice as wide.
  if (isa != Isa::kAvx2 || !WinogradConvolutions::Fits(spec)) return std::nullopt;
  const int64_t in = spec.in_channels, out = spec.out_channels;
  // Fewer are a small part of a vector or of a block of rows.
  if (in < 16 || out < 16) return std::nullopt;
  const Shape y = spec.OutputShape(x);
  const bool of_inputs = pass == ConvolutionPass::kBackwardInput;
  const int64_t height = of_inputs ? x[1] : y[1], width = of_inputs ? x[2] : y[2];
  int64_t least = y[1] * y[2] * 9 * in * out * 100 / (100 + kGain);
  const Extent common{std::min(x[1], y[1]), std::min(x[2], y[2])};
  std::optional<WinogradTile> best;
  for (const Candidate& candidate : kCandidates) {
    const WinogradTile& tile = candidate.tile;
    if (!Accurate(pass, tile, spec, x[0], common)) continue;
    const int64_t tiles =
        ((height + tile.down - 1) / tile.down) * ((width + tile.across - 1) / tile.across);
    const int64_t transforms = pass == ConvolutionPass::kBackwardWeights
                                   ? candidate.transforms_of_weights
                                   : candidate.transforms;
    const int64_t cost = tiles * tile.Positions() * (in * out + transforms * (in + out));
    if (cost < least) {
      least = cost;
      best = tile;
    }
  }
  return best;
}

}  // namespace syncbn::backend::cpu
