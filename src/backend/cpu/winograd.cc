#include "backend/cpu/winograd.h"

#include <algorithm>
#include <utility>

namespace syncbn::backend::cpu {
namespace {

constexpr int64_t kLine = 16;  // elements

int64_t RoundedUp(int64_t value, int64_t to) {
  return (value + to - 1) / to * to;
}

// Rows that lie a power of two apart would share few sets of the first cache.
int64_t RowOf(int64_t channels, int64_t panel) {
  const int64_t row = RoundedUp(channels, panel);
  return row % 128 == 0 ? row + kLine : row;
}

WinogradMatrices Matrices(float* at, int64_t rows, int64_t row) {
  return {.at = at, .row = row, .position = rows * row + kLine};
}

int64_t ElementsOf(const WinogradMatrices& matrices, int64_t positions) {
  return positions * matrices.position;
}

// One piece of memory after the other, out of the session's.
class Workspace {
 public:
  Workspace(DnnlSession& session, int64_t elements)
      : next_(
            static_cast<float*>(session.Temporary(static_cast<size_t>(elements) * sizeof(float)))) {
  }

  float* Take(int64_t elements) { return std::exchange(next_, next_ + elements); }
  float* Zeros(int64_t elements) {
    float* const zeros = Take(elements);
    std::fill_n(zeros, elements, 0.0f);
    return zeros;
  }

 private:
  float* next_;
};

// Tiles of a block, whose rows hold `elements` altogether in each position: as many as leave room
// in the second cache, and enough that weights (or sums) which do not fit there are worth their
// way.
int64_t BlockOf(int64_t positions, int64_t elements, int64_t least) {
  constexpr int64_t kBudget = 320 << 10;  // bytes
  constexpr int64_t kRows = 12;           // of the products
  const int64_t room = kBudget / (positions * elements * int64_t{sizeof(float)});
  return RoundedUp(std::clamp<int64_t>(room, least, 192), kRows);
}

// Tiles of a block whose products take the place of what they are made of: with few channels they
// stay in the first cache.
constexpr int64_t kInFirstCache = 12;

// Products that are added up before their sum is added to others: few where the transforms have
// taken most of the error that the rule allows.
int64_t ChainOf(const WinogradTile& tile, int64_t depth) {
  if (tile.across == 4) return depth < 128 ? 8 : 16;
  return tile.down == 4 ? 32 : 64;
}

}  // namespace

bool WinogradConvolutions::Fits(const Conv2dSpec& spec) {
  return spec.kernel_h == 3 && spec.kernel_w == 3 && spec.stride_h == 1 && spec.stride_w == 1 &&
         spec.pad_h <= 2 && spec.pad_w <= 2 && spec.groups == 1;
}

void WinogradConvolutions::Convolve(WinogradTiles tiles, int64_t images, int64_t depth,
                                    int64_t columns, const float* x, const float* packed,
                                    const float* bias, float* y) {
  const int64_t positions = tiles.tile.Positions(), panel = WinogradPanel(kernels_.isa);
  const int64_t a_row = RowOf(depth, panel), c_row = RowOf(columns, panel);
  const int64_t count = images * tiles.Down() * tiles.Across();
  const int64_t chain = ChainOf(tiles.tile, depth);
  // All of a row is read before its products are written.
  const bool in_place = depth <= std::min(panel, chain) && columns <= panel;
  const int64_t block =
      std::min(count, in_place ? kInFirstCache : BlockOf(positions, a_row + c_row, 48));
  WinogradMatrices a = Matrices(nullptr, block, a_row), c = Matrices(nullptr, block, c_row);
  const int64_t products = in_place ? 0 : ElementsOf(c, positions);
  Workspace workspace(session_, a_row + ElementsOf(a, positions) + products);
  tiles.zeros = workspace.Zeros(a_row);
  a.at = workspace.Take(ElementsOf(a, positions));
  c.at = in_place ? a.at : workspace.Take(products);
  for (int64_t begin = 0; begin < count; begin += block) {
    const int64_t rows = std::min(block, count - begin);
    kernels_.winograd_input(tiles, begin, rows, depth, x, a);
    kernels_.winograd_multiply({.positions = positions,
                                .rows = rows,
                                .depth = depth,
                                .columns = columns,
                                .chain = chain,
                                .a = a,
                                .c = c,
                                .b = packed});
    kernels_.winograd_output(tiles, begin, rows, columns, c, bias, y);
  }
}

template <typename Body>
void WinogradConvolutions::WithPacked(const WinogradTile& tile, const Conv2dSpec& spec,
                                      WeightsVersion version, bool backward, const Tensor& weight,
                                      Body body) {
  const int64_t positions = tile.Positions(), panel = WinogradPanel(kernels_.isa);
  const int64_t in = spec.in_channels, out = spec.out_channels;
  // Positions x inputs x outputs, the last two in another order for each direction.
  const int64_t columns = RoundedUp(backward ? in : out, panel), depth = backward ? out : in;
  const int64_t position = WinogradPosition(panel, depth, columns);
  using Dims = dnnl::memory::dims;
  const dnnl::memory::desc layout(
      backward ? Dims{positions, columns, depth} : Dims{positions, depth, columns},
      dnnl::memory::data_type::f32,
      backward ? Dims{position, 1, columns} : Dims{position, columns, 1});
  const auto pack = [&](const dnnl::memory& memory) {
    kernels_.winograd_weights(tile, out, in, backward, weight.Data<float>(),
                              static_cast<float*>(memory.get_data_handle()));
  };
  if (version) {
    const PackedWeights::Handle handle =
        packed_.Get(weight, version, layout, session_.engine(), pack);
    body(static_cast<const float*>(handle->memory.get_data_handle()));
  } else {
    const dnnl::memory memory(layout, session_.engine());
    pack(memory);
    body(static_cast<const float*>(memory.get_data_handle()));
  }
}

void WinogradConvolutions::Forward(const WinogradTile& tile, const Conv2dSpec& spec,
                                   WeightsVersion version, const Tensor& x, const Tensor& weight,
                                   const Tensor& bias, Tensor& y) {
  WinogradTiles tiles{.tile = tile,
                      .height = x.shape()[1],
                      .width = x.shape()[2],
                      .out_height = y.shape()[1],
                      .out_width = y.shape()[2],
                      .pad_h = spec.pad_h,
                      .pad_w = spec.pad_w,
                      .zeros = nullptr};
  WithPacked(tile, spec, version, false, weight, [&](const float* packed) {
    Convolve(tiles, x.shape()[0], spec.in_channels, spec.out_channels, x.Data<float>(), packed,
             bias.defined() ? bias.Data<float>() : nullptr, y.Data<float>());
  });
}

void WinogradConvolutions::BackwardInput(const WinogradTile& tile, const Conv2dSpec& spec,
                                         WeightsVersion version, const Tensor& dy,
                                         const Tensor& weight, Tensor& dx) {
  WinogradTiles tiles{.tile = tile,
                      .height = dy.shape()[1],
                      .width = dy.shape()[2],
                      .out_height = dx.shape()[1],
                      .out_width = dx.shape()[2],
                      .pad_h = 2 - spec.pad_h,
                      .pad_w = 2 - spec.pad_w,
                      .zeros = nullptr};
  WithPacked(tile, spec, version, true, weight, [&](const float* packed) {
    Convolve(tiles, dx.shape()[0], spec.out_channels, spec.in_channels, dy.Data<float>(), packed,
             nullptr, dx.Data<float>());
  });
}

void WinogradConvolutions::BackwardWeights(const WinogradTile& tile, const Conv2dSpec& spec,
                                           const Tensor& x, const Tensor& dy, Tensor& dweight,
                                           bool accumulate) {
  WinogradTiles tiles{.tile = tile,
                      .height = x.shape()[1],
                      .width = x.shape()[2],
                      .out_height = dy.shape()[1],
                      .out_width = dy.shape()[2],
                      .pad_h = spec.pad_h,
                      .pad_w = spec.pad_w,
                      .zeros = nullptr};
  const int64_t in = spec.in_channels, out = spec.out_channels;
  const int64_t positions = tiles.tile.Positions(), panel = WinogradPanel(kernels_.isa);
  const int64_t a_row = RowOf(in, panel), b_row = RowOf(out, panel);
  const int64_t count = x.shape()[0] * tiles.Down() * tiles.Across();
  const int64_t block = std::min(count, BlockOf(positions, a_row + b_row, 60));
  WinogradMatrices a = Matrices(nullptr, block, a_row), b = Matrices(nullptr, block, b_row);
  WinogradMatrices sums = Matrices(nullptr, in, b_row);
  const int64_t widest = std::max(a_row, b_row);
  Workspace workspace(session_, widest + ElementsOf(a, positions) + ElementsOf(b, positions) +
                                    ElementsOf(sums, positions));
  tiles.zeros = workspace.Zeros(widest);
  a.at = workspace.Take(ElementsOf(a, positions));
  b.at = workspace.Take(ElementsOf(b, positions));
  sums.at = workspace.Take(ElementsOf(sums, positions));
  for (int64_t begin = 0; begin < count; begin += block) {
    const int64_t rows = std::min(block, count - begin);
    kernels_.winograd_input(tiles, begin, rows, in, x.Data<float>(), a);
    kernels_.winograd_gradient(tiles, begin, rows, out, dy.Data<float>(), b);
    kernels_.winograd_multiply_outer({.positions = positions,
                                      .rows = in,
                                      .depth = rows,
                                      .columns = out,
                                      .chain = 16,
                                      .a = a,
                                      .b = b,
                                      .c = sums,
                                      .accumulate = begin > 0});
  }
  kernels_.winograd_weights_gradient(tile, out, in, sums, dweight.Data<float>(), accumulate);
}

}  // namespace syncbn::backend::cpu
