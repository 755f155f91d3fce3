#include "config/norm_fit.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/text.h"
#include "base/unknown_value.h"

namespace syncbn::config {

int64_t FittingGroups(int64_t channels, int64_t groups) {
  for (int64_t fitting = std::min(channels, groups); fitting > 1; --fitting) {
    if (channels % fitting == 0) return fitting;
  }
  return 1;
}

std::optional<int64_t> SamplesOfGroups(const std::vector<int64_t>& batches, size_t group) {
  std::optional<int64_t> samples;
  for (size_t begin = 0; begin < batches.size(); begin += group) {
    int64_t sum = 0;
    for (size_t i = begin; i < begin + group; ++i) sum += batches[i];
    if (samples && *samples != sum) return std::nullopt;
    samples = sum;
  }
  return samples;
}

std::optional<NormGroups> FitNormBatch(const v1::NormBatch& batch,
                                       const std::vector<int64_t>& batches) {
  const int replicas = static_cast<int>(batches.size());
  if (batch.samples() == 0) {
    if (batch.scope() == v1::NORM_SCOPE_REPLICA) return NormGroups{};
    return NormGroups{.replicas_per_group = std::max(1, replicas)};
  }
  if (batches.empty()) return std::nullopt;
  const int64_t n = batch.samples();
  const int64_t largest = *std::max_element(batches.begin(), batches.end());
  if (n < largest) return NormGroups{.slice_samples = n};
  if (n == largest) return NormGroups{};
  for (int group = 2; group <= replicas; ++group) {
    if (replicas % group != 0) continue;
    if (SamplesOfGroups(batches, static_cast<size_t>(group)) == n) {
      return NormGroups{.replicas_per_group = group};
    }
  }
  return std::nullopt;
}

std::vector<int64_t> BalancedSlices(int64_t batch, int64_t most) {
  if (batch == 0) return {0};
  const int64_t slices = (batch + most - 1) / most;
  std::vector<int64_t> sizes;
  for (int64_t i = 0; i < slices; ++i)
    sizes.push_back(batch / slices + (i < batch % slices ? 1 : 0));
  return sizes;
}

std::string SlicesText(const std::vector<int64_t>& sizes) {
  std::vector<std::string> parts;
  for (size_t i = 0; i < sizes.size();) {
    const size_t equal = static_cast<size_t>(
        std::count(sizes.begin() + static_cast<std::ptrdiff_t>(i), sizes.end(), sizes[i]));
    const std::string size = std::to_string(sizes[i]);
    if (sizes.size() > 4) {
      parts.push_back(std::to_string(equal) + " x " + size);
    } else {
      parts.insert(parts.end(), equal, size);
    }
    i += equal;
  }
  return Join(parts, " + ");
}

std::string GroupOfOneSample(const NormGroups& groups, const std::vector<int64_t>& batches) {
  const int size = groups.replicas_per_group;
  if (size > 1) {
    for (size_t begin = 0; begin < batches.size(); begin += static_cast<size_t>(size)) {
      const auto first = batches.begin() + static_cast<std::ptrdiff_t>(begin);
      if (std::accumulate(first, first + size, int64_t{0}) != 1) continue;
      return static_cast<size_t>(size) == batches.size()
                 ? "all replicas together have 1 sample"
                 : "a group of " + std::to_string(size) + " replicas has 1 sample";
    }
    return "";
  }
  for (const int64_t batch : batches) {
    if (batch == 1) return "a replica has a batch of 1 sample";
    if (!groups.slice_samples || batch == 0) continue;
    const std::vector<int64_t> sizes = BalancedSlices(batch, *groups.slice_samples);
    if (sizes.back() != 1) continue;
    return "a replica's batch of " + std::to_string(batch) + " samples is cut into " +
           SlicesText(sizes);
  }
  return "";
}

int64_t FewestSamples(const NormGroups& groups, const std::vector<int64_t>& batches) {
  std::vector<int64_t> samples;
  const auto size = static_cast<size_t>(groups.replicas_per_group);
  for (size_t begin = 0; begin + size <= batches.size(); begin += size) {
    const auto first = batches.begin() + static_cast<std::ptrdiff_t>(begin);
    const int64_t sum = std::accumulate(first, first + groups.replicas_per_group, int64_t{0});
    if (sum == 0) continue;
    samples.push_back(groups.slice_samples ? BalancedSlices(sum, *groups.slice_samples).back()
                                           : sum);
  }
  return samples.empty() ? 0 : std::ranges::min(samples);
}

bool NormalizesChannelsAlone(const v1::NormSpec& norm, int64_t channels,
                             const std::vector<int64_t>& batches) {
  switch (norm.kind()) {
    case v1::NORM_KIND_INSTANCE:
      return true;
    case v1::NORM_KIND_LAYER:
      return channels == 1;
    case v1::NORM_KIND_GROUP:
      return channels > 0 && FittingGroups(channels, norm.groups()) == channels;
    case v1::NORM_KIND_BATCH:
    case v1::NORM_KIND_BATCH_RENORM:
    case v1::NORM_KIND_ITERATIVE: {
      const std::optional<NormGroups> groups = FitNormBatch(norm.batch(), batches);
      return groups && !GroupOfOneSample(*groups, batches).empty();
    }
    case v1::NORM_KIND_UNSPECIFIED:
    case v1::NORM_KIND_NONE:
    case v1::NORM_KIND_WEIGHT:
      return false;
    default:
      ThrowUnknownValue("model.norm.kind", static_cast<int>(norm.kind()));
  }
}

int64_t ScaledChannels(int64_t channels, double width) {
  return std::max<int64_t>(1, std::llround(static_cast<double>(channels) * width));
}

}  // namespace syncbn::config
