// What a study is refused for, and what is said of one that is taken.
#include "data/dataset.h"
#include "tests/coordinator/study/study_fixture.h"

namespace syncbn::coordinator {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using Stub = v1::StudyService::Stub;

class StudySubmissionTest : public StudyServiceTest {
 protected:
  // What is said of it; the notes of one that would be taken.
  std::string Check(v1::CreateStudyRequest request) {
    request.set_validate_only(true);
    v1::Study study;
    const grpc::Status status = Call(&Stub::CreateStudy, request, study);
    if (!status.ok()) return Say(status);
    std::string notes = "OK";
    for (const std::string& note : study.notes()) notes += "; " + note;
    return notes;
  }
  static v1::CreateStudyRequest WithLabel(const std::string& key) {
    v1::CreateStudyRequest request = SmallRequest();
    (*request.mutable_study()->mutable_labels())[key] = "x";
    return request;
  }
};

TEST_F(StudySubmissionTest, NoLabelOfATrialIsLostAndNoneTakesTheirPlace) {
  EXPECT_EQ(Check(WithLabel("team")), "OK");
  for (const char* key : {"study", "trial", "seed", "tuned", "batch"}) {
    EXPECT_EQ(Check(WithLabel(key)), std::string("INVALID_ARGUMENT FIELD_INVALID: label '") + key +
                                         "': the study gives its trials one of this name");
  }
  v1::CreateStudyRequest many = SmallRequest();
  for (int i = 0; i < 28; ++i)
    (*many.mutable_study()->mutable_labels())["l" + std::to_string(i)] = "x";
  EXPECT_THAT(Check(many), HasSubstr("the study gives its trials up to 5 labels; with 28 more"));
  // Axes whose names are others' labels, or the same label.
  leave = 0;
  Create(
      SmallRequest("  - {path: train.epochs, name: study, values: [1]}\n"
                   "  - {path: model.norm.epsilon, name: a b, values: [0.1]}\n"
                   "  - {path: train.label_smoothing, name: a/b, values: [0.5]}\n"));
  WaitUntil("jobs are there", [&] { return !Jobs().empty(); });
  const auto labels = Jobs().front().spec.labels();
  EXPECT_EQ(labels.at("study"), "1");
  EXPECT_EQ(labels.at("axis_study"), "1");
  EXPECT_EQ(labels.at("a_b"), "0.1");
  EXPECT_EQ(labels.at("axis_a_b"), "0.5");
}

TEST_F(StudySubmissionTest, NumbersOfTrialsAtOnceAreTakenAsTheyAreOrRefused) {
  EXPECT_THAT(Check(SmallRequest("at_once: 300\n")),
              StartsWith("INVALID_ARGUMENT FIELD_INVALID: at_once of the study is 300; on a "
                         "coordinator it can be 1 to 256"));
  v1::CreateStudyRequest chosen = SmallRequest("at_once: 300\n");
  chosen.mutable_study()->set_at_once(2);
  EXPECT_EQ(Check(chosen), "OK");
}

TEST_F(StudySubmissionTest, OfTimesItIsSaidThatTheyMayNotBeTheTrialsOwn) {
  const std::string timed =
      "claims:\n"
      "  - {text: slower, measure: step_ms, arm: {batch: 2}, against: {batch: 8}, supported: "
      "{above: 0}}\n";
  EXPECT_THAT(
      Check(SmallRequest("at_once: 1\n" + timed)),
      StartsWith("OK; the study asks for step_ms: its trials run one after another, but jobs "
                 "that are not of this study may run on the same host"));
  v1::CreateStudyRequest two = SmallRequest("at_once: 1\n" + timed);
  two.mutable_study()->set_at_once(2);
  EXPECT_THAT(Check(two), HasSubstr("it must be 1"));
}

TEST_F(StudySubmissionTest, DataThatAreMissingAreRefusedInTheWordsOfARunHere) {
  const auto data = folder.path() / "data-sets";
  const auto request = [&](const std::string& path) {
    v1::CreateStudyRequest one;
    one.mutable_study()->set_study_file(
        "name: s\nseeds: 1\nrun:\n  data: {dataset: mnist, path: " + path +
        "}\n  model: {architecture: mlp, hidden: [4]}\n  train: {epochs: 1}\n");
    one.mutable_study()->set_data_folder(data.string());
    return one;
  };
  const auto here = [&](const std::filesystem::path& path) {
    v1::DataSpec spec;
    spec.set_dataset(v1::DATASET_MNIST);
    spec.set_path(path.string());
    const std::string text = ErrorOf([&] { data::MakeDataset(spec, 1); });
    return text.substr(text.find(": ") + 2);
  };
  data_roots = {data};
  std::filesystem::create_directories(data / "mnist");
  Restart();
  // Elsewhere it may be there.
  EXPECT_EQ(Check(request("none")), "OK");
  EXPECT_EQ(Check(request("mnist")), "INVALID_ARGUMENT FIELD_INVALID: " + here(data / "mnist"));
  EXPECT_THAT(here(data / "mnist"), HasSubstr("no such file"));
  EXPECT_THAT(Check(request("../other")), HasSubstr("NOT_ALLOWED_PATH"));
  runs_here = true;
  Restart();
  EXPECT_EQ(Check(request("none")), "INVALID_ARGUMENT FIELD_INVALID: " + here(data / "none"));
  EXPECT_THAT(here(data / "none"), HasSubstr("no such folder (data.path)"));
  for (const char* name : {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                           "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"}) {
    WriteFileAtomically(data / "mnist" / name, "");
  }
  EXPECT_EQ(Check(request("mnist")), "OK");
}

}  // namespace
}  // namespace syncbn::coordinator
