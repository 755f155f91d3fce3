// Wrong study files, with what is said of each: place, key, words.
#include "study/study_file.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "study/plan.h"
#include "tests/study/support.h"

namespace syncbn::study {
namespace {

const std::string kRun =
    "name: w\n"
    "run:\n"
    "  data: {dataset: shapes}\n"
    "  model: {architecture: mlp, hidden: [4], norm: batch}\n"
    "  cluster: {replicas: 4, batch_per_replica: 8}\n";

// Lines 6 and 7 of many.
const std::string kAxes =
    "axes:\n"
    "  - {path: model.norm.batch, values: [2, 4]}\n";

std::string FaultOf(const std::string& text) {
  try {
    const Plan plan(testing::Parse(text));
    return "none";
  } catch (const Error& error) {
    return error.what();
  }
}

struct Wrong {
  const char* name;
  std::string text;
  // How a line of the message begins.
  std::string fault;
};

std::vector<Wrong> WrongFiles() {
  const std::string claim = "claims:\n  - ";
  return {
      {"no name", "run: {}\n", "study.yaml:1:1: name: is missing"},
      {"no run", "name: x\n", "study.yaml:1:1: run: is missing"},
      {"unknown key", kRun + "axis: []\n",
       "study.yaml:6:1: axis: unknown key; did you mean `axes`?"},
      {"run is nowhere", "name: x\nrun: no/such.yaml\n", "study.yaml:2:6: run: cannot open "},
      {"run is a number", "name: x\nrun: 3\n", "study.yaml:2:6: run: cannot open "},
      {"run is wrong inside",
       "name: x\nrun:\n  model: {architecture: mlpp}\n  data: {dataset: shapes}\n",
       "study.yaml:3:25: model.architecture: expected one of "},
      {"run lacks its data", "name: x\nrun:\n  model: {architecture: mlp}\n", "study.yaml:3:"},
      {"set of an unknown key", kRun + "set: {trian.epochs: 3}\n",
       "study.yaml:6:7: trian: unknown key; did you mean `train`?"},
      {"set out of range", kRun + "set: {train.epochs: -1}\n",
       "study.yaml:6:7: train.epochs: expected "},
      {"set of nothing", kRun + "set: {train.epochs: }\n",
       "study.yaml:6:7: set.0.value: expected a value, found nothing"},
      {"set twice", kRun + "set: {train.epochs: 1, train.epochs: 2}\n",
       "study.yaml:6:24: set: `train.epochs` is given twice, first in line 6; remove one of them"},
      {"set is a list", kRun + "set: [1]\n",
       "study.yaml:6:6: set: expected a mapping, found a list"},
      {"set of the seed", kRun + "set: {seed: 3}\n", "study.yaml:6:7: set.0: is set by the study"},
      {"sgd_batch is no number", kRun + "set: {sgd_batch: big}\n",
       "study.yaml:6:7: sgd_batch: expected a whole number of samples of at least 1, found big"},
      {"sgd_batch below the replicas", kRun + "set: {sgd_batch: 3}\n",
       "study.yaml:6:7: sgd_batch: 3 samples are not enough for 4 replicas"},
      {"samples of 0", kRun + "set: {samples: 0}\n",
       "study.yaml:6:7: samples: expected a whole number of samples of at least 1, found 0"},
      {"axis without values", kRun + "axes: [{name: a}]\n",
       "study.yaml:6:8: axes.0: has no values"},
      {"axis without path", kRun + "axes: [{values: [1]}]\n",
       "study.yaml:6:8: axes.0: has values and no `path`"},
      {"axis of no values", kRun + "axes: [{path: seed, values: []}]\n",
       "study.yaml:6:29: axes.0.values: the list needs at least 1 element"},
      {"axis of the seed", kRun + "axes: [{path: seed, values: [1]}]\n",
       "study.yaml:6:15: axes.0.path: is set by the study"},
      {"values and a grid",
       kRun + "axes: [{path: a, values: [1], log: {from: 1, to: 2, points: 2}}]\n",
       "study.yaml:6:31: axes.0: `values` and `log` exclude each other; remove one of them"},
      {"path beside cases", kRun + "axes: [{name: n, path: a, cases: [{name: c}]}]\n",
       "study.yaml:6:24: axes.0.path: has no effect beside `cases`"},
      {"cases without a name", kRun + "axes: [{cases: [{name: c}]}]\n",
       "study.yaml:6:8: axes.0: an axis of cases needs a `name`"},
      {"case without a name", kRun + "axes: [{name: n, cases: [{set: {}}]}]\n",
       "study.yaml:6:26: axes.0.cases.0.name: is missing"},
      {"a value twice", kRun + "axes: [{path: model.norm.batch, values: [2, 2]}]\n",
       "study.yaml:6:45: axes.0.values.1: `2` is there twice; remove one of them"},
      {"an axis twice", kRun + kAxes + "  - {name: batch, path: train.epochs, values: [1]}\n",
       "study.yaml:8:5: axes.1: there is an axis `batch` already"},
      {"value out of range", kRun + "axes: [{path: model.norm.batch, values: [2, -4]}]\n",
       "study.yaml:6:45: model.norm.batch: expected "},
      {"value that does not fit", kRun + "axes: [{path: model.norm.batch, values: [8, 24]}]\n",
       "study.yaml:6:45: model.norm.batch.samples: a normalization batch of 24 samples does not "
       "fit "},
      {"grid that falls", kRun + "axes: [{path: train.epochs, log: {from: 2, to: 1, points: 2}}]\n",
       "study.yaml:6:34: axes.0.log: `from` is not less than `to`"},
      {"grid of one", kRun + "axes: [{path: train.epochs, log: {from: 1, to: 2, points: 1}}]\n",
       "study.yaml:6:59: axes.0.log.points: expected a whole number from 2 to 100, found the "
       "number 1"},
      {"grid from 0", kRun + "axes: [{path: train.epochs, log: {from: 0, to: 2, points: 3}}]\n",
       "study.yaml:6:41: axes.0.log.from: expected a number above 0, found the number 0"},
      {"skip of no axis", kRun + kAxes + "skip: [{where: {bach: 2}}]\n",
       "study.yaml:8:17: skip.0.where.0: there is no axis `bach`; did you mean `batch`?"},
      {"skip of no value", kRun + kAxes + "skip: [{where: {batch: 3}}]\n",
       "study.yaml:8:24: skip.0.where.0.value: the axis `batch` has no value 3"},
      {"everything skipped", kRun + kAxes + "skip: [{where: {batch: 2}}, {where: {batch: 4}}]\n",
       "study.yaml: skip: leaves no combination of the axes"},
      {"no seeds", kRun + "seeds: 0\n",
       "study.yaml:6:8: seeds: expected a whole number from 1 to 1000, or a mapping, found the "
       "number 0"},
      {"a seed twice", kRun + "seeds: {list: [1, 1]}\n",
       "study.yaml:6:19: seeds.list.1: 1 is there twice; remove one of them"},
      {"tuning without a grid", kRun + "tune: {widen: 1}\n",
       "study.yaml:6:1: tune.log: is missing"},
      {"tuned with a seed of the trials",
       kRun + "tune: {seed: 2, log: {from: 0.1, to: 1, points: 2}}\n",
       "study.yaml:6:14: tune.seed: 2 is a seed of the trials, too"},
      {"tuned and an axis",
       kRun + "axes: [{path: train.learning_rate.base, values: [1]}]\n"
              "tune: {log: {from: 0.1, to: 1, points: 2}}\n",
       "study.yaml:7:1: tune.path: is what the axis `base` changes"},
      {"tuned by no measure",
       kRun + "tune: {measure: accuracy, log: {from: 0.1, to: 1, points: 2}}\n",
       "study.yaml:6:17: tune.measure: there is no measure `accuracy`"},
      {"target without a value", kRun + "targets: [{name: t}]\n",
       "study.yaml:6:11: targets.0: has no value to reach"},
      {"target twice", kRun + "targets: [{name: t, at_least: 1}, {name: t, at_most: 1}]\n",
       "study.yaml:6:35: targets.1: there is a target `t` already"},
      {"claim without a rule", kRun + kAxes + claim + "{text: c, arm: {batch: 2}}\n",
       "study.yaml:9:5: claims.0: has no rule"},
      {"claim of no measure",
       kRun + kAxes + claim + "{text: c, measure: test_acuracy, supported: {above: 0}}\n",
       "study.yaml:9:24: claims.0.measure: there is no measure `test_acuracy`; did you mean "
       "`test_accuracy`?"},
      {"claim of no value",
       kRun + kAxes + claim + "{text: c, arm: {batch: 5}, supported: {above: 0}}\n",
       "study.yaml:9:28: claims.0.arm.0.value: the axis `batch` has no value 5"},
      {"ratio with nothing",
       kRun + kAxes + claim + "{text: c, compare: ratio, supported: {above: 0}}\n",
       "study.yaml:9:5: claims.0: a ratio needs `against`"},
      {"correlation over nothing",
       kRun + kAxes + claim + "{text: c, compare: rank_correlation, supported: {above: 0}}\n",
       "study.yaml:9:5: claims.0: needs `over`"},
      {"correlation over words",
       kRun + "axes: [{name: n, cases: [{name: a}, {name: b, set: {train.epochs: 2}}]}]\n" + claim +
           "{text: c, compare: rank_correlation, over: n, supported: {above: 0}}\n",
       "study.yaml:8:48: claims.0.over: the values of the axis `n` are no numbers"},
      {"bounds that are none", kRun + kAxes + claim + "{text: c, supported: {}}\n",
       "study.yaml:9:26: claims.0.supported: has no bound"},
      {"bounds the wrong way",
       kRun + kAxes + claim + "{text: c, supported: {above: 1, below: 0}}\n",
       "study.yaml:9:26: claims.0.supported: `above` is not less than `below`"},
      {"two bounds and no other side",
       kRun + kAxes + claim + "{text: c, supported: {above: 0, below: 1}}\n",
       "study.yaml:9:5: claims.0: what lies on the other side of two bounds is not one thing"},
      {"refuted beside equivalence",
       kRun + kAxes + claim + "{text: c, equivalent_within: 1, refuted: {above: 0}}\n",
       "study.yaml:9:46: claims.0.refuted: has no effect beside `equivalent_within`"},
      {"too many at once", kRun + "at_once: 0\n",
       "study.yaml:6:10: at_once: expected a whole number from 1 to 1024, found the number 0"},
  };
}

TEST(StudyFile, WhatIsWrongIsSaidWithPlaceKeyAndWords) {
  for (const Wrong& wrong : WrongFiles()) {
    const std::string found = FaultOf(wrong.text);
    bool there =
        found.starts_with(wrong.fault) || found.find("\n" + wrong.fault) != std::string::npos;
    EXPECT_TRUE(there) << wrong.name << "\n"
                       << wrong.text << "\nexpected\n"
                       << wrong.fault << "\nfound\n"
                       << found;
  }
  EXPECT_GE(WrongFiles().size(), 40u);
}

TEST(StudyFile, ARunFileWithinTheStudyKeepsItsPlacesAndItsComments) {
  const StudyFile file = testing::Parse(
      "name: x\n"
      "# before\n"
      "run:\n"
      "  # within\n"
      "  data: {dataset: shapes}\n"
      "\n"
      "  model: {architecture: mlp}  # behind\n"
      "seeds: 2\n");
  EXPECT_EQ(file.run_text.substr(file.run_text.find("data")),
            "data: {dataset: shapes}\n\n  model: {architecture: mlp}  # behind\n        \n");
  EXPECT_EQ(file.seeds, (std::vector<uint64_t>{1, 2}));
}

TEST(StudyFile, ValuesOfAnyKindAreKeptAsTheyWouldStandInARunFile) {
  const StudyFile file = testing::Parse(kRun + R"(
set:
  a: [8, "4", x y]
  b:
    kind: batch
    more: {c: true}
  d: "8"
  e: 1.0e-3
  f: a, b
  g: "say \"no\""
)");
  std::vector<std::string> values;
  for (const Setting& setting : file.set) values.push_back(setting.path + "=" + setting.value);
  EXPECT_EQ(values,
            (std::vector<std::string>{"a=[8, \"4\", \"x y\"]", "b={kind: batch, more: {c: true}}",
                                      "d=\"8\"", "e=1.0e-3", "f=\"a, b\"", R"(g="say \"no\"")"}));
}

TEST(StudyFile, ThoseOfTheProjectAreRight) {
  int files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(STUDIES)) {
    if (entry.path().extension() != ".yaml") continue;
    ++files;
    EXPECT_GE(Plan(LoadStudyFile(entry.path())).cells().size(), 2u) << entry.path();
  }
  EXPECT_GE(files, 1);
}

TEST(StudyFile, OverridesAreOfTheStudysKeys) {
  const StudyFile file =
      ParseStudyFile(kRun + kAxes, "study.yaml", ".", std::vector<std::string>{"seeds=3"});
  EXPECT_EQ(file.seeds.size(), 3u);
}

}  // namespace
}  // namespace syncbn::study
