// The built-in data set: generated 32 x 32 x 3 images of ten shapes, for runs without any file.
//
// Each image is one shape of random place, size, rotation, stretch and shading over a random
// gradient with clutter (strokes and dots, some in front), under noise. Bright on dark and dark on
// bright are equally likely, so no linear function of the pixels tells the classes apart.
// Only IEEE basic operations and square roots are used: the pixels are the same on every machine.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "data/dataset.h"

namespace syncbn::data {

inline constexpr int kShapeClasses = 10;
inline constexpr int64_t kShapeSide = 32;
inline constexpr int64_t kShapeBytes = kShapeSide * kShapeSide * 3;

// Names of the classes, by label.
inline constexpr std::array<std::string_view, kShapeClasses> kShapeNames = {
    "circle", "square", "triangle", "star", "cross", "ring", "crescent", "frame", "ell", "heart"};

// The class of a sample. Each run of ten samples from a multiple of ten on has every class once.
int32_t ShapeLabel(uint64_t seed, Split split, int64_t index);

// Writes the H W C pixels of sample `index`: a function of these arguments alone.
void DrawShape(uint64_t seed, Split split, int64_t index, std::span<uint8_t, kShapeBytes> pixels);

// The first `samples` samples of a split.
Dataset::Content MakeShapes(uint64_t seed, Split split, int64_t samples);

}  // namespace syncbn::data
