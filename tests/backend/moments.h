// Blocks of moments [count, mean[C], m2[C]] taken apart.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>

#include "backend/executor.h"
#include "backend/merge.h"

namespace syncbn::backend {

struct MeanAndM2 {
  Tensor mean, m2;  // F64 [segments, channels]
};

// Of a tensor of the host, or of the executor's device; checks the counts.
inline MeanAndM2 MomentsOf(Executor& executor, const RowLayout& layout, const Tensor& x) {
  const int64_t channels = layout.channels, row = MomentsElements(channels);
  Tensor there = executor.New({layout.segments, row}, DType::kFloat64);
  executor.Moments(layout, x, there);
  const Tensor moments = there.OnHost();
  const Shape statistics{layout.segments, channels};
  MeanAndM2 result{Tensor(statistics, DType::kFloat64), Tensor(statistics, DType::kFloat64)};
  for (int64_t s = 0; s < layout.segments; ++s) {
    const double* block = moments.Data<double>() + s * row;
    EXPECT_EQ(block[0], static_cast<double>(layout.rows_per_segment())) << "segment " << s;
    std::copy_n(block + 1, channels, result.mean.Data<double>() + s * channels);
    std::copy_n(block + 1 + channels, channels, result.m2.Data<double>() + s * channels);
  }
  return result;
}

inline double SumOfSquares(Executor& executor, const Tensor& x) {
  Tensor sum = executor.New({1}, DType::kFloat64);
  executor.SumsOfSquares(std::span(&x, 1), sum);
  return std::as_const(sum).OnHost().Span<double>()[0];
}

}  // namespace syncbn::backend
