// What tests of `syncbn study` share: a small study in a folder of its own, and its commands.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/file.h"
#include "tests/support/process.h"
#include "tests/support/temp_folder.h"

namespace syncbn {

inline constexpr const char* kStudy = R"(name: tiny
question: Does the normalization batch matter?
run:
  data: {dataset: shapes, shapes: {train_samples: 128, test_samples: 64}}
  model: {architecture: mlp, hidden: [16], norm: batch}
  cluster: {replicas: 2, batch_per_replica: 8}
  train: {epochs: 4}
axes:
  - {path: model.norm.batch, values: [2, 4, 16]}
seeds: 2
tune: {log: {from: 0.01, to: 0.1, points: 2}, widen: 1}
targets:
  - {name: fifth, metric: test_accuracy, at_least: 0.2}
claims:
  - {text: It does, arm: {batch: 16}, against: {batch: 2}, supported: {above: 0.3}}
)";

class StudyTest : public testing::Test {
 protected:
  StudyTest() { WriteFileAtomically(file_, kStudy); }

  ProcessOptions Command(std::vector<std::string> more) const {
    std::vector<std::string> argv = {SyncbnProgram(), "study"};
    argv.insert(argv.end(), more.begin(), more.end());
    return {.argv = std::move(argv), .working_folder = folder_.path().string()};
  }
  ProcessOptions RunInto(const std::string& out) const {
    return Command({"run", file_.string(), "--out", (folder_.path() / out).string()});
  }
  std::string Read(const std::string& path) const { return ReadFile(folder_.path() / path); }
  size_t Results(const std::string& out) const {
    std::ifstream file(folder_.path() / out / "results.jsonl");
    size_t lines = 0;
    for (std::string line; std::getline(file, line);) ++lines;
    return lines;
  }

  TempFolder folder_;
  std::filesystem::path file_ = folder_.path() / "tiny.yaml";
};

}  // namespace syncbn
