#include <algorithm>
#include <cmath>

#include "backend/reference/indexing.h"
#include "backend/reference/reference_executor.h"
#include "backend/shape_checks.h"
#include "base/unknown_value.h"

namespace syncbn::backend::reference {
namespace {

// The part [begin, end) of a window that lies inside the image, along one axis.
struct Window {
  Window(const Pool2dSpec& spec, int64_t output, int64_t extent)
      : begin(std::max<int64_t>(output * spec.stride - spec.pad, 0)),
        end(std::min(output * spec.stride - spec.pad + spec.kernel, extent)) {}
  int64_t size() const { return end - begin; }

  int64_t begin, end;
};

bool TakesMaximum(PoolKind kind) {
  switch (kind) {
    case PoolKind::kMax: return true;
    case PoolKind::kAverage: return false;
  }
  ThrowUnknownValue("pooling", static_cast<int>(kind));
}

// Calls visit(n, c, y_index, rows, columns) for each output.
template <typename Visit>
void ForEachWindow(const Pool2dSpec& spec, const Shape& x, const Shape& y, Visit visit) {
  const Index4 y_at(y);
  for (int64_t n = 0; n < y[0]; ++n) {
    for (int64_t oh = 0; oh < y[1]; ++oh) {
      const Window rows(spec, oh, x[1]);
      for (int64_t ow = 0; ow < y[2]; ++ow) {
        const Window columns(spec, ow, x[2]);
        SYNCBN_CHECK(rows.size() > 0 && columns.size() > 0)
            << "pooling window (" << oh << ", " << ow << ") holds nothing but padding";
        for (int64_t c = 0; c < y[3]; ++c) visit(n, c, y_at(n, oh, ow, c), rows, columns);
      }
    }
  }
}

}  // namespace

PoolResult ReferenceExecutor::Pool2dForward(const Pool2dSpec& spec, const Tensor& x) {
  const bool is_max = TakesMaximum(spec.kind);
  const Index4 x_at(x.shape());
  const double* in = x.Data<double>();
  PoolResult result;
  result.y = New(spec.OutputShape(x.shape()));
  if (is_max) result.positions = New(result.y.shape(), DType::kInt32);
  ForEachWindow(spec, x.shape(), result.y.shape(),
                [&](int64_t n, int64_t c, int64_t yi, const Window& rows, const Window& columns) {
                  double sum = 0;
                  int64_t best_h = rows.begin, best_w = columns.begin;
                  for (int64_t h = rows.begin; h < rows.end; ++h) {
                    for (int64_t w = columns.begin; w < columns.end; ++w) {
                      const double value = in[x_at(n, h, w, c)];
                      sum += value;
                      // The first of equals; a NaN is never hidden.
                      if (value > in[x_at(n, best_h, best_w, c)] || std::isnan(value)) {
                        best_h = h;
                        best_w = w;
                      }
                    }
                  }
                  double* y = result.y.Data<double>();
                  if (is_max) {
                    y[yi] = in[x_at(n, best_h, best_w, c)];
                    result.positions.Data<int32_t>()[yi] =
                        static_cast<int32_t>(best_h * x.shape()[2] + best_w);
                  } else {
                    y[yi] = sum / static_cast<double>(rows.size() * columns.size());
                  }
                });
  return result;
}

// Maximum: all of dy goes to the position of the maximum. Mean: an equal share goes to each
// position.
Tensor ReferenceExecutor::Pool2dBackward(const Pool2dSpec& spec, const Shape& x_shape,
                                         const Tensor& dy, const Tensor& positions) {
  CheckPool2dBackward(spec, x_shape, dy, positions);
  const bool is_max = TakesMaximum(spec.kind);
  const Index4 x_at(x_shape);
  const double* in = dy.Data<double>();
  Tensor dx = NewZeros(x_shape);
  double* out = dx.Data<double>();
  ForEachWindow(spec, x_shape, dy.shape(),
                [&](int64_t n, int64_t c, int64_t yi, const Window& rows, const Window& columns) {
                  if (is_max) {
                    const int64_t position = positions.Data<int32_t>()[yi];
                    out[x_at(n, position / x_shape[2], position % x_shape[2], c)] += in[yi];
                    return;
                  }
                  const double share = in[yi] / static_cast<double>(rows.size() * columns.size());
                  for (int64_t h = rows.begin; h < rows.end; ++h) {
                    for (int64_t w = columns.begin; w < columns.end; ++w) {
                      out[x_at(n, h, w, c)] += share;
                    }
                  }
                });
  return dx;
}

Tensor ReferenceExecutor::GlobalAveragePoolForward(const Tensor& x) {
  const Index4 x_at(x.shape());
  const int64_t samples = x.shape()[0], height = x.shape()[1], width = x.shape()[2];
  const int64_t channels = x.shape()[3];
  Tensor y = New(GlobalPoolShape(x.shape()));
  for (int64_t n = 0; n < samples; ++n) {
    for (int64_t c = 0; c < channels; ++c) {
      double sum = 0;
      for (int64_t h = 0; h < height; ++h) {
        for (int64_t w = 0; w < width; ++w) sum += x.Data<double>()[x_at(n, h, w, c)];
      }
      y.Data<double>()[n * channels + c] = sum / static_cast<double>(height * width);
    }
  }
  return y;
}

Tensor ReferenceExecutor::GlobalAveragePoolBackward(const Shape& x_shape, const Tensor& dy) {
  const int64_t channels = x_shape[3], positions = x_shape[1] * x_shape[2];
  SYNCBN_CHECK_EQ(dy.shape(), GlobalPoolShape(x_shape)) << "gradient of a global pooling";
  Tensor dx = New(x_shape);
  for (int64_t n = 0; n < x_shape[0]; ++n) {
    for (int64_t p = 0; p < positions; ++p) {
      for (int64_t c = 0; c < channels; ++c) {
        dx.Data<double>()[(n * positions + p) * channels + c] =
            dy.Data<double>()[n * channels + c] / static_cast<double>(positions);
      }
    }
  }
  return dx;
}

Tensor ReferenceExecutor::FlattenToChannelsFirst(const Tensor& x) {
  const int64_t samples = x.shape()[0], height = x.shape()[1], width = x.shape()[2];
  const int64_t channels = x.shape()[3];
  const Index4 x_at(x.shape()), y_at(Shape{samples, channels, height, width});
  Tensor y = New(FlatShape(x.shape()));
  for (int64_t n = 0; n < samples; ++n) {
    for (int64_t h = 0; h < height; ++h) {
      for (int64_t w = 0; w < width; ++w) {
        for (int64_t c = 0; c < channels; ++c) {
          y.Data<double>()[y_at(n, c, h, w)] = x.Data<double>()[x_at(n, h, w, c)];
        }
      }
    }
  }
  return y;
}

Tensor ReferenceExecutor::UnflattenFromChannelsFirst(const Shape& x_shape, const Tensor& dy) {
  const int64_t samples = x_shape[0], height = x_shape[1], width = x_shape[2];
  const int64_t channels = x_shape[3];
  SYNCBN_CHECK_EQ(dy.elements(), FlatShape(x_shape).elements()) << "gradient of a flatten";
  const Index4 x_at(x_shape), y_at(Shape{samples, channels, height, width});
  Tensor dx = New(x_shape);
  for (int64_t n = 0; n < samples; ++n) {
    for (int64_t h = 0; h < height; ++h) {
      for (int64_t w = 0; w < width; ++w) {
        for (int64_t c = 0; c < channels; ++c) {
          dx.Data<double>()[x_at(n, h, w, c)] = dy.Data<double>()[y_at(n, c, h, w)];
        }
      }
    }
  }
  return dx;
}

}  // namespace syncbn::backend::reference
