// Max pooling of N x H x W x C, vectors along the channels.
//
// Own code and not oneDNN's, because a NaN must come through (oneDNN's comparison drops it, and a
// broken step would go unnoticed) and because the first of equal values is the one that is chosen,
// as in PyTorch, on every instruction set.
#include "backend/cpu/kernels/kernels.h"

namespace syncbn::backend::cpu::SYNCBN_ISA {
namespace {

// Places of the taps of window `place` along one axis that lie inside: taps [first, last), tap t at
// start + t.
struct Window {
  int64_t start, first, last;
};

inline Window WindowAt(const MaxPoolArgs& args, int64_t place, int64_t extent) {
  const int64_t start = place * args.stride - args.pad;
  const int64_t first = start < 0 ? -start : 0;
  const int64_t last = start + args.kernel > extent ? extent - start : args.kernel;
  return {start, first, last};
}

inline void StorePositions(uint8_t* p, VecI v, int64_t, Full) {
  StoreBytes(p, v);
}
inline void StorePositions(uint8_t* p, VecI v, int64_t count, Part) {
  uint8_t bytes[kLanes];
  StoreBytes(bytes, v);
  for (int64_t i = 0; i < count; ++i) p[i] = bytes[i];
}
inline VecI LoadPositions(const uint8_t* p, int64_t, Full) {
  return LoadBytes(p);
}
inline VecI LoadPositions(const uint8_t* p, int64_t count, Part) {
  uint8_t bytes[kLanes] = {};
  for (int64_t i = 0; i < count; ++i) bytes[i] = p[i];
  return LoadBytes(bytes);
}

}  // namespace

void MaxPool(const MaxPoolArgs& args, const float* x, float* y, uint8_t* positions) {
  const int64_t channels = args.channels;
  for (int64_t image = 0; image < args.images; ++image) {
    const float* in = x + image * args.height * args.width * channels;
    for (int64_t oh = 0; oh < args.out_height; ++oh) {
      const Window rows = WindowAt(args, oh, args.height);
      for (int64_t ow = 0; ow < args.out_width; ++ow) {
        const Window columns = WindowAt(args, ow, args.width);
        const int64_t out = ((image * args.out_height + oh) * args.out_width + ow) * channels;
        ForVectors(channels, [&](int64_t c, auto lanes) {
          const float* corner = in + (rows.start * args.width + columns.start) * channels + c;
          const auto tap = [&](int64_t h, int64_t w) {
            return Load(corner + (h * args.width + w) * channels, lanes);
          };
          Vec best = tap(rows.first, columns.first);
          VecI position =
              BroadcastI(static_cast<uint32_t>(rows.first * args.kernel + columns.first));
          for (int64_t h = rows.first; h < rows.last; ++h) {
            for (int64_t w = columns.first; w < columns.last; ++w) {
              const Vec value = tap(h, w);
              const Mask better = Either(Greater(value, best), IsNan(value));
              best = Select(better, value, best);
              position =
                  SelectI(better, BroadcastI(static_cast<uint32_t>(h * args.kernel + w)), position);
            }
          }
          Store(y + out + c, best, lanes);
          StorePositions(positions + out + c, position, channels - c, lanes);
        });
      }
    }
  }
}

void MaxPoolBackward(const MaxPoolArgs& args, const float* dy, const uint8_t* positions,
                     float* dx) {
  const int64_t channels = args.channels;
  const int64_t image_size = args.height * args.width * channels;
  const bool disjoint = args.stride >= args.kernel;
  const bool covered = args.stride == args.kernel && args.pad == 0 &&
                       args.out_height * args.stride == args.height &&
                       args.out_width * args.stride == args.width;
  for (int64_t image = 0; image < args.images; ++image) {
    float* target = dx + image * image_size;
    if (!covered) {
      for (int64_t i = 0; i < image_size; ++i) target[i] = 0;
    }
    for (int64_t oh = 0; oh < args.out_height; ++oh) {
      const Window rows = WindowAt(args, oh, args.height);
      for (int64_t ow = 0; ow < args.out_width; ++ow) {
        const Window columns = WindowAt(args, ow, args.width);
        const int64_t out = ((image * args.out_height + oh) * args.out_width + ow) * channels;
        ForVectors(channels, [&](int64_t c, auto lanes) {
          float* corner = target + (rows.start * args.width + columns.start) * channels + c;
          const Vec gradient = Load(dy + out + c, lanes);
          const VecI position = LoadPositions(positions + out + c, channels - c, lanes);
          for (int64_t h = rows.first; h < rows.last; ++h) {
            for (int64_t w = columns.first; w < columns.last; ++w) {
              const VecI tap = BroadcastI(static_cast<uint32_t>(h * args.kernel + w));
              float* where = corner + (h * args.width + w) * channels;
              Vec value = Keep(Equal(position, tap), gradient);
              if (!disjoint) value = Add(value, Load(where, lanes));
              Store(where, value, lanes);
            }
          }
        });
      }
    }
  }
}

}  // namespace syncbn::backend::cpu::SYNCBN_ISA
