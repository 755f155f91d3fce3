// What the CUDA back end merges, and makes of moments: bit for bit what the host does.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "backend/cuda/cuda_backend.h"
#include "backend/host_merge_stream.h"
#include "backend/merge.h"
#include "backend/merge_stream.h"
#include "base/error.h"
#include "base/rng.h"
#include "tests/backend/support.h"
#include "tests/emulation/runtime.h"

namespace syncbn::backend {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

class CudaMergeTest : public ::testing::Test {
 protected:
  CudaMergeTest()
      : backend_(cuda::MakeBackend()),
        executor_(backend_->MakeExecutor()),
        stream_(backend_->MakeMergeStream()) {}

  Tensor There(Stream& stream, const Tensor& x) { return stream.Clone(x); }
  // `into` and `from` merged on the device and on the host; both begin `offset` elements into their
  // memory.
  void ExpectAsOnHost(const MergeContent& content, const Tensor& into, const Tensor& from,
                      int64_t offset = 0) {
    Tensor expected = into.Clone().Reshape({content.elements});
    MergeRange(content, {0, content.elements}, expected.Bytes().data(), from.Bytes().data());
    const auto there = [&](const Tensor& x) {
      Tensor whole = stream_->New({content.elements + offset}, content.dtype);
      Tensor part = whole.Slice(offset, {content.elements});
      stream_->Copy(x, part);
      return part;
    };
    Tensor actual = there(into);
    stream_->Merge(content, actual, there(from));
    EXPECT_TRUE(SameBits(std::as_const(actual).OnHost(), expected));
  }

  const std::unique_ptr<Backend> backend_;
  const std::unique_ptr<Executor> executor_;
  const std::unique_ptr<MergeStream> stream_;
};

template <typename T>
Tensor Numbers(int64_t elements, std::string_view name) {
  RandomStream random(RandomKey(7).Fold(name));
  Tensor x({elements}, DTypeOf<T>::kValue);
  for (T& value : x.Span<T>()) {
    if constexpr (std::is_floating_point_v<T>) {
      value = static_cast<T>(random.Normal() * std::exp2(random.Normal() * 10));
    } else {
      value = static_cast<T>(random.Below(std::numeric_limits<uint64_t>::max()));  // sums overflow
    }
  }
  return x;
}

template <typename T>
void PlantNans(Tensor& x) {
  if constexpr (std::is_floating_point_v<T>) {
    for (int64_t i = 0; i < x.elements(); i += 5) {
      x.Data<T>()[i] =
          std::copysign(std::numeric_limits<T>::signaling_NaN(), i % 2 == 0 ? T{-1} : T{1});
    }
    if (x.elements() > 2) x.Data<T>()[2] = std::numeric_limits<T>::infinity();
  }
}

template <typename T>
class CudaSumTest : public CudaMergeTest {};
using SumTypes = ::testing::Types<float, double, int32_t, int64_t>;
TYPED_TEST_SUITE(CudaSumTest, SumTypes);

TYPED_TEST(CudaSumTest, GivesTheHostsBitsAtEverySizeAndOffset) {
  for (const int64_t elements : {0, 1, 2, 3, 4, 7, 8, 255, 1024, 1027}) {
    for (const int64_t offset : {0, 1, 2, 3}) {
      SCOPED_TRACE(::testing::Message() << elements << " elements, offset " << offset);
      const MergeContent content{.operation = MergeOperation::kSum,
                                 .dtype = DTypeOf<TypeParam>::kValue,
                                 .elements = elements,
                                 .channels = {}};
      Tensor into = Numbers<TypeParam>(elements, "into"),
             from = Numbers<TypeParam>(elements, "from");
      this->ExpectAsOnHost(content, into, from, offset);
      PlantNans<TypeParam>(into);
      this->ExpectAsOnHost(content, into, from, offset);
      this->ExpectAsOnHost(content, from, into, offset);
      if (elements > 2 && std::is_floating_point_v<TypeParam>) {  // infinity - infinity
        from.Data<TypeParam>()[2] = -into.Data<TypeParam>()[2];
        this->ExpectAsOnHost(content, from, into, offset);
      }
    }
  }
}

TEST_F(CudaMergeTest, BytesAreNotSummed) {
  Tensor x = stream_->New({4}, DType::kUint8);
  const MergeContent content{
      .operation = MergeOperation::kSum, .dtype = DType::kUint8, .elements = 4, .channels = {}};
  EXPECT_THROW(stream_->Merge(content, x, x), Error);
}

TEST_F(CudaMergeTest, MessagesOfOtherSizesAreRefused) {
  Tensor x = stream_->New({4}, DType::kFloat32), shorter = stream_->New({3}, DType::kFloat32);
  const MergeContent content{
      .operation = MergeOperation::kSum, .dtype = DType::kFloat32, .elements = 4, .channels = {}};
  EXPECT_THROW(stream_->Merge(content, x, shorter), Error);
  EXPECT_THROW(stream_->Merge(content, shorter, x), Error);
}

// -- Moments -------------------------------------------------------------------------------------

int64_t RowOf(std::span<const int64_t> channels) {
  int64_t row = 0;
  for (const int64_t c : channels) row += MomentsElements(c);
  return row;
}

// Rows of blocks; a third of the counts are 0, and some values NaN where wanted.
Tensor Blocks(int64_t rows, std::span<const int64_t> channels, std::string_view name,
              bool nans = false) {
  RandomStream random(RandomKey(9).Fold(name));
  Tensor x({rows, RowOf(channels)}, DType::kFloat64);
  double* to = x.Data<double>();
  for (int64_t i = 0; i < rows; ++i) {
    for (const int64_t c : channels) {
      const int64_t elements = MomentsElements(c);
      *to++ = random.Below(3) == 0 ? 0 : static_cast<double>(1 + random.Below(1000));
      for (int64_t k = 1; k < elements; ++k)
        *to++ = nans && random.Below(50) == 0 ? -kNan : random.Normal() * 100;
      if (nans && random.Below(10) == 0) to[-elements] = -kNan;
    }
  }
  return x;
}

MergeContent MomentsContent(std::span<const int64_t> channels) {
  return {.operation = MergeOperation::kMergeMoments,
          .dtype = DType::kFloat64,
          .elements = RowOf(channels),
          .channels = channels};
}

TEST_F(CudaMergeTest, MomentsMergeToTheHostsBits) {
  std::vector<std::vector<int64_t>> layouts = {{}, {0}, {1}, {3}, {16}, {300}, {1, 64, 0, 5}};
  layouts.emplace_back();
  for (int64_t i = 0; i < 150; ++i) layouts.back().push_back(i % 9);  // more than one launch takes
  for (const std::vector<int64_t>& channels : layouts) {
    for (const bool nans : {false, true}) {
      for (const std::string_view draw : {"a", "b", "c", "d"}) {
        SCOPED_TRACE(::testing::Message()
                     << channels.size() << " blocks, draw " << draw << ", NaN " << nans);
        const Tensor into = Blocks(1, channels, std::string(draw) + " into", nans);
        ExpectAsOnHost(MomentsContent(channels), into, Blocks(1, channels, draw, nans));
      }
    }
  }
}

TEST_F(CudaMergeTest, MomentsOfNothingLeaveOrAreReplaced) {
  const std::vector<int64_t> channels = {2};
  const auto content = MomentsContent(channels);
  const Tensor none = FromValues({1, 5}, {0, 7, 8, 9, 10}),
               some = FromValues({1, 5}, {3, -kNan, 2, 3, 4});
  ExpectAsOnHost(content, none, some);
  ExpectAsOnHost(content, some, none);
  ExpectAsOnHost(content, none, none);
}

TEST_F(CudaMergeTest, CoMomentsMergeToTheHostsBits) {
  for (const std::vector<int64_t>& channels :
       std::vector<std::vector<int64_t>>{{-1}, {-2}, {-7}, {-40}, {-3, 4, -5, 1}}) {
    for (const bool nans : {false, true}) {
      for (const std::string_view draw : {"a", "b", "c", "d"}) {
        SCOPED_TRACE(::testing::Message()
                     << "first " << channels[0] << ", draw " << draw << ", NaN " << nans);
        const Tensor into = Blocks(1, channels, std::string(draw) + " into", nans);
        ExpectAsOnHost(MomentsContent(channels), into, Blocks(1, channels, draw, nans));
      }
    }
  }
}

// -- Trees ---------------------------------------------------------------------------------------

// The steps of a tree over `leaves` values that splits at random.
std::vector<MergeStep> RandomTree(int leaves, RandomStream& random) {
  std::vector<MergeStep> steps;
  const std::function<void(int, int)> merge = [&](int begin, int end) {
    if (end - begin == 1) return;
    const int split =
        begin + 1 + static_cast<int>(random.Below(static_cast<uint64_t>(end - begin - 1)));
    merge(begin, split);
    merge(split, end);
    steps.push_back({.into = begin, .from = split});
  };
  merge(0, leaves);
  return steps;
}

TEST_F(CudaMergeTest, TreesOfAnyShapeAreThoseOfTheHost) {
  RandomStream random(RandomKey(3).Fold("trees"));
  const std::vector<int64_t> channels = {5, 0, 300, 1}, with_products = {5, -4};
  const MergeContent sums{.operation = MergeOperation::kSum,
                          .dtype = DType::kFloat32,
                          .elements = 1027,
                          .channels = {}};
  const MergeContent integers{
      .operation = MergeOperation::kSum, .dtype = DType::kInt64, .elements = 33, .channels = {}};
  const auto host = MakeHostMergeStream();
  // More leaves, and deeper trees, than have room in one kernel.
  for (const int leaves : {1, 2, 3, 5, 8, 31, 33, 40}) {
    for (const MergeContent& content :
         {sums, integers, MomentsContent(channels), MomentsContent(with_products)}) {
      SCOPED_TRACE(::testing::Message() << leaves << " values of " << content.elements);
      const std::vector<MergeStep> steps = RandomTree(leaves, random);
      std::vector<Tensor> here, there;
      for (int i = 0; i < leaves; ++i) {
        const std::string name = "leaf " + std::to_string(i);
        Tensor x;
        if (content.operation == MergeOperation::kMergeMoments) {
          x = Blocks(1, content.channels, name, /*nans=*/true).Reshape({content.elements});
        } else if (content.dtype == DType::kInt64) {
          x = Numbers<int64_t>(content.elements, name);
        } else {
          x = Numbers<float>(content.elements, name);
          if (i % 3 == 0) PlantNans<float>(x);
        }
        there.push_back(stream_->Clone(x));
        here.push_back(std::move(x));
      }
      stream_->Merge(content, there, steps);
      host->Merge(content, here, steps);
      EXPECT_TRUE(SameBits(std::as_const(there[0]).OnHost(), here[0]));
    }
  }
}

TEST_F(CudaMergeTest, AFlatTreeIsOneKernel) {
  const MergeContent content{
      .operation = MergeOperation::kSum, .dtype = DType::kFloat32, .elements = 100, .channels = {}};
  std::vector<Tensor> values;
  for (int i = 0; i < 8; ++i)
    values.push_back(There(*stream_, Numbers<float>(100, std::to_string(i))));
  const std::vector<MergeStep> steps = {{0, 1}, {2, 3}, {0, 2}, {4, 5}, {6, 7}, {4, 6}, {0, 4}};
  const int64_t before = emulation::OperationsGiven();
  stream_->Merge(content, values, steps);
  EXPECT_EQ(emulation::OperationsGiven(), before + 1);
}

TEST_F(CudaMergeTest, AChainOfMergesIsThatOfTheHost) {
  const std::vector<int64_t> channels = {5, -4, 1};
  const int64_t row = RowOf(channels);
  std::vector<int64_t> sizes(100);  // more than one launch takes
  for (size_t i = 0; i < sizes.size(); ++i) sizes[i] = static_cast<int64_t>(i * 7 % 5);
  const int64_t rows = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
  const Tensor from = Blocks(rows, channels, "from");
  const Tensor into = Blocks(static_cast<int64_t>(sizes.size()), channels, "into");

  Tensor expected = into.Clone();
  const double* source = from.Data<double>();
  for (size_t i = 0; i < sizes.size(); ++i) {
    for (int64_t k = 0; k < sizes[i]; ++k, source += row) {
      MergeRange(MomentsContent(channels), {0, row},
                 expected.Data<double>() + static_cast<int64_t>(i) * row, source);
    }
  }
  Tensor actual = executor_->Clone(into);
  executor_->MergeMoments(channels, sizes, executor_->Clone(from), actual);
  EXPECT_TRUE(SameBits(std::as_const(actual).OnHost(), expected));
}

TEST_F(CudaMergeTest, MergesDoNotStopTheHost) {
  const MergeContent content{.operation = MergeOperation::kSum,
                             .dtype = DType::kFloat32,
                             .elements = 1000,
                             .channels = {}};
  const Tensor a = There(*stream_, Numbers<float>(1000, "a"));
  Tensor sum = stream_->NewZeros({1000}, DType::kFloat32);
  const int64_t before = emulation::HostSynchronizations();
  for (int i = 0; i < 8; ++i) stream_->Merge(content, sum, a);
  EXPECT_EQ(emulation::HostSynchronizations(), before);
  Tensor expected = Numbers<float>(1000, "a");
  for (float& value : expected.Span<float>()) {
    float total = 0;
    for (int i = 0; i < 8; ++i) total += value;
    value = total;
  }
  EXPECT_TRUE(SameBits(std::as_const(sum).OnHost(), expected));
}

}  // namespace
}  // namespace syncbn::backend
