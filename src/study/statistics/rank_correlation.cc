#include "study/statistics/rank_correlation.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "base/error.h"
#include "study/statistics/distributions.h"
#include "study/statistics/samples.h"

namespace syncbn::study {
namespace {

constexpr size_t kExactBelow = 10;
// The sums below stay within 64 bits.
constexpr size_t kMostPairs = 1'000'000;

// Twice the rank less the mean rank: integers, with sum 0, exact also where values are tied.
std::vector<int64_t> CenteredRanks(std::span<const double> values) {
  const int64_t n = static_cast<int64_t>(values.size());
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<int64_t> ranks(values.size());
  for (size_t first = 0, last; first < order.size(); first = last) {
    last = first + 1;
    while (last < order.size() && values[order[last]] == values[order[first]]) ++last;
    for (size_t i = first; i < last; ++i) {
      ranks[order[i]] = static_cast<int64_t>(first + last) - n;
    }
  }
  return ranks;
}

int64_t Product(std::span<const int64_t> a, std::span<const int64_t> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), int64_t{0});
}

// The share of pairings that are as far from no association. Those of equal ranks are taken once
// for all: each distinct arrangement stands for as many pairings.
double ExactP(std::span<const int64_t> x, std::vector<int64_t> y) {
  const int64_t seen = std::abs(Product(x, y));
  int64_t as_far = 0, all = 0;
  std::sort(y.begin(), y.end());
  do {
    ++all;
    if (std::abs(Product(x, y)) >= seen) ++as_far;
  } while (std::next_permutation(y.begin(), y.end()));
  return static_cast<double>(as_far) / static_cast<double>(all);
}

double StudentsP(double rho, double n) {
  if (std::abs(rho) == 1) return 0;
  const double t = std::abs(rho) * std::sqrt((n - 2) / ((1 - rho) * (1 + rho)));
  return 2 * StudentsTCdf(-t, n - 2);
}

Interval FishersInterval(double rho, double n, double level) {
  if (n < 4) return {-1, rho, 1};
  const double largest = 1 - 6 / (n * n * n - n);
  const double inner = std::clamp(rho, -largest, largest);
  const double z = std::atanh(inner);
  const double half =
      NormalQuantile((1 + level) / 2) * std::sqrt((1 + inner * inner / 2) / (n - 3));
  return {std::min(rho, std::tanh(z - half)), rho, std::max(rho, std::tanh(z + half))};
}

}  // namespace

RankCorrelation Spearman(std::span<const double> x, std::span<const double> y, double level) {
  CheckLevel(level);
  CheckPairs(x, y, 2);
  if (x.size() > kMostPairs) {
    throw Error(ErrorCode::kInvalidArgument, "a rank correlation of " + std::to_string(x.size()) +
                                                 " pairs; it takes at most " +
                                                 std::to_string(kMostPairs));
  }
  const std::vector<int64_t> x_ranks = CenteredRanks(x), y_ranks = CenteredRanks(y);
  const int64_t xx = Product(x_ranks, x_ranks), yy = Product(y_ranks, y_ranks);
  if (xx == 0 || yy == 0) return {.rho = {-1, 0, 1}, .p = 1};
  const double n = static_cast<double>(x.size());
  // One root of the product: exactly 1 where the ranks are the same.
  const double rho = static_cast<double>(Product(x_ranks, y_ranks)) /
                     std::sqrt(static_cast<double>(xx) * static_cast<double>(yy));
  return {.rho = FishersInterval(rho, n, level),
          .p = x.size() < kExactBelow ? ExactP(x_ranks, y_ranks) : StudentsP(rho, n)};
}

}  // namespace syncbn::study
