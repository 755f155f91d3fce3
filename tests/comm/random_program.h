// A program of reductions that every replica runs: what a step of training is to the reducer.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "backend/stream.h"
#include "tests/comm/support.h"

namespace syncbn::comm::testing {

// A reduction as all replicas start it, each in its group.
struct Step {
  std::vector<Group> groups;  // that cut the replicas into runs
  Content content;
  Contributions values;
  bool waits;  // at once, as the statistics of a layer; else at the end, as gradients
  std::string name;

  Group GroupOf(int replica) const {
    return *std::ranges::find_if(groups, [&](Group group) { return replica < group.end; });
  }
};

inline constexpr int64_t kChannels[] = {3, 40};

// Statistics of groups that differ from layer to layer, among them replicas without samples, and
// buckets of gradients of all replicas between them.
inline std::vector<Step> RandomProgram(int replicas, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<Step> program;
  for (int i = 0; i < 24; ++i) {
    Step step{.waits = i % 3 != 0, .name = "step " + std::to_string(i)};
    for (int begin = 0; begin < replicas;) {
      const int size = step.waits ? 1 + static_cast<int>(random() % 4) : replicas;
      step.groups.push_back({begin, std::min(begin + size, replicas)});
      begin = step.groups.back().end;
    }
    if (step.waits) {
      step.content = {.operation = Operation::kMergeMoments,
                      .dtype = DType::kFloat64,
                      .elements = 2 + 2 * (3 + 40),
                      .channels = kChannels};
      step.values = MomentContributions(replicas, kChannels, seed + static_cast<unsigned>(i));
    } else {
      const int elements = random() % 2 == 0 ? 7 : 3000;
      step.content = {.dtype = DType::kFloat32, .elements = elements};
      step.values = SumContributions(replicas, elements, seed + static_cast<unsigned>(i));
    }
    program.push_back(std::move(step));
  }
  return program;
}

// On the device of `stream`, or (null) on the host. Every result must be the tree's, to the bit.
inline void RunProgram(const std::vector<Step>& program, ReplicaLink link,
                       backend::Stream* stream = nullptr) {
  std::mt19937 random(static_cast<unsigned>(link.replica));
  std::vector<Tensor> results;
  std::vector<Reducer::Handle> handles;
  for (const Step& step : program) {
    // Replicas run apart.
    if (random() % 4 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 300));
    const Tensor mine = TensorOf(step.content, step.values[static_cast<size_t>(link.replica)]);
    results.push_back(stream != nullptr ? stream->New({step.content.elements}, step.content.dtype)
                                        : Tensor({step.content.elements}, step.content.dtype));
    handles.push_back(link.Start({.operation = step.content.operation,
                                  .group = step.GroupOf(link.replica),
                                  .contribution = stream != nullptr ? stream->Clone(mine) : mine,
                                  .ready = stream != nullptr ? stream->Record() : backend::Event(),
                                  .result = results.back(),
                                  .channels = step.content.channels,
                                  .name = step.name}));
    if (step.waits && stream != nullptr) link.Wait(handles.back(), *stream);
    if (step.waits && stream == nullptr) link.WaitOnHost(handles.back());
    link.reducer->Progress();
  }
  for (size_t i = 0; i < program.size(); ++i) {
    link.WaitOnHost(handles[i]);
    const Group group = program[i].GroupOf(link.replica);
    EXPECT_EQ(BytesOf(results[i].OnHost()),
              Expected(program[i].content, program[i].values, group.begin, group.end))
        << program[i].name << ", replica " << link.replica;
  }
}

}  // namespace syncbn::comm::testing
