// Images from the bytes of a data set.
#include "backend/images.h"

#include "backend/host/host_executor.h"
#include "backend/shape_checks.h"

namespace syncbn::backend::host {
namespace {

// From ImageChange::Numbers.
ImageChange ChangeOf(const int32_t* numbers) {
  return {
      .dy = numbers[0],
      .dx = numbers[1],
      .flip = numbers[2] != 0,
      .cut = {.top = numbers[4], .bottom = numbers[5], .left = numbers[6], .right = numbers[7]}};
}

}  // namespace

Tensor HostExecutor::MakeImages(const RawImages& raw) {
  CheckRawImages(raw);
  const Shape& shape = raw.pixels.shape();
  const ImageWriter writer(shape[1], shape[2], shape[3], raw.values.Span<float>());
  const int64_t elements = shape[1] * shape[2] * shape[3];
  const uint8_t* from = raw.pixels.Data<uint8_t>();
  const int32_t* change = raw.changes.Data<int32_t>();
  Tensor images = New(shape, DType::kFloat32);
  float* to = images.Data<float>();
  for (int64_t n = 0; n < shape[0]; ++n, from += elements, to += elements) {
    writer.Write(ChangeOf(change + n * ImageChange::kNumbers), from, to);
  }
  return Convert(images, types().activations);
}

}  // namespace syncbn::backend::host
