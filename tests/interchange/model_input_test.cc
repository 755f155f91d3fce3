#include "interchange/model_input.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/interchange/trained.h"

namespace syncbn::interchange {
namespace {

TEST(ModelInput, IsReadBackToTheBit) {
  const v1::RunSpec spec = RunSpecFromYaml(
      "data: {dataset: shapes, shapes: {train_samples: 16, test_samples: 4}}\n"
      "model: {architecture: cnn_small}\n");
  data::DatasetCache datasets;
  const train::PreparedRun run(spec, datasets);
  const ModelInput input = InputOf(run), again = ModelInput::FromJson(input.ToJson(), "input.json");
  EXPECT_EQ(again.image, (data::ImageShape{32, 32, 3}));
  EXPECT_EQ(again.standardize.mean, run.data().statistics().mean);
  EXPECT_EQ(again.standardize.std, run.data().statistics().std);
  EXPECT_EQ(again.classes, input.classes);
  EXPECT_EQ(again.classes.front(), "disc");
}

TEST(ModelInput, DamageIsNamed) {
  const std::string right =
      R"({"height": 2, "width": 2, "channels": 1, "mean": [0.5], "std": [1], "classes": ["0"]})";
  EXPECT_EQ(ModelInput::FromJson(right, "x").classes.size(), 1u);
  const std::pair<std::string, std::string> changes[] = {
      {"[0.5]", "[0.5, 0.5]"},
      {"\"height\": 2", "\"height\": 0"},
      {"[\"0\"]", "[]"},
      {"[1]", "[]"},
      {"\"std\"", "\"standard\""},
      {"[0.5]", "\"0.5\""},
      {"\"height\": 2", "\"height\": 2.5"},
      {"\"height\": 2", "\"height\": 5000"},
      {"\"width\": 2", "\"width\": 18446744073709551615"},
      {"\"classes\"", "\"middle_of\": 5000, \"classes\""},
      {"\"classes\"", "\"middle_of\": 3.5, \"classes\""},
      {"\"std\": [1]", "\"std\": [-1]"},
      {"[0.5]", "[1e999]"},
      {"[0.5]", std::string(100'000, '[')},
      {"}", ""}};
  for (const auto& [from, to] : changes) {
    std::string wrong = right;
    wrong.replace(wrong.find(from), from.size(), to);
    try {
      ModelInput::FromJson(wrong, "runs/x/input.json");
      ADD_FAILURE() << wrong;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kDataLoss);
      EXPECT_THAT(error.message(), testing::HasSubstr("runs/x/input.json is damaged: "));
    }
  }
}

}  // namespace
}  // namespace syncbn::interchange
