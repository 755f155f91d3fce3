// The forecast of a run as its users see it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/file.h"
#include "tests/support/process.h"
#include "tests/support/temp_folder.h"

namespace syncbn {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

constexpr const char* kRun =
    "name: tiny\n"
    "data: {dataset: shapes, shapes: {train_samples: 256, test_samples: 16}}\n"
    "model: {architecture: mlp, hidden: [16], norm: batch}\n"
    "cluster: {replicas: 2, batch_per_replica: 8}\n"
    "train: {epochs: 1}\n";

class ForecastTest : public testing::Test {
 protected:
  ForecastTest() { WriteFileAtomically(file_, kRun); }

  ProcessResult Forecast(std::vector<std::string> more, bool network = true) const {
    std::vector<std::string> argv = {SyncbnProgram(), "forecast", file_.string()};
    if (network) argv.insert(argv.end(), {"--latency", "50us", "--bandwidth", "10Gbit"});
    argv.insert(argv.end(), more.begin(), more.end());
    return RunProcess({.argv = std::move(argv), .working_folder = folder_.path().string()});
  }
  // Measured once: what follows are the same figures.
  std::string Profile() const {
    const std::string path = (folder_.path() / "profile.json").string();
    const ProcessResult result = Forecast({"--save-profile", path, "--processes", "2"});
    EXPECT_EQ(result.status, 0) << result.err;
    return path;
  }
  static std::map<std::string, std::vector<Json>> ByKind(const std::string& lines) {
    std::map<std::string, std::vector<Json>> objects;
    std::istringstream text(lines);
    for (std::string line; std::getline(text, line);) {
      const Json json = Json::parse(line);
      objects[json.at("kind")].push_back(json);
    }
    return objects;
  }

  TempFolder folder_;
  std::filesystem::path file_ = folder_.path() / "tiny.yaml";
};

TEST_F(ForecastTest, SaysWhatWasMeasuredWhatIsModelledAndWhatIsFree) {
  const ProcessResult result = Forecast({"--processes", "2..16", "--noise-scale", "50..200"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("measured here: "), HasSubstr("a replica's step with "),
                                HasSubstr("over links of 50.0 us and 10 Gbit/s")));
  EXPECT_THAT(result.out,
              AllOf(HasSubstr("processes"), HasSubstr("SyncBN %"), HasSubstr("free norm")));
  EXPECT_THAT(result.out, HasSubstr("The largest normalization batch that is free of charge"));
  EXPECT_THAT(result.out, AllOf(HasSubstr("as a multiple of the quickest"),
                                HasSubstr("B_noise = 100 (50 to 200)"),
                                HasSubstr("Quickest: an SGD batch of ")));
  std::istringstream lines(result.out);
  int width = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.find("processes  ") != std::string::npos) width = static_cast<int>(line.size());
  }
  EXPECT_GT(width, 0);
  EXPECT_LE(width, 100);
}

TEST_F(ForecastTest, ASavedProfileGivesTheSameFiguresAgain) {
  const std::string profile = Profile();
  const ProcessResult one =
      Forecast({"--profile", profile, "--json", "--noise-scale", "100", "--reached", "500@16"});
  ASSERT_EQ(one.status, 0) << one.err;
  EXPECT_EQ(
      Forecast({"--profile", profile, "--json", "--noise-scale", "100", "--reached", "500@16"}).out,
      one.out);
  const auto objects = ByKind(one.out);
  ASSERT_EQ(objects.at("measured").size(), 1u);
  ASSERT_EQ(objects.at("cluster").size(), 10u) << "2 to 1024 by doubling";
  double before = 0;
  for (const Json& cluster : objects.at("cluster")) {
    const double parts = cluster.at("compute").get<double>() +
                         cluster.at("statistics").get<double>() +
                         cluster.at("gradients").get<double>() + cluster.at("other").get<double>();
    EXPECT_NEAR(cluster.at("seconds").get<double>(), parts, 1e-12);
    EXPECT_GT(cluster.at("statistics").get<double>(), before) << "rounds grow with the processes";
    before = cluster.at("statistics");
  }
  EXPECT_EQ(objects.at("cluster")[9].at("replicas"), 1024);
  EXPECT_EQ(objects.at("cluster")[9].at("sgd_batch"), 8192);
  EXPECT_EQ(objects.at("law")[0].at("steps_min"), 500 / (1 + 100.0 / 16));
  int best = 0;
  for (const Json& setting : objects.at("target")) best += setting.at("best").get<bool>() ? 1 : 0;
  EXPECT_EQ(best, 1);
  EXPECT_THAT(Forecast({"--profile", profile}).out,
              HasSubstr("measured earlier (" + profile + "): "));
}

TEST_F(ForecastTest, AProfileOfAnotherRunIsRefused) {
  const std::string profile = Profile();
  const ProcessResult result = Forecast(
      {"--profile", profile, "--set", "model.architecture=resnet20", "--set", "model.hidden=[]"});
  EXPECT_EQ(result.status, 2) << result.out;
}

TEST_F(ForecastTest, AProfileOfAnotherModelIsRefusedWithWhatIsOtherwise) {
  const std::string profile = Profile();
  for (const auto& [set, said] : std::map<std::string, std::string>{
           {"model.norm.kind=layer", "`norm.kind: batch` there, `norm.kind: layer` here"},
           {"model.activation=tanh", "`activation: relu` there, `activation: tanh` here"},
           {"model.hidden=[17]", "16"},
           {"data.dataset=mnist", "images: "}}) {
    const ProcessResult result = Forecast({"--profile", profile, "--set", set});
    if (result.err.find("mnist") != std::string::npos) continue;  // it is not here
    EXPECT_EQ(result.status, 2) << set;
    EXPECT_THAT(result.err, AllOf(HasSubstr("another model"), HasSubstr(said)));
  }
  // Which batch is normalized over is what a forecast varies.
  EXPECT_EQ(Forecast({"--profile", profile, "--set", "model.norm.batch=replica"}).status, 0);
}

TEST_F(ForecastTest, WhereNothingCanBeForecastItSaysWhyOnceAndFails) {
  const ProcessResult result =
      Forecast({"--profile", Profile(), "--set", "cluster.batch_per_replica=[8, 4]", "--processes",
                "4..64"});
  EXPECT_EQ(result.status, 2) << result.out;
  const std::string reason = "has different numbers for its 2 replicas";
  EXPECT_THAT(result.err, HasSubstr("4 to 64 processes: cluster.batch_per_replica " + reason));
  EXPECT_EQ(result.err.find(reason), result.err.rfind(reason));
}

TEST_F(ForecastTest, NoLineIsWiderThanAHundredColumnsAndIdleCoresAreSaid) {
  const ProcessResult result =
      Forecast({"--profile", Profile(), "--processes", "1..64", "--cores", "2", "--noise-scale",
                "300..500", "--reached", "3910@128"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("cores are idle with 2, 4, 8, 16, 32, 64 processes"));
  std::istringstream lines(result.out);
  for (std::string line; std::getline(lines, line);) {
    if (line.find("  on 1  ") != std::string::npos)
      continue;  // a table is as wide as it is asked for
    EXPECT_LE(line.size(), 100u) << line;
  }
}

TEST_F(ForecastTest, WhatCannotBeIsSaidWithTheRestStillThere) {
  const std::string profile = Profile();
  const ProcessResult result =
      Forecast({"--profile", profile, "--processes", "2,3", "--sgd-batch", "16"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(
      result.out,
      HasSubstr("3 processes: an SGD batch of 16 samples cannot be shared out to 3 replicas"));
}

TEST_F(ForecastTest, WrongWordsEndWithTwoAndSayWhatWasExpected) {
  struct Case {
    std::vector<std::string> words;
    std::string said;
    bool network = true;
  };
  for (const Case& one : std::vector<Case>{
           {{}, "--latency", false},
           {{"--latency", "5", "--bandwidth", "1Gbit"}, "with its unit (ns, us, ms or s)", false},
           {{"--latency", "5us", "--bandwidth", "25GB"}, "such as 25Gbit, found '25GB'", false},
           {{"--latency", "365d", "--bandwidth", "1Gbit"}, "from 1ns to 10s", false},
           {{"--latency", "60s", "--bandwidth", "1Gbit"}, "from 1ns to 10s", false},
           {{"--latency", "5us", "--bandwidth", "0.001kbit"}, "from 100kbit to 100Tbit", false},
           {{"--processes", "8..2"}, "a range by doubling such as 2..1024"},
           {{"--noise-scale", "-1"}, "its 95 % interval such as 300..500"},
           {{"--noise-scale", "100", "--reached", "500"}, "expected STEPS@BATCH"},
           {{"--reached", "500@16"}, "--reached is used with --noise-scale"},
           {{"--accuracy", "0.5"}, "--accuracy and --target are used with --from"},
           {{"--noise-scale", "100", "--from", "x"}, "give one"},
           {{"--from", "nowhere"}, "neither a run"},
           {{"--profile", "nowhere.json"}, "nowhere.json"},
           {{"--set", "cluster.reduction=native"}, "a forecast is of `tree`"}}) {
    const ProcessResult result = Forecast(one.words, one.network);
    EXPECT_EQ(result.status, 2) << one.said << result.out;
    EXPECT_THAT(result.err, HasSubstr(one.said));
    EXPECT_THAT(result.out, Not(HasSubstr("measured")));
  }
}

}  // namespace
}  // namespace syncbn
