// No text crashes or hangs the decoder: it is read, or it gets diagnostics.
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>

#include "base/file.h"
#include "base/rng.h"
#include "config/run_file.h"

namespace syncbn::config {
namespace {

std::vector<std::string> Texts() {
  std::vector<std::string> texts;
  for (const auto& entry : std::filesystem::directory_iterator(CONFIGS_FOLDER)) {
    if (entry.path().extension() == ".yaml") texts.push_back(ReadFile(entry.path()));
  }
  EXPECT_GE(texts.size(), 7u) << CONFIGS_FOLDER;
  return texts;
}

// Every outcome must be consistent: no diagnostics and a file that can be printed and read again,
// or diagnostics that can be printed.
void Check(const std::string& text) {
  const CheckedRunFile checked = CheckRunFile(text, "run.yaml");
  if (checked.diagnostics.empty()) {
    EXPECT_NO_THROW(ParseRunFile(checked.file.EffectiveYaml(), "again.yaml")) << text;
    return;
  }
  for (const Diagnostic& diagnostic : checked.diagnostics.all()) {
    EXPECT_FALSE(FormatDiagnostic(diagnostic).empty());
    EXPECT_FALSE(diagnostic.message.empty());
    EXPECT_LE(diagnostic.line, 1 + std::count(text.begin(), text.end(), '\n'));
  }
}

TEST(Robustness, AnyBeginningOfAFileIsReadOrRefused) {
  for (const std::string& text : Texts()) {
    for (size_t size = 0; size < text.size(); size += 5) Check(text.substr(0, size));
  }
}

TEST(Robustness, AnyLineMayBeMissing) {
  for (const std::string& text : Texts()) {
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = text.find('\n', begin) + 1;
      Check(text.substr(0, begin) + text.substr(end));
      begin = end;
    }
  }
}

TEST(Robustness, ChangedCharactersAreReadOrRefused) {
  const std::vector<std::string> texts = Texts();
  const std::string characters = "{}[]:,-#&*!|>'\"%@`? \n\t0.e~\\ab\xc3\x00";
  RandomStream random(RandomKey(1).Fold("robustness"));
  for (int i = 0; i < 1500; ++i) {
    std::string text = texts[random.Below(texts.size())];
    const uint64_t changes = 1 + random.Below(4);
    for (uint64_t k = 0; k < changes; ++k) {
      text[random.Below(text.size())] = characters[random.Below(characters.size())];
    }
    Check(text);
  }
}

TEST(Robustness, OverridesOfAnyTextAreReadOrRefused) {
  const std::string characters = "abcmodelrn.=0123[]{}:,'\" ";
  const std::vector<std::string> beginnings = {"model.norm",
                                               "model.layers.0",
                                               "cluster.batch_per_replica",
                                               "train.learning_rate.milestones",
                                               "data",
                                               ""};
  RandomStream random(RandomKey(1).Fold("overrides"));
  for (int i = 0; i < 1000; ++i) {
    std::string text =
        beginnings[random.Below(beginnings.size())] + (random.Below(2) == 0 ? "=" : ".");
    const uint64_t length = random.Below(12);
    for (uint64_t k = 0; k < length; ++k) text += characters[random.Below(characters.size())];
    const std::vector<std::string> overrides = {text};
    const CheckedRunFile checked = CheckRunFile(
        "data: {dataset: shapes}\nmodel: {architecture: lenet}\n", "run.yaml", overrides);
    for (const Diagnostic& diagnostic : checked.diagnostics.all()) FormatDiagnostic(diagnostic);
  }
}

TEST(Robustness, HugeAndDeepTextsAreRefusedInTime) {
  const auto repeated = [](const std::string& piece, size_t bytes) {
    std::string text;
    while (text.size() < bytes) text += piece;
    return text;
  };
  const auto start = std::chrono::steady_clock::now();
  for (const char* piece :
       {"[", "{",  "- ",   "? ", "a: ", "[{",     "\"", "'",    "- a\n", "&a ", "!a ", "*a ",
        "a", "a ", "{a: ", ", ", "[],", "a: b\n", "#",  "[a, ", "\n",    "%",   "|",   "a: |\n"}) {
    const std::string text = repeated(piece, 100'000);
    const CheckedRunFile checked = CheckRunFile(text, "run.yaml");
    EXPECT_FALSE(checked.diagnostics.empty()) << piece;
  }
  const CheckedRunFile large = CheckRunFile(repeated("# comment\n", 2'000'000), "run.yaml");
  EXPECT_FALSE(large.diagnostics.empty());
  std::string deep;
  for (int i = 0; i < 400; ++i) deep += std::string(static_cast<size_t>(i), ' ') + "a:\n";
  EXPECT_FALSE(CheckRunFile(deep, "run.yaml").diagnostics.empty());
  // Generous: it is about growth with the square of the size, not about speed.
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));
}

TEST(Robustness, ALargeClusterIsReadInTime) {
  std::string batches = "1";
  for (int i = 1; i < 65536; ++i) batches += ", " + std::to_string(i % 7);
  const CheckedRunFile checked = CheckRunFile(
      "data: {dataset: shapes}\nmodel: {architecture: lenet}\ncluster: {replicas: 65536, "
      "batch_per_replica: [" +
          batches + "]}\n",
      "run.yaml");
  EXPECT_TRUE(checked.diagnostics.empty()) << checked.diagnostics.Format("run.yaml");
  EXPECT_EQ(checked.file.spec.cluster().batch_per_replica_size(), 65536);
}

}  // namespace
}  // namespace syncbn::config
