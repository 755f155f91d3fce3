#include "config/difference.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/run_file.h"

namespace syncbn::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

const std::string kSmall = "data: {dataset: mnist, path: a}\nmodel: {architecture: lenet}\n";

v1::RunSpec Parse(const std::vector<std::string>& overrides) {
  return ParseRunFile(kSmall, "run.yaml", overrides).spec;
}

std::vector<Difference> Between(const std::vector<std::string>& a,
                                const std::vector<std::string>& b) {
  return ResultDifferences(Parse(a), Parse(b));
}

TEST(ResultDifferences, AreNoneForWhatDoesNotChangeTheResult) {
  EXPECT_THAT(
      Between({}, {"name=other", "data.path=/elsewhere", "output.digests=true",
                   "output.event_files=false", "train.checkpoint.keep=9", "train.max_steps=5",
                   "data.prefetch=7", "train.evaluate={every_epochs: 3, with: [precise]}",
                   "cluster.bucket_mib=1", "cluster.stall_timeout=9", "probes.moments=10"}),
      IsEmpty());
}

TEST(ResultDifferences, NameTheKeyAndBothValues) {
  EXPECT_THAT(Between({}, {"seed=2", "train.optimizer.momentum=0.5"}),
              ElementsAre(Difference{"seed", "1", "2"},
                          Difference{"train.optimizer.momentum", "0", "0.5"}));
  EXPECT_EQ(FormatDifferences(Between({}, {"seed=2"})), "  seed: 1, now 2\n");
}

TEST(ResultDifferences, NameThePrecision) {
  EXPECT_THAT(Between({"precision=bf16"}, {}),
              ElementsAre(Difference{"precision", "bf16", "float32"}));
}

TEST(ResultDifferences, NameTheFormOfConvolutions) {
  EXPECT_THAT(Between({"convolution=direct"}, {}),
              ElementsAre(Difference{"convolution", "direct", "auto"}));
}

TEST(ResultDifferences, CoverListsAndKinds) {
  EXPECT_THAT(Between({"cluster={replicas: 2, batch_per_replica: 8}"},
                      {"cluster={replicas: 2, batch_per_replica: [8, 4]}"}),
              ElementsAre(Difference{"cluster.batch_per_replica", "8", "[8, 4]"}));
  EXPECT_THAT(Between({"model={layers: [flatten, linear: 10]}"},
                      {"model={layers: [flatten, relu, linear: 10]}"}),
              ElementsAre(Difference{"model.layers", "2 elements", "3 elements"},
                          Difference{"model.layers.1.linear.out", "10", "(none)"},
                          Difference{"model.layers.1.linear.bias", "true", "(none)"},
                          Difference{"model.layers.1.relu", "(none)", "{}"},
                          Difference{"model.layers.2.linear.out", "(none)", "10"},
                          Difference{"model.layers.2.linear.bias", "(none)", "true"}));
}

TEST(ResultDifferences, AreNoneBetweenTwoWaysToSayTheSame) {
  EXPECT_THAT(Between({"cluster={replicas: 2, batch_per_replica: 8}"},
                      {"cluster={replicas: 2, batch_per_replica: [8, 8]}", "model.norm=batch"}),
              IsEmpty());
}

TEST(ResultDifferences, LeaveOutFieldsWithoutEffect) {
  // The epsilon of adamw is nobody's under sgd.
  EXPECT_THAT(Between({"model.norm=none"}, {"model.norm=layer"}),
              ElementsAre(Difference{"model.norm.kind", "none", "layer"},
                          Difference{"model.norm.epsilon", "(none)", "1.0e-05"},
                          Difference{"model.norm.placement", "(none)", "before_activation"},
                          Difference{"model.norm.affine", "(none)", "true"},
                          Difference{"model.norm.initial_scale", "(none)", "1"}));
}

TEST(ResultDifferences, MoreEpochsAreAllowedWhereTheScheduleDoesNotLookAtThem) {
  EXPECT_THAT(Between({"train.epochs=2"}, {"train.epochs=5"}), IsEmpty());
  const std::string step =
      "train.learning_rate={schedule: step, milestones: [1], warmup_epochs: 0.5}";
  EXPECT_THAT(Between({"train.epochs=2", step}, {"train.epochs=5", step}), IsEmpty());
  for (const char* schedule : {"cosine", "polynomial", "one_cycle"}) {
    const std::string set = std::string("train.learning_rate.schedule=") + schedule;
    EXPECT_THAT(Between({"train.epochs=2", set}, {"train.epochs=5", set}),
                ElementsAre(Difference{"train.epochs", "2", "5"}))
        << schedule;
  }
  // The schedule itself must be the same.
  EXPECT_THAT(Between({"train.epochs=2"}, {"train.epochs=5", step}), Not(IsEmpty()));
}

TEST(CanonicalText, IsEqualExactlyWhenTheResultIs) {
  EXPECT_EQ(CanonicalText(Parse({})), CanonicalText(Parse({"name=b", "data.path=c"})));
  EXPECT_NE(CanonicalText(Parse({})), CanonicalText(Parse({"seed=2"})));
  // How far a run goes is part of what its ranks must agree on.
  EXPECT_NE(CanonicalText(Parse({"train.epochs=2"})), CanonicalText(Parse({"train.epochs=3"})));
  EXPECT_THAT(CanonicalText(Parse({})), Not(HasSubstr("max_steps")));
}

TEST(CanonicalText, CanHoldEveryField) {
  EXPECT_NE(CanonicalText(Parse({}), CanonicalScope::kAll),
            CanonicalText(Parse({"train.max_steps=9"}), CanonicalScope::kAll));
  EXPECT_THAT(CanonicalText(Parse({}), CanonicalScope::kAll), HasSubstr("data.path: a\n"));
}

}  // namespace
}  // namespace syncbn::config
