#include "data/sampler.h"

#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/rng.h"

namespace syncbn::data {

Sampler::Sampler(const Options& options) : options_(options) {
  SYNCBN_CHECK_GE(options.samples, 0);
}

std::vector<uint64_t> Sampler::Order(int64_t epoch) const {
  SYNCBN_CHECK_GE(epoch, 0);
  std::vector<uint64_t> order(static_cast<size_t>(options_.samples));
  std::iota(order.begin(), order.end(), uint64_t{0});
  if (!options_.shuffle) return order;
  RandomStream stream(RandomKey(options_.seed).Fold("order").Fold(static_cast<uint64_t>(epoch)));
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[stream.Below(i)]);
  return order;
}

}  // namespace syncbn::data
