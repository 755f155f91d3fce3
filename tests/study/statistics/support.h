// Synthetic results of runs, and what refuses them.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/rng.h"

namespace syncbn::study {

inline std::vector<double> NormalSamples(uint64_t seed, size_t n, double mean, double deviation) {
  RandomStream stream(RandomKey(seed).Fold("synthetic samples"));
  std::vector<double> samples(n);
  for (double& sample : samples) sample = mean + deviation * stream.Normal();
  return samples;
}

// That `body` is refused, for the caller's fault, in words that name `what`.
template <typename Body>
void ExpectRefused(Body&& body, const std::string& what) {
  try {
    body();
    ADD_FAILURE() << "not refused: " << what;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_THAT(error.message(), ::testing::HasSubstr(what));
  }
}

}  // namespace syncbn::study
