#include "config/explain.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <set>

#include "base/error.h"
#include "config/scalar.h"
#include "config/schema.h"
#include "config/schema_comments.h"
#include "config/source.h"
#include "syncbn/v1/run.pb.h"

namespace syncbn::config {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string Refusal(const std::string& path) {
  try {
    Explain(path);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
    return error.message();
  }
  return "(explained)";
}

// Calls visit(path, field) for every key of the run file; types inside themselves once.
template <typename Visit>
void ForEveryKey(const Descriptor& type, const std::string& path, std::set<const Descriptor*> above,
                 const Visit& visit) {
  if (!above.insert(&type).second) return;
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    visit(JoinPath(path, field.name()), field);
    if (IsMessage(field)) {
      ForEveryKey(*field.message_type(), JoinPath(path, field.name()), above, visit);
    }
  }
}

TEST(Explain, ANumberHasItsTypeDefaultRangeAndCondition) {
  EXPECT_EQ(Explain("train.optimizer.momentum"),
            "train.optimizer.momentum\n"
            "  Momentum of sgd and lars.\n"
            "\n"
            "type              number\n"
            "default           0\n"
            "range             from 0 to below 1\n"
            "only when         `kind` is sgd or lars\n"
            "changes result    yes: a run is resumed with the same value only\n");
}

TEST(Explain, AWordHasItsValues) {
  EXPECT_EQ(Explain("cluster.reduction"),
            "cluster.reduction\n"
            "  How contributions are summed.\n"
            "\n"
            "type              word\n"
            "default           tree\n"
            "changes result    yes: a run is resumed with the same value only\n"
            "\n"
            "Values:\n"
            "  tree    The canonical tree over replicas: equal bits at any number of processes.\n"
            "  native  The library's all-reduce (MPI_Allreduce): bits may depend on the number of "
            "processes.\n");
}

TEST(Explain, PrecisionSaysWhatIsComputedWithAndByWhom) {
  const std::string text = Explain("precision");
  EXPECT_THAT(text, HasSubstr("default           float32\n"));
  EXPECT_THAT(text,
              HasSubstr("changes result    yes: a run is resumed with the same value only\n"));
  EXPECT_THAT(text, HasSubstr("\n  float32  Everything in float32"));
  EXPECT_THAT(text, HasSubstr("\n  tf32     The factors of convolutions and matrix products"));
  EXPECT_THAT(text, HasSubstr("\n  bf16     Activations, their gradients"));
  EXPECT_THAT(text, HasSubstr("of the cuda back end alone"));
  EXPECT_THAT(Refusal("amp"), HasSubstr("did you mean `precision`?"));
}

TEST(Explain, ConvolutionSaysWhatDecidesAndWhoHasNoChoice) {
  const std::string text = Explain("convolution");
  EXPECT_THAT(text, HasSubstr("default           auto\n"));
  EXPECT_THAT(text,
              HasSubstr("changes result    yes: a run is resumed with the same value only\n"));
  EXPECT_THAT(text, HasSubstr("cuda what cuDNN chooses by rule"));
  EXPECT_THAT(text, HasSubstr("\n  auto    For each shape and pass the direct form or, for 3 x 3"));
  EXPECT_THAT(text, HasSubstr("\n  direct  The direct form for all."));
  EXPECT_THAT(Refusal("winograd"), HasSubstr("did you mean `convolution`?"));
}

TEST(Explain, AMappingListsItsKeys) {
  const std::string text = Explain("model.norm");
  EXPECT_THAT(text, HasSubstr("short form        its `kind`\n"));
  EXPECT_THAT(text, HasSubstr("\n  kind            Which normalization. [batch]\n"));
  EXPECT_THAT(Explain(), HasSubstr("\n  train        How it is trained.\n"));
  EXPECT_THAT(Explain("data"), HasSubstr("\n  dataset        The data set. Must be given.\n"));
}

TEST(Explain, WhatDoesNotChangeTheResultSaysSo) {
  EXPECT_THAT(Explain("output.digests"), HasSubstr("changes result    no"));
  EXPECT_THAT(Explain("output.event_files"),
              AllOf(HasSubstr("changes result    no"), HasSubstr("default           true")));
  EXPECT_THAT(Explain("train.checkpoint.keep"), HasSubstr("changes result    no"));
  EXPECT_THAT(Explain("train.epochs"),
              HasSubstr("where `learning_rate.schedule` is\n                  constant or step"));
}

TEST(Explain, TheIndexOfAListMayStandInThePath) {
  EXPECT_EQ(Explain("model.layers.3.conv.out"), Explain("model.layers.conv.out"));
}

TEST(Explain, AWrongKeyIsAnsweredWithTheOneThatWasMeant) {
  EXPECT_THAT(Refusal("train.optimizer.momentun"),
              HasSubstr("did you mean `train.optimizer.momentum`?"));
  EXPECT_THAT(Refusal("epochs"), HasSubstr("did you mean `train.epochs`?"));
  EXPECT_THAT(Refusal("cluster.batch_size"),
              HasSubstr("did you mean `cluster.batch_per_replica`?"));
  EXPECT_THAT(Refusal("seed.x"), HasSubstr("`seed` is a single value"));
  EXPECT_THAT(Refusal("zzzzzz"), HasSubstr("Keys here: name, seed,"));
  EXPECT_THAT(Refusal("..."), HasSubstr("there is no key"));
}

TEST(Explain, EveryKeyHasACommentAndFitsAHundredColumns) {
  int keys = 0;
  ForEveryKey(*v1::RunSpec::descriptor(), "", {},
              [&](const std::string& path, const FieldDescriptor& field) {
                ++keys;
                EXPECT_NE(SchemaComment(field.full_name()), "") << path;
                const Source text(path, Explain(path));
                for (int i = 1; i <= text.lines(); ++i) {
                  EXPECT_LE(CountCharacters(text.Line(i), text.Line(i).size()), 100)
                      << text.Line(i);
                }
              });
  EXPECT_GT(keys, 100);
}

// Readers of YAML 1.1 take `on`, `y`, `1e-5` and others for something else than what stands there.
TEST(Schema, NoKeyWordOrDefaultIsReadDifferentlyByOthers) {
  int words = 0;
  ForEveryKey(*v1::RunSpec::descriptor(), "", {},
              [&](const std::string& path, const FieldDescriptor& field) {
                SCOPED_TRACE(path);
                std::vector<std::string> texts = {field.name()};
                if (field.enum_type() != nullptr) {
                  std::ranges::move(EnumTexts(*field.enum_type()), std::back_inserter(texts));
                }
                const v1::FieldRules& rules = RulesOf(field);
                texts.insert(texts.end(), rules.one_of().begin(), rules.one_of().end());
                for (const std::string& text : texts) {
                  EXPECT_FALSE(ReadsAsOtherThanText(text)) << text;
                  ++words;
                }
                const std::string& number = rules.default_value();
                if (field.cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE) {
                  EXPECT_TRUE(number.find('e') == std::string::npos ||
                              number.find('.') != std::string::npos)
                      << number;
                }
              });
  EXPECT_GT(words, 150);
}

// What the decoder relies on, for every field that is ever added to the schema.
TEST(Schema, ItsRulesFitItsFields) {
  ForEveryKey(*v1::RunSpec::descriptor(), "", {},
              [&](const std::string& path, const FieldDescriptor& field) {
                SCOPED_TRACE(path);
                const v1::FieldRules& rules = RulesOf(field);
                const Descriptor& type = *field.containing_type();
                for (const v1::Condition& condition : rules.only_when()) {
                  const FieldDescriptor* by = type.FindFieldByName(condition.key());
                  ASSERT_NE(by, nullptr) << condition.key();
                  for (const std::string& value : condition.values()) {
                    if (by->enum_type() != nullptr) {
                      EXPECT_NE(FindEnumValue(*by->enum_type(), value), nullptr) << value;
                    } else if (by->cpp_type() == FieldDescriptor::CPPTYPE_BOOL) {
                      EXPECT_TRUE(value == "true" || value == "false") << value;
                    } else {
                      const auto& texts = RulesOf(*by).one_of();
                      EXPECT_NE(std::find(texts.begin(), texts.end(), value), texts.end()) << value;
                    }
                  }
                }
                // A field that neither has a default nor says what holds without it must be absent
                // by itself.
                if (!IsMessage(field) && !rules.required() && rules.default_value().empty() &&
                    rules.default_text().empty()) {
                  const std::set<std::string> absent = {"syncbn.v1.DataSpec.path",
                                                        "syncbn.v1.RandomResizedCropSpec.scale",
                                                        "syncbn.v1.ModelSpec.architecture",
                                                        "syncbn.v1.NormBatch.samples",
                                                        "syncbn.v1.LearningRateSpec.milestones",
                                                        "syncbn.v1.InitSpec.from",
                                                        "syncbn.v1.InitSpec.except",
                                                        "syncbn.v1.RunningSpec.frozen",
                                                        "syncbn.v1.TrainSpec.freeze"};
                  EXPECT_TRUE(absent.contains(field.full_name()))
                      << "give it a default, or add it here when its absence has a meaning";
                }
              });
}

}  // namespace
}  // namespace syncbn::config
