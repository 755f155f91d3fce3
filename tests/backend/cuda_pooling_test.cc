// What the CUDA back end's pooling can and others cannot.
#include <gtest/gtest.h>

#include <utility>

#include "backend/backend.h"
#include "backend/cuda/cuda_backend.h"
#include "tests/backend/support.h"

namespace syncbn::backend {
namespace {

// More places in a window than a byte counts.
TEST(CudaPooling, TakesWindowsOfAnySize) {
  const auto cuda = cuda::MakeBackend()->MakeExecutor(),
             reference = MakeReferenceBackend()->MakeExecutor();
  const Pool2dSpec spec{.kind = PoolKind::kMax, .kernel = 17, .stride = 2, .pad = 3};
  const Tensor x = Distinct({2, 20, 18, 4}, "x"),
               dy = RandomIntegers(spec.OutputShape(x.shape()), "dy", -4, 4);
  const auto both = [&](Executor& e) {
    const PoolResult pooled = e.Pool2dForward(spec, In(e, x));
    return std::pair(pooled.y, e.Pool2dBackward(spec, x.shape(), In(e, dy), pooled.positions));
  };
  const auto [y, dx] = both(*cuda);
  const auto [expected_y, expected_dx] = both(*reference);
  EXPECT_TRUE(Equal(y, expected_y));
  EXPECT_TRUE(Equal(dx, expected_dx));
}

}  // namespace
}  // namespace syncbn::backend
