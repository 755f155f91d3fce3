// What back ends ask of the shapes of an operation's tensors, before they touch them. What is wrong
// here is a mistake of the code that calls: INTERNAL.
#pragma once

#include <span>

#include "backend/images.h"
#include "backend/results.h"
#include "backend/specs.h"

namespace syncbn::backend {

// -- Input ---------------------------------------------------------------------------------------
// The parts of images that are still to be changed.
void CheckRawImages(const RawImages& raw);

// -- Normalization -------------------------------------------------------------------------------
// An activation or its gradient: as many elements as the layout has.
void CheckElements(const RowLayout& layout, const Tensor& tensor, const char* what);
// A number for each segment and channel.
void CheckStatistic(const RowLayout& layout, const Tensor& tensor, const char* what);
// The input, and statistics and parameters of the normalization.
void CheckNormalization(const Normalization& norm, const Tensor& x);
// An output where there is one, and the gradient.
void CheckGradient(const Normalization& norm, const Tensor& y, const Tensor& dy);
// Both terms, or neither.
void CheckTerms(const RowLayout& layout, const InputTerms& terms);
void CheckMoments(const RowLayout& layout, const Tensor& x, const Tensor& moments);

// -- Pooling and layout --------------------------------------------------------------------------
void CheckPool2dBackward(const Pool2dSpec& spec, const Shape& x_shape, const Tensor& dy,
                         const Tensor& positions);
// The shape [N, C] of the means of an image x = [N, H, W, C] with at least one pixel.
Shape GlobalPoolShape(const Shape& x);
// The shape [N, C H W] of x = [N, H, W, C].
Shape FlatShape(const Shape& x);
// Whether elements of x = [N, H, W, C] lie in the same order when channels come first.
bool IsFlatAsItIs(const Shape& x);

// The shape of tensors [..., C] beside each other.
Shape ConcatenatedShape(std::span<const Tensor> parts);
// The shape of channels [begin, begin + channels) of x = [..., C].
Shape SlicedShape(const Shape& x, int64_t begin, int64_t channels);
// The shape [keep, A, ...] of x = [A, B, ...] with its leading axes swapped.
Shape SwappedShape(const Shape& x, int64_t keep);

// -- Random numbers ------------------------------------------------------------------------------
// Elements of a sample of x, of which each has one of the keys.
int64_t DrawnSampleSize(const Tensor& x, std::span<const RandomKey> keys, const char* what);

}  // namespace syncbn::backend
