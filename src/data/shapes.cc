#include "data/shapes.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/rng.h"
#include "base/unknown_value.h"
#include "data/signed_distance.h"

namespace syncbn::data {
namespace {

using Colour = std::array<float, 3>;

RandomKey SplitKey(uint64_t seed, Split split) {
  return RandomKey(seed).Fold("shapes").Fold(SplitName(split));
}

float Between(RandomStream& stream, float low, float high) {
  return low + (high - low) * stream.Uniform();
}

// A uniform direction without sine and cosine, whose last bits differ between C libraries.
Point Direction(RandomStream& stream) {
  while (true) {
    const Point p{Between(stream, -1, 1), Between(stream, -1, 1)};
    const float length = Length(p);
    if (length > 0.1f && length <= 1) return p * (1 / length);
  }
}

Colour RandomColour(RandomStream& stream) {
  return {Between(stream, 0, 255), Between(stream, 0, 255), Between(stream, 0, 255)};
}

float Brightness(const Colour& colour) {
  return 0.3f * colour[0] + 0.6f * colour[1] + 0.1f * colour[2];
}

Colour Mix(const Colour& a, const Colour& b, float share_of_b) {
  Colour mixed;
  for (size_t c = 0; c < 3; ++c) mixed[c] = a[c] + (b[c] - a[c]) * share_of_b;
  return mixed;
}

// Of a figure in its own coordinates: x to the right, y up, about within the unit circle.
float FigureDistance(int32_t label, Point p) {
  switch (label) {
    case 0:
      return Disc(p, 0.85f);
    case 1:
      return Box(p, 0.74f, 0.74f);
    case 2:
      return Triangle(p, 0.92f);
    case 3:
      return Star(p, 1.08f, 0.45f);
    case 4:
      return std::min(Box(p, 0.95f, 0.3f), Box(p, 0.3f, 0.95f));
    case 5:
      return std::abs(Length(p) - 0.7f) - 0.21f;
    case 6:
      return std::max(Disc(p, 0.92f), -Disc(p - Point{0.5f, 0}, 0.72f));
    case 7:
      return std::max(Box(p, 0.8f, 0.8f), -Box(p, 0.4f, 0.4f));
    case 8:
      return std::min(Box(p - Point{-0.46f, 0}, 0.28f, 0.86f),
                      Box(p - Point{0.06f, -0.58f}, 0.8f, 0.28f));
    case 9:
      return Heart(Point{p.x, p.y + 0.88f} * 0.62f) * (1 / 0.62f);
    default:
      ThrowUnknownValue("figure", label);
  }
}

class Canvas {
 public:
  // A gradient from `from` to `to` along a random direction.
  void FillGradient(RandomStream& stream, const Colour& from, const Colour& to) {
    const Point direction = Direction(stream);
    for (int64_t y = 0; y < kShapeSide; ++y) {
      for (int64_t x = 0; x < kShapeSide; ++x) {
        const Point p = Centred(x, y);
        const float share = 0.5f + 0.5f * Dot(p, direction) / kReach;
        const Colour colour = Mix(from, to, share);
        std::copy(colour.begin(), colour.end(), At(x, y));
      }
    }
  }

  // Blends colour(p) where distance(p) (in pixels) is negative, with a soft edge of one pixel.
  // Nothing lies farther than `reach` from `centre`; p counts in pixels from the top left corner.
  template <typename DistanceOf, typename ColourOf>
  void Paint(Point centre, float reach, DistanceOf&& distance, ColourOf&& colour) {
    const auto first = [&](float v) {
      return std::max<int64_t>(0, static_cast<int64_t>(v - reach));
    };
    const auto last = [&](float v) {
      return std::min<int64_t>(kShapeSide - 1, static_cast<int64_t>(v + reach));
    };
    for (int64_t y = first(centre.y); y <= last(centre.y); ++y) {
      for (int64_t x = first(centre.x); x <= last(centre.x); ++x) {
        const Point p{static_cast<float>(x) + 0.5f, static_cast<float>(y) + 0.5f};
        const float cover = std::clamp(0.5f - distance(p), 0.0f, 1.0f);
        if (cover == 0) continue;
        const Colour paint = colour(p);
        float* pixel = At(x, y);
        for (size_t c = 0; c < 3; ++c) pixel[c] += (paint[c] - pixel[c]) * cover;
      }
    }
  }

  // Adds noise of standard deviation `sigma` and rounds to bytes.
  void Write(RandomStream& stream, float sigma, std::span<uint8_t, kShapeBytes> pixels) const {
    // The sum of the four bytes of a word: near enough to a normal distribution, and exact.
    constexpr float kStd = 147.8f, kMean = 510;
    const float scale = sigma / kStd;
    for (size_t i = 0; i < pixels.size(); ++i) {
      const uint32_t word = stream();
      const uint32_t sum = (word & 255) + (word >> 8 & 255) + (word >> 16 & 255) + (word >> 24);
      const float value = values_[i] + (static_cast<float>(sum) - kMean) * scale;
      pixels[i] = static_cast<uint8_t>(std::clamp(value, 0.0f, 255.0f) + 0.5f);
    }
  }

 private:
  static constexpr float kReach = 0.7071f * kShapeSide;  // from the centre to a corner

  static Point Centred(int64_t x, int64_t y) {
    constexpr float kHalf = 0.5f * kShapeSide;
    return {static_cast<float>(x) + 0.5f - kHalf, static_cast<float>(y) + 0.5f - kHalf};
  }
  float* At(int64_t x, int64_t y) {
    return &values_[static_cast<size_t>((y * kShapeSide + x) * 3)];
  }

  std::array<float, kShapeBytes> values_;
};

// Clutter is nearer to the background than the figure is.
Colour ClutterColour(RandomStream& stream, const Colour& behind) {
  return Mix(behind, RandomColour(stream), 0.6f);
}

void PaintStroke(Canvas& canvas, RandomStream& stream, const Colour& behind) {
  const Point middle{Between(stream, 0, kShapeSide), Between(stream, 0, kShapeSide)};
  const float half = Between(stream, 2, 8), radius = Between(stream, 0.4f, 1.1f);
  const Point along = Direction(stream) * half;
  const Colour colour = ClutterColour(stream, behind);
  canvas.Paint(
      middle, half + radius + 1,
      [&](Point p) { return Stroke(p, middle - along, middle + along, radius); },
      [&](Point) { return colour; });
}

void PaintDot(Canvas& canvas, RandomStream& stream, const Colour& behind) {
  const Point middle{Between(stream, 0, kShapeSide), Between(stream, 0, kShapeSide)};
  const float radius = Between(stream, 0.7f, 2.3f);
  const Colour colour = ClutterColour(stream, behind);
  canvas.Paint(
      middle, radius + 1, [&](Point p) { return Disc(p - middle, radius); },
      [&](Point) { return colour; });
}

void PaintFigure(Canvas& canvas, RandomStream& stream, int32_t label, const Colour& behind) {
  constexpr float kLeastContrast = 60;
  const float radius = Between(stream, 8, 12.5f);
  const float margin = 0.9f * radius;
  const Point centre{Between(stream, margin, kShapeSide - margin),
                     Between(stream, margin, kShapeSide - margin)};
  const Point axis = Direction(stream);
  const float stretch = Between(stream, 0.85f, 1.15f);
  const Point light = Direction(stream) * (Between(stream, 0, 35) / radius);
  Colour colour = RandomColour(stream);
  while (std::abs(Brightness(colour) - Brightness(behind)) < kLeastContrast) {
    colour = RandomColour(stream);
  }
  canvas.Paint(
      centre, 1.3f * radius + 1,
      [&](Point p) {
        const Point from_centre = (p - centre) * (1 / radius);
        const Point turned{Dot(from_centre, axis) * stretch,
                           (from_centre.x * axis.y - from_centre.y * axis.x) / stretch};
        return FigureDistance(label, turned) * radius;
      },
      [&](Point p) {
        const float shade = Dot(p - centre, light);
        return Colour{colour[0] + shade, colour[1] + shade, colour[2] + shade};
      });
}

}  // namespace

int32_t ShapeLabel(uint64_t seed, Split split, int64_t index) {
  std::array<int32_t, kShapeClasses> labels;
  std::iota(labels.begin(), labels.end(), 0);
  RandomStream stream(
      SplitKey(seed, split).Fold("labels").Fold(static_cast<uint64_t>(index / kShapeClasses)));
  for (size_t i = labels.size() - 1; i > 0; --i) std::swap(labels[i], labels[stream.Below(i + 1)]);
  return labels[static_cast<size_t>(index % kShapeClasses)];
}

void DrawShape(uint64_t seed, Split split, int64_t index, std::span<uint8_t, kShapeBytes> pixels) {
  RandomStream stream(SplitKey(seed, split).Fold("image").Fold(static_cast<uint64_t>(index)));
  Canvas canvas;
  const Colour from = RandomColour(stream);
  Colour to = from;
  for (float& value : to) value += Between(stream, -60, 60);
  const Colour middle = Mix(from, to, 0.5f);
  canvas.FillGradient(stream, from, to);
  for (uint64_t i = 1 + stream.Below(4); i > 0; --i) PaintStroke(canvas, stream, middle);
  for (uint64_t i = stream.Below(4); i > 0; --i) PaintDot(canvas, stream, middle);
  PaintFigure(canvas, stream, ShapeLabel(seed, split, index), middle);
  for (uint64_t i = stream.Below(2); i > 0; --i) PaintStroke(canvas, stream, middle);
  canvas.Write(stream, Between(stream, 2, 16), pixels);
}

Dataset::Content MakeShapes(uint64_t seed, Split split, int64_t samples) {
  Dataset::Content content{
      .name = "shapes",
      .split = split,
      .image = {kShapeSide, kShapeSide, 3},
      .classes = kShapeClasses,
      .images = std::vector<uint8_t>(static_cast<size_t>(samples * kShapeBytes)),
      .labels = std::vector<int32_t>(static_cast<size_t>(samples))};
  for (int64_t i = 0; i < samples; ++i) {
    content.labels[static_cast<size_t>(i)] = ShapeLabel(seed, split, i);
    DrawShape(seed, split, i,
              std::span<uint8_t, kShapeBytes>(
                  content.images.data() + static_cast<size_t>(i * kShapeBytes), kShapeBytes));
  }
  return content;
}

}  // namespace syncbn::data
