// Study files that are right, and what is kept of them.
#include "study/study_file.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "study/plan.h"
#include "study/study_folder.h"
#include "tests/study/support.h"
#include "tests/support/temp_folder.h"

namespace syncbn::study {
namespace {

using testing::FaultOf;
using testing::kAxes;
using testing::kRun;

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

// What follows from it (the axis has another name then) does not hide it.
TEST(StudyFile, AKeyThatTheRunFileHasNotIsToldBesideWhatElseIsWrong) {
  const std::string text = kRun + kAxes +
                           "claims: [{text: c, arm: {batch: 4}, against: {batch: 2}, "
                           "supported: {above: 0}}]\n";
  const auto fault_of = [&](const std::vector<std::string>& overrides) -> std::string {
    try {
      const Plan plan(ParseStudyFile(text, "study.yaml", ".", overrides));
      return "none";
    } catch (const Error& error) {
      return error.what();
    }
  };
  EXPECT_EQ(fault_of({}), "none");
  const auto expect = [&](const std::vector<std::string>& overrides, const std::string& part) {
    const std::string fault = fault_of(overrides);
    EXPECT_NE(fault.find(part), std::string::npos) << fault;
    EXPECT_NE(fault.find("there is no axis"), std::string::npos) << fault;
  };
  expect({"axes.0.path=model.norm.bach"},
         "axes.0.path: there is no key `model.norm.bach`; did you mean `model.norm.batch`?");
  const std::string other = "axes.0.name=other";
  expect({other, "set={trian.epochs: 3}"}, "trian.epochs: there is no key `trian`");
  expect({other, "tune={path: train.rate, log: {from: 0.1, to: 1, points: 2}}"},
         "tune.path: there is no key `train.rate`");
  expect({"axes=[{name: other, cases: [{name: a, set: {model.nrom: batch}}]}]"},
         "model.nrom: there is no key `model.nrom`");
}

TEST(StudyFile, SeedsAreANumberOrAListOfThem) {
  for (const std::string seeds : {"[7, 9]", "{list: [7, 9]}", "\n  - 7\n  - 9"}) {
    const std::string text = kRun + "seeds: " + seeds + "\n";
    EXPECT_EQ(testing::Parse(text).seeds, (std::vector<uint64_t>{7, 9})) << text;
  }
  const std::string forms = "seeds: 3\nforms: [{name: quick, seeds: [4]}]\n";
  EXPECT_EQ(ParseStudyFile(kRun + forms, "study.yaml", ".", {}, "quick").seeds,
            std::vector<uint64_t>{4});
  const std::vector<std::string> set = {"seeds=[5, 6]"};
  EXPECT_EQ(ParseStudyFile(kRun + forms, "study.yaml", ".", set).seeds,
            (std::vector<uint64_t>{5, 6}));
}

// What the run of a study, whose seeds are 2 and whose name is x, is resolved to.
void ExpectRun(const std::string& text, const std::vector<std::string>& overrides = {}) {
  try {
    const Plan plan(ParseStudyFile(text, "study.yaml", ".", overrides));
    const v1::RunSpec run = plan.RunOf(plan.FirstTrials().front());
    EXPECT_EQ(run.model().hidden(0), 6) << text;
    EXPECT_EQ(run.cluster().batch_per_replica(0), 8) << text;
    EXPECT_EQ(plan.file().seeds.size(), 2u) << text;
    EXPECT_EQ(plan.file().spec.name(), "x") << text;
  } catch (const Error& error) {
    ADD_FAILURE() << text << "\n" << error.what();
  }
}

TEST(StudyFile, ARunFileWithinTheStudyMayStandInAnyStyleOfYaml) {
  const std::string block =
      "run:\n"
      "  # a comment\n"
      "  data: {dataset: shapes}\n"
      "\n"
      "  model: {architecture: mlp, hidden: [6]}\n"
      "# one at the margin\n"
      "  cluster: {replicas: 1, batch_per_replica: 8}\n";
  const std::string flow =
      "run: {data: {dataset: shapes}, model: {architecture: mlp, hidden: [6]}, cluster: {replicas: "
      "1, batch_per_replica: 8}}\n";
  const std::string flow_at_margin =
      "run: {data: {dataset: shapes},\n"
      "model: {architecture: mlp,\n"
      "# a comment\n"
      "hidden: [6]},\n"
      "cluster: {replicas: 1, batch_per_replica: 8}\n"
      "}\n";
  const std::string flow_within =
      "run:\n"
      "  data: {dataset: shapes}\n"
      "  model: {architecture: mlp,\n"
      "    hidden: [\n"
      "      6]}\n"
      "  cluster: {replicas: 1,\n"
      "    batch_per_replica: 8}\n";
  for (const std::string& run : {block, flow, flow_at_margin, flow_within}) {
    ExpectRun("name: x\n" + run + "seeds: 2\n");
    ExpectRun(run + "name: x\nseeds: 2\n");
    ExpectRun("name: x\nseeds: 2\n" + run);
    ExpectRun("name: x\nseeds: 2\n" + run.substr(0, run.size() - 1));
    ExpectRun("---\nname: x\n" + run + "\n# of the seeds\nseeds: 2\n");
    // A key that an override replaces still ends the run file.
    ExpectRun("name: x\n" + run + "seeds: 3\n", {"seeds=2"});
    std::string windows;
    for (const char c : "name: x\n" + run + "\nseeds: 2\n") {
      windows += c == '\n' ? std::string("\r\n") : std::string(1, c);
    }
    ExpectRun(windows);
  }
  // Keys that are indented themselves.
  for (const std::string& run : {block, flow}) {
    std::string indented = "  ";
    for (const char c : "name: x\n" + run + "seeds: 2") {
      indented += c == '\n' ? std::string("\n  ") : std::string(1, c);
    }
    ExpectRun(indented + "\n");
  }
  const std::string inner = flow.substr(0, flow.size() - 1);
  ExpectRun("{name: x, " + inner + ", seeds: 2}\n");
  ExpectRun("{" + inner + ",\nseeds: 2,\nname: x}\n");
  ExpectRun("{\nname: x,\nseeds: 2,\n" + flow_at_margin + "}\n");
}

TEST(StudyFile, FaultsOfARunFileInAnIndentedStudyHaveTheirPlace) {
  EXPECT_TRUE(FaultOf("  name: x\n"
                      "  run:\n"
                      "    data: {dataset: shapes}\n"
                      "    model: {architecture: mlpp}\n"
                      "  seeds: 2\n")
                  .starts_with("study.yaml:4:27: model.architecture: expected one of "));
}

TEST(StudyFile, ANumberIsFoundHoweverItIsWritten) {
  const StudyFile file =
      testing::Parse(kRun +
                     "axes: [{path: train.learning_rate.base, values: [0.1, 1e-2]}]\n"
                     "skip: [{where: {base: 0.010}}]\n"
                     "claims: [{text: c, arm: {base: 0.10}, supported: {above: 0}}]\n");
  EXPECT_EQ(file.spec.claims(0).arm(0).value(), "0.1");
  const Plan plan(file);
  ASSERT_EQ(plan.cells().size(), 1u) << "the other is skipped";
  EXPECT_TRUE(Matches(plan, plan.cells()[0], plan.file().spec.claims(0).arm()));
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
    const std::string folder = entry.path().parent_path().filename();
    if ((folder != "studies" && folder != "claims") || entry.path().extension() != ".yaml")
      continue;
    ++files;
    const StudyFile file = LoadStudyFile(entry.path());
    std::vector<std::string> forms = {""};
    for (const v1::StudyFormSpec& form : file.spec.forms()) forms.push_back(form.name());
    for (const std::string& form : forms) {
      EXPECT_GE(Plan(LoadStudyFile(entry.path(), {}, form)).FirstTrials().size(), 2u)
          << entry.path() << " " << form;
    }
  }
  EXPECT_GE(files, 20);
}

TEST(StudyFile, OverridesAreOfTheStudysKeys) {
  const StudyFile file =
      ParseStudyFile(kRun + kAxes, "study.yaml", ".", std::vector<std::string>{"seeds=3"});
  EXPECT_EQ(file.seeds.size(), 3u);
}

// An earlier program took them: their results are still to be had.
TEST(StudyFile, InAFolderMayAskWhatANewOneMayNot) {
  const TempFolder folder;
  for (const auto& [asks, fault] : std::vector<std::pair<std::string, std::string>>{
           {"claims: [{text: c, arm: {batch: 4}, against: {batch: 2}, supported: {above: -1}}]\n",
            "expected a number between -1 and 1"},
           {"tune: {measure: figure foo, log: {from: 0.1, to: 1, points: 2}}\n",
            "there is no probe `foo`"}}) {
    const std::string text = kRun + kAxes + asks;
    EXPECT_NE(FaultOf(text).find(fault), std::string::npos) << FaultOf(text);
    StoreStudy(folder.path(), testing::Parse(text, StudyOrigin::kStored), {});
    WriteFileAtomically(folder.path() / kResultsFile, "");
    EXPECT_EQ(Plan(LoadStoredStudy(folder.path())).cells().size(), 2u);
  }
}

}  // namespace
}  // namespace syncbn::study
