// Images from the bytes of a data set: cropped, flipped, and each byte replaced by its value.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "tests/backend/conformance.h"

namespace syncbn::backend {
namespace {

// Integers as elements of another type.
template <typename T>
Tensor Integers(const Tensor& x) {
  Tensor integers(x.shape(), DTypeOf<T>::kValue);
  std::ranges::transform(x.Span<double>(), integers.Data<T>(),
                         [](double value) { return static_cast<T>(value); });
  return integers;
}

// Images of one size, on the host: crops move them by at most `padding` pixels.
RawImages Draw(const Shape& shape, int padding) {
  constexpr int64_t kNumbers = ImageChange::kNumbers;
  RawImages raw{.pixels = Integers<uint8_t>(RandomIntegers(shape, "pixels", 0, 255)),
                .changes = Tensor({shape[0], kNumbers}, DType::kInt32),
                .values = As(RandomNormal({shape[3], 256}, "values"), DType::kFloat32)};
  const Tensor moved = RandomIntegers({shape[0], 2}, "moved", -padding, padding);
  const Tensor flips = RandomIntegers({shape[0]}, "flips", 0, 1);
  const Tensor rows = RandomIntegers({shape[0], 2}, "rows", 0, static_cast<int>(shape[1]));
  const Tensor columns = RandomIntegers({shape[0], 2}, "columns", 0, static_cast<int>(shape[2]));
  const auto whole = [](const Tensor& tensor, int64_t i) {
    return static_cast<int64_t>(tensor.Data<double>()[i]);
  };
  for (int64_t n = 0; n < shape[0]; ++n) {
    ImageChange change{
        .dy = whole(moved, 2 * n), .dx = whole(moved, 2 * n + 1), .flip = whole(flips, n) == 1};
    // Nothing is cut out of every third image, nor where an end comes before its beginning.
    if (n % 3 != 0) {
      change.cut = {.top = whole(rows, 2 * n),
                    .bottom = whole(rows, 2 * n + 1),
                    .left = whole(columns, 2 * n),
                    .right = whole(columns, 2 * n + 1)};
    }
    std::ranges::copy(change.Numbers(), raw.changes.Data<int32_t>() + kNumbers * n);
  }
  return raw;
}

// The obvious way.
Tensor Expected(const RawImages& raw) {
  const Shape& shape = raw.pixels.shape();
  const int64_t height = shape[1], width = shape[2], channels = shape[3];
  Tensor images(shape, DType::kFloat64);
  double* out = images.Data<double>();
  for (int64_t n = 0; n < shape[0]; ++n) {
    const int32_t* const change = raw.changes.Data<int32_t>() + ImageChange::kNumbers * n;
    const uint8_t* const image = raw.pixels.Data<uint8_t>() + n * height * width * channels;
    for (int64_t y = 0; y < height; ++y) {
      for (int64_t x = 0; x < width; ++x) {
        const int64_t from_y = y + change[0];
        const int64_t from_x = (change[2] != 0 ? width - 1 - x : x) + change[1];
        const bool inside = from_y >= 0 && from_y < height && from_x >= 0 && from_x < width;
        const bool cut = y >= change[4] && y < change[5] && x >= change[6] && x < change[7];
        for (int64_t c = 0; c < channels; ++c) {
          const int byte = inside ? image[(from_y * width + from_x) * channels + c] : 0;
          *out++ = cut ? 0 : raw.values.Data<float>()[c * 256 + byte];
        }
      }
    }
  }
  return images;
}

class ImagesConformance : public ConformanceTest {
 protected:
  RawImages There(const RawImages& raw) {
    return {.pixels = OnDevice(tested(), raw.pixels),
            .changes = OnDevice(tested(), raw.changes),
            .values = OnDevice(tested(), raw.values)};
  }
  // The same as a part of a larger tensor, which begins at its second element.
  Tensor Inside(const Tensor& x) {
    Tensor inside = tested().New({x.elements() + 1}, x.dtype()).Slice(1, x.shape());
    tested().Copy(OnDevice(tested(), x), inside);
    return inside;
  }
};
INSTANTIATE_TEST_SUITE_P(Backends, ImagesConformance, ::testing::ValuesIn(BackendsUnderTest()),
                         NameOfCase);

// None; single pixels; lengths of rows and images that no vector divides; vectors that hold parts
// of several images; those of MNIST and CIFAR.
const std::vector<Shape>& Shapes() {
  static const std::vector<Shape> shapes = {{0, 5, 7, 3},   {1, 1, 1, 1},   {37, 1, 1, 1},
                                            {300, 1, 2, 1}, {3, 5, 7, 3},   {2, 3, 5, 2},
                                            {2, 4, 4, 16},  {3, 28, 28, 1}, {4, 32, 32, 3}};
  return shapes;
}

TEST_P(ImagesConformance, AreExact) {
  for (const Shape& shape : Shapes()) {
    for (const int padding : {0, 1, 4, 40}) {
      SCOPED_TRACE(testing::Message() << shape << ", padding " << padding);
      const RawImages raw = Draw(shape, padding);
      const Tensor images = tested().MakeImages(There(raw));
      EXPECT_EQ(images.dtype(), tested().types().activations);
      EXPECT_TRUE(Equal(images, Expected(raw)));
    }
  }
}

TEST_P(ImagesConformance, TheirPartsMayLieAnywhere) {
  for (const Shape& shape : Shapes()) {
    SCOPED_TRACE(shape);
    const RawImages raw = Draw(shape, 2);
    EXPECT_TRUE(Equal(tested().MakeImages({.pixels = Inside(raw.pixels),
                                           .changes = OnDevice(tested(), raw.changes),
                                           .values = Inside(raw.values)}),
                      Expected(raw)));
  }
}

TEST_P(ImagesConformance, PartsThatDoNotFitEachOtherAreAnError) {
  const RawImages raw = There(Draw({2, 3, 4, 3}, 1));
  RawImages other = raw;
  other.changes = raw.changes.Rows(0, 1);
  EXPECT_THROW(tested().MakeImages(other), Error);
  other = raw;
  other.values = raw.values.Rows(0, 2);
  EXPECT_THROW(tested().MakeImages(other), Error);
  other = raw;
  other.pixels = raw.pixels.Reshape({2, 36});
  EXPECT_THROW(tested().MakeImages(other), Error);
}

}  // namespace
}  // namespace syncbn::backend
