#include "backend/merge.h"

#include <limits>
#include <string>
#include <type_traits>

#include "base/check.h"
#include "base/unknown_value.h"

namespace syncbn::backend {
namespace {

// The plain loop; inlined below once for each instruction set. Unsigned arithmetic for integers: an
// overflow wraps.
template <typename T>
inline __attribute__((always_inline)) void AddLoop(T* __restrict dst, const T* __restrict src,
                                                   size_t count) {
  for (size_t i = 0; i < count; ++i) {
    if constexpr (std::is_floating_point_v<T>) {
      const T sum = dst[i] + src[i];
      dst[i] = sum == sum ? sum : std::numeric_limits<T>::quiet_NaN();
    } else {
      using Unsigned = std::make_unsigned_t<T>;
      dst[i] = static_cast<T>(static_cast<Unsigned>(dst[i]) + static_cast<Unsigned>(src[i]));
    }
  }
}

template <typename T>
void AddBase(T* dst, const T* src, size_t count) {
  AddLoop(dst, src, count);
}

#if defined(__x86_64__)
template <typename T>
__attribute__((target("avx2"))) void AddAvx2(T* dst, const T* src, size_t count) {
  AddLoop(dst, src, count);
}
#endif

template <typename T>
void Add(void* dst, const void* src, int64_t count) {
  T* to = static_cast<T*>(dst);
  const T* from = static_cast<const T*>(src);
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) return AddAvx2(to, from, static_cast<size_t>(count));
#endif
  AddBase(to, from, static_cast<size_t>(count));
}

double QuietIfNan(double value) {
  return value == value ? value : std::numeric_limits<double>::quiet_NaN();
}

// One block [count, mean[C], m2[C]] (Chan, Golub, LeVeque 1983):
//   n = na + nb, d = mean_b - mean_a, mean = mean_a + d nb / n, m2 = m2_a + m2_b + d d na nb / n.
void MergeBlock(int64_t channels, double* __restrict dst, const double* __restrict src) {
  const double count = dst[0], other = src[0];
  if (other == 0) return;
  if (count == 0) {
    for (int64_t i = 0; i <= 2 * channels; ++i) dst[i] = QuietIfNan(src[i]);
    return;
  }
  const double total = count + other;
  const double share = other / total;
  const double weight = count * share;
  double* __restrict mean = dst + 1;
  double* __restrict m2 = dst + 1 + channels;
  const double* __restrict other_mean = src + 1;
  const double* __restrict other_m2 = src + 1 + channels;
  dst[0] = QuietIfNan(total);
  for (int64_t c = 0; c < channels; ++c) {
    const double delta = other_mean[c] - mean[c];
    mean[c] = QuietIfNan(mean[c] + delta * share);
    m2[c] = QuietIfNan((m2[c] + other_m2[c]) + (delta * delta) * weight);
  }
}

// One block with co-moments, the same for each pair: c_ij = c_ij_a + c_ij_b + d_i d_j na nb / n.
void MergeCoMomentsBlock(int64_t channels, double* __restrict dst, const double* __restrict src) {
  const double count = dst[0], other = src[0];
  if (other == 0) return;
  if (count == 0) {
    const int64_t elements = MomentsElements(-channels);
    for (int64_t i = 0; i < elements; ++i) dst[i] = QuietIfNan(src[i]);
    return;
  }
  const double total = count + other;
  const double share = other / total;
  const double weight = count * share;
  double* __restrict mean = dst + 1;
  double* __restrict products = dst + 1 + channels;
  const double* __restrict other_mean = src + 1;
  const double* __restrict other_products = src + 1 + channels;
  dst[0] = QuietIfNan(total);
  for (int64_t i = 0; i < channels; ++i) {
    const double delta = other_mean[i] - mean[i];
    for (int64_t j = i; j < channels; ++j, ++products, ++other_products) {
      *products =
          QuietIfNan((*products + *other_products) + (delta * (other_mean[j] - mean[j])) * weight);
    }
  }
  for (int64_t c = 0; c < channels; ++c) {
    mean[c] = QuietIfNan(mean[c] + (other_mean[c] - mean[c]) * share);
  }
}

void CheckSum(const MergeContent& content) {
  if (content.dtype == DType::kUint8) {
    throw Error(ErrorCode::kInvalidArgument, "bytes (U8) cannot be summed: they would overflow");
  }
  if (content.dtype == DType::kBFloat16) {
    throw Error(ErrorCode::kInvalidArgument, "BF16 are not summed: make them F32 before");
  }
}

void CheckMoments(const MergeContent& content) {
  int64_t wanted = 0;
  for (int64_t channels : content.channels) wanted += MomentsElements(channels);
  if (content.dtype != DType::kFloat64 || wanted != content.elements) {
    throw Error(ErrorCode::kInvalidArgument,
                "moments of " + std::to_string(content.channels.size()) + " blocks are " +
                    std::to_string(wanted) + " F64, got " + std::to_string(content.elements) + " " +
                    std::string(DTypeName(content.dtype)));
  }
}

void SumRange(const MergeContent& content, ElementRange range, void* dst, const void* src) {
  switch (content.dtype) {
    case DType::kFloat32: return Add<float>(dst, src, range.size());
    case DType::kFloat64: return Add<double>(dst, src, range.size());
    case DType::kInt32: return Add<int32_t>(dst, src, range.size());
    case DType::kInt64: return Add<int64_t>(dst, src, range.size());
    case DType::kUint8:
    case DType::kBFloat16:
      break;
  }
  ThrowUnknownValue("sum of elements", static_cast<int>(content.dtype));
}

void MergeBlocks(const MergeContent& content, ElementRange range, double* dst, const double* src) {
  int64_t at = 0;
  for (int64_t channels : content.channels) {
    if (at >= range.end) break;
    if (at >= range.begin) {
      double* const into = dst + (at - range.begin);
      const double* const from = src + (at - range.begin);
      if (channels >= 0) {
        MergeBlock(channels, into, from);
      } else {
        MergeCoMomentsBlock(-channels, into, from);
      }
    }
    at += MomentsElements(channels);
  }
}

[[noreturn]] void ThrowUnknownOperation(MergeOperation operation) {
  ThrowUnknownValue("reduction", static_cast<int>(operation));
}

}  // namespace

void CheckContent(const MergeContent& content) {
  switch (content.operation) {
    case MergeOperation::kSum: return CheckSum(content);
    case MergeOperation::kMergeMoments: return CheckMoments(content);
  }
  ThrowUnknownOperation(content.operation);
}

MergeContent MergeContent::Part(int64_t begin, int64_t end) const {
  MergeContent part = *this;
  part.elements = end - begin;
  if (operation != MergeOperation::kMergeMoments) return part;
  size_t first = 0, last = 0;
  int64_t at = 0;
  while (first < channels.size() && at < begin) at += MomentsElements(channels[first++]);
  for (last = first; last < channels.size() && at < end;) at += MomentsElements(channels[last++]);
  part.channels = channels.subspan(first, last - first);
  return part;
}

void MergeRange(const MergeContent& content, ElementRange range, void* dst, const void* src) {
  switch (content.operation) {
    case MergeOperation::kSum: return SumRange(content, range, dst, src);
    case MergeOperation::kMergeMoments:
      return MergeBlocks(content, range, static_cast<double*>(dst), static_cast<const double*>(src));
  }
  ThrowUnknownOperation(content.operation);
}

void MergeMoments(std::span<const int64_t> channels, std::span<double> dst,
                  std::span<const double> src) {
  const MergeContent content{.operation = MergeOperation::kMergeMoments,
                        .dtype = DType::kFloat64,
                        .elements = static_cast<int64_t>(dst.size()),
                        .channels = channels};
  CheckContent(content);
  SYNCBN_CHECK_EQ(dst.size(), src.size());
  MergeRange(content, {0, content.elements}, dst.data(), src.data());
}

}  // namespace syncbn::backend
