#include "train/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/metric_name.h"
#include "tests/support/full_disk.h"
#include "tests/support/temp_folder.h"
#include "tests/train/parts_support.h"
#include "train/summary.h"

namespace syncbn::train {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

MetricRecord Train(int64_t step, double loss = 0.5) {
  return {.step = step, .epoch = step / 10, .split = "train", .loss = loss};
}

class MetricsTest : public testing::Test {
 protected:
  JsonlSink Sink(std::optional<int64_t> resume_at_step = std::nullopt) {
    return JsonlSink(
        {.path = path_,
         .resume_at_step = resume_at_step,
         .on_warning = [this](const std::string& text) { warnings_.push_back(text); }});
  }
  std::vector<int64_t> StepsOnDisk() const {
    std::vector<int64_t> steps;
    for (const MetricRecord& record : ReadMetrics(path_)) steps.push_back(record.step);
    return steps;
  }

  TempFolder folder_;
  const std::filesystem::path path_ = folder_.path() / "metrics.jsonl";
  std::vector<std::string> warnings_;
};

TEST(MetricRecord, ATrainingStepIsThisLine) {
  const MetricRecord record{
      .step = 12,
      .epoch = 1,
      .split = "train",
      .loss = 2.302585092994046,
      .accuracy = 0.125,
      .learning_rate = 0.1,
      .gradient_norm = 3,
      .images_per_second = 1234.5,
      .milliseconds = {{.compute = 100.25, .statistics = 1, .gradients = 2.5, .data = 0}},
      .digest = {{.high = 0xabc, .low = 1}}};
  EXPECT_EQ(record.ToJson(),
            R"({"step":12,"epoch":1,"split":"train","loss":2.302585092994046,"accuracy":0.125,)"
            R"("lr":0.1,"gradient_norm":3.0,"images_per_second":1234.5,)"
            R"("ms":{"compute":100.25,"statistics":1.0,"gradients":2.5,"data":0.0},)"
            R"("digest":"0000000000000abc0000000000000001"})");
  EXPECT_EQ(MetricRecord::FromJson(record.ToJson()), record);
}

TEST(MetricRecord, AnEvaluationSaysWithWhichStatistics) {
  const MetricRecord record{
      .step = 99, .epoch = 9, .split = "test", .evaluation = "precise", .loss = 1, .accuracy = 0.5};
  EXPECT_EQ(
      record.ToJson(),
      R"({"step":99,"epoch":9,"split":"test","evaluation":"precise","loss":1.0,"accuracy":0.5})");
  EXPECT_EQ(MetricRecord::FromJson(record.ToJson()), record);
}

TEST(MetricRecord, ASkippedStepSaysSoAndWhatIsNotFiniteIsNull) {
  MetricRecord record = Train(3, std::numeric_limits<double>::quiet_NaN());
  record.gradient_norm = std::numeric_limits<double>::infinity();
  record.learning_rate = -std::numeric_limits<double>::infinity();
  record.skipped = true;
  EXPECT_EQ(record.ToJson(), R"({"step":3,"epoch":0,"split":"train","loss":null,"lr":null,)"
                             R"("gradient_norm":null,"skipped":true})");
  const MetricRecord read = MetricRecord::FromJson(record.ToJson());
  EXPECT_TRUE(std::isnan(*read.loss));
  EXPECT_TRUE(std::isnan(*read.gradient_norm));
  EXPECT_TRUE(read.skipped);
  // As older versions wrote it.
  EXPECT_EQ(
      MetricRecord::FromJson(R"({"step":3,"epoch":0,"split":"train","loss":"Infinity"})").loss,
      std::numeric_limits<double>::infinity());
}

TEST(MetricRecord, KeepsFiguresOfAnyNameBesideItsOwn) {
  MetricRecord record = Train(3);
  record.AddFigures({{"noise_scale", 12.5}, {"layer1.0.bn1/mean", -0.1}});
  EXPECT_EQ(record.ToJson(), R"({"step":3,"epoch":0,"split":"train","loss":0.5,)"
                             R"("figures":{"layer1.0.bn1/mean":-0.1,"noise_scale":12.5}})");
  EXPECT_EQ(MetricRecord::FromJson(record.ToJson()), record);
  record.AddFigures({{"noise_scale", std::numeric_limits<double>::quiet_NaN()}});
  EXPECT_THAT(record.ToJson(), testing::HasSubstr(R"("noise_scale":null)"));
  EXPECT_TRUE(std::isnan(MetricRecord::FromJson(record.ToJson()).figures.at("noise_scale")));
}

TEST(MetricRecord, RefusesNamesThatNoSeriesCanHaveOrAnotherHas) {
  const std::string longest(kLongestMetricName - 16, 'x');
  for (const std::string& name :
       {std::string(), std::string("a b"), std::string("größe"), longest + "x", std::string("loss"),
        std::string("skipped"), std::string("running/x"), std::string("precise/loss"),
        std::string("batch/accuracy")}) {
    MetricRecord record = Train(3);
    EXPECT_THROW(record.AddFigures({{name, 1}}), Error) << name;
  }
  MetricRecord record = Train(3);
  record.AddFigures({{longest, 1}});
  EXPECT_EQ(record.figures.size(), 1u);
}

TEST(MetricRecord, ReadsOnlyFiguresThatCouldHaveBeenWritten) {
  for (const std::string figures :
       {R"(7)", R"([1,2])", R"("x")", R"(null)", R"({"a b":1})", R"({"":1})", R"({"loss":1})",
        R"({"precise/loss":1})", R"({"x":[1]})"}) {
    try {
      MetricRecord::FromJson(R"({"step":1,"epoch":0,"split":"train","figures":)" + figures + "}");
      ADD_FAILURE() << figures;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kDataLoss) << figures;
    }
  }
}

TEST(MetricRecord, EveryDoubleReadsBackAsItself) {
  std::vector<double> values{0.1,
                             1.0 / 3,
                             1e-320,
                             5e-324,
                             1.7976931348623157e308,
                             -0.0,
                             9007199254740993.0,
                             1e22,
                             123456789012345680.0,
                             0.30000000000000004};
  uint64_t bits = 0x123456789abcdef;
  for (int i = 0; i < 2000; ++i) {
    bits = bits * 6364136223846793005u + 1442695040888963407u;
    const double value = std::bit_cast<double>(bits);
    if (std::isfinite(value)) values.push_back(value);
  }
  for (double value : values) {
    const double read = *MetricRecord::FromJson(Train(0, value).ToJson()).loss;
    EXPECT_EQ(std::bit_cast<uint64_t>(read), std::bit_cast<uint64_t>(value)) << value;
  }
}

TEST(MetricRecord, WhatIsNotARecordIsDamage) {
  auto damage = [](std::string_view line) {
    return ErrorOf([&] { MetricRecord::FromJson(line); });
  };
  EXPECT_EQ(damage(R"({"step":1,)"),
            "DATA_LOSS: not a line of metrics: it is not JSON (at byte 11)");
  EXPECT_EQ(damage(R"({"step":"1","epoch":0,"split":"train"})"),
            "DATA_LOSS: not a line of metrics: an entry is missing or of the wrong type");
  EXPECT_EQ(damage(R"({"step":1,"epoch":0})"),
            "DATA_LOSS: not a line of metrics: an entry is missing or of the wrong type");
  EXPECT_EQ(damage(R"({"step":1,"epoch":0,"split":"train","loss":"many"})"),
            "DATA_LOSS: not a line of metrics: an entry is missing or of the wrong type");
  EXPECT_EQ(damage(R"({"step":1,"epoch":0,"split":"train","digest":"12"})"),
            "DATA_LOSS: not a line of metrics: '12' is not a digest (32 hexadecimal digits)");
  EXPECT_EQ(damage("{\"step\":" + std::string(100'000, '[')),
            "DATA_LOSS: not a line of metrics: it is nested too deeply: more than 100 levels of "
            "objects and lists (at byte 108)");
  EXPECT_EQ(damage("7"),
            "DATA_LOSS: not a line of metrics: an entry is missing or of the wrong type");
}

TEST_F(MetricsTest, EveryLineIsThereAtOnceWithoutAFlush) {
  JsonlSink sink = Sink();
  for (int64_t step = 0; step < 3; ++step) {
    sink.Write(Train(step));
    EXPECT_EQ(ReadMetrics(path_).size(), static_cast<size_t>(step) + 1);
  }
  sink.Flush();
  EXPECT_THAT(StepsOnDisk(), ElementsAre(0, 1, 2));
}

TEST_F(MetricsTest, ANewRunStartsANewFile) {
  Sink().Write(Train(7));
  Sink().Write(Train(0));
  EXPECT_THAT(StepsOnDisk(), ElementsAre(0));
}

TEST_F(MetricsTest, AResumedRunHasEachStepOnce) {
  {
    JsonlSink sink = Sink();
    for (int64_t step = 0; step < 8; ++step) sink.Write(Train(step, 1.0));
  }
  // The checkpoint of step 5: steps 0 to 4 are done.
  JsonlSink sink = Sink(5);
  for (int64_t step = 5; step < 10; ++step) sink.Write(Train(step, 2.0));
  const std::vector<MetricRecord> records = ReadMetrics(path_);
  ASSERT_EQ(records.size(), 10u);
  for (int64_t step = 0; step < 10; ++step) {
    EXPECT_EQ(records[static_cast<size_t>(step)].step, step);
    EXPECT_EQ(records[static_cast<size_t>(step)].loss, step < 5 ? 1.0 : 2.0);
  }
}

TEST_F(MetricsTest, AnEvaluationBeforeTheCheckpointIsKept) {
  {
    JsonlSink sink = Sink();
    sink.Write(Train(4));
    sink.Write({.step = 4, .split = "test", .evaluation = "running", .accuracy = 0.5});
    sink.Write(Train(5));
  }
  Sink(5);
  const std::vector<MetricRecord> records = ReadMetrics(path_);
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[1].split, "test");
}

TEST_F(MetricsTest, AResumeDropsTornLines) {
  const std::string zero = Train(0).ToJson() + "\n", one = Train(1).ToJson() + "\n";
  // Cut off at every length, as by a killed process.
  for (size_t length = 0; length < one.size(); ++length) {
    WritePlainly(path_, zero + one.substr(0, length));
    EXPECT_THAT(StepsOnDisk(), ElementsAre(0)) << length;
    {
      JsonlSink sink = Sink(5);
      sink.Write(Train(5));
    }
    EXPECT_THAT(StepsOnDisk(), ElementsAre(0, 5)) << length;
  }
  // And blocks of zeros in the middle, as after a power cut.
  WritePlainly(path_, zero + std::string(100, '\0') + "\n" + one);
  Sink(5);
  EXPECT_EQ(ReadFile(path_), zero + one);
}

TEST_F(MetricsTest, AResumeSaysWhatIsNotThereOfTheStepsBefore) {
  auto line = [](int64_t step) { return Train(step).ToJson() + "\n"; };
  auto resume = [&](const std::string& content) {
    WritePlainly(path_, content);
    warnings_.clear();
    Sink(6);
    EXPECT_LE(warnings_.size(), 1u);
    return warnings_.empty() ? "" : warnings_[0];
  };
  const std::string start = path_.string() + ": ", end = "; the run goes on from step 6";
  const std::string two = line(0) + line(1), rest = line(3) + line(4) + line(5);
  EXPECT_EQ(resume(two + line(2) + rest + line(6)), "");
  EXPECT_EQ(resume(two + line(2) + rest + line(6).substr(0, 20)), "") << "a step that comes again";
  EXPECT_EQ(resume(two), start + "no line of steps 2 to 5" + end);
  EXPECT_EQ(resume(two + "{garbage\n" + rest),
            start + "no line of step 2; 1 line could not be read" + end);
  EXPECT_EQ(resume(two + line(3) + rest), start + "no line of step 2; 1 line stood there twice" + end);
  EXPECT_THAT(StepsOnDisk(), ElementsAre(0, 1, 3, 4, 5));
  EXPECT_EQ(resume(two + line(2) + line(3) + line(4) + line(5).substr(0, 20)),
            start + "no line of step 5; 1 line could not be read" + end);
  EXPECT_EQ(resume(line(1) + line(3) + line(5)), start + "no line of steps 0, 2 and 4" + end);
}

TEST_F(MetricsTest, AResumeExpectsTheLinesThatTheRunWrites) {
  auto resume = [&](std::initializer_list<int64_t> steps) {
    std::string content;
    for (const int64_t step : steps) content += Train(step).ToJson() + "\n";
    WritePlainly(path_, content);
    warnings_.clear();
    JsonlSink({.path = path_,
               .resume_at_step = 13,
               .every_steps = 3,
               .on_warning = [this](const std::string& text) { warnings_.push_back(text); }});
  };
  resume({2, 5, 8, 11});
  EXPECT_THAT(warnings_, IsEmpty());
  resume({2, 11});
  EXPECT_THAT(warnings_, ElementsAre(path_.string() +
                                     ": no line of steps 5 to 8; the run goes on from step 13"));
}

TEST_F(MetricsTest, WhatASupersededRunStillWritesIsNotMixedIn) {
  JsonlSink former = Sink();
  former.Write(Train(0));
  JsonlSink present = Sink(1);
  former.Write(Train(1));
  present.Write(Train(1, 0.5));
  former.Write(Train(2));
  EXPECT_EQ(ReadFile(path_), Train(0).ToJson() + "\n" + Train(1, 0.5).ToJson() + "\n");
}

TEST_F(MetricsTest, TheLinesOfAnEvaluationThatIsStillToBeMadeAreDropped) {
  const MetricRecord early{
      .step = 3, .epoch = 0, .split = "test", .evaluation = "running", .loss = 1};
  const MetricRecord pending{
      .step = 4, .epoch = 0, .split = "test", .evaluation = "running", .loss = 1};
  std::string content;
  for (int64_t step = 0; step < 5; ++step) content += Train(step).ToJson() + "\n";
  WritePlainly(path_, content + early.ToJson() + "\n" + pending.ToJson() + "\n");
  JsonlSink({.path = path_, .resume_at_step = 5, .evaluation_pending = true});
  EXPECT_EQ(ReadFile(path_), content + early.ToJson() + "\n");
}

TEST_F(MetricsTest, AResumeWithoutAFileStartsOne) {
  Sink(5).Write(Train(5));
  EXPECT_THAT(StepsOnDisk(), ElementsAre(5));
  EXPECT_THAT(warnings_, ElementsAre(path_.string() +
                                     " is missing: it will hold the steps from here on only"));
  std::filesystem::remove(path_);
  warnings_.clear();
  Sink(0);
  EXPECT_THAT(warnings_, IsEmpty()) << "nothing was done yet";
}

TEST_F(MetricsTest, AFullDiskLosesNoLineAndTearsNone) {
  JsonlSink sink = Sink();
  sink.Write(Train(0));
  const rlim_t length = std::filesystem::file_size(path_);
  {
    FileSizeLimit full(length + length / 2);
    sink.Write(Train(1));
    sink.Write(Train(2));
    EXPECT_EQ(std::filesystem::file_size(path_), length);
    EXPECT_THAT(StepsOnDisk(), ElementsAre(0));
    EXPECT_EQ(ErrorOf([&] { sink.Flush(); }),
              "RESOURCE_EXHAUSTED: cannot write " + path_.string() + ": File too large");
    EXPECT_THAT(warnings_,
                ElementsAre("cannot write " + path_.string() +
                            ": File too large; its lines wait in memory and training goes on"));
  }
  warnings_.clear();
  sink.Write(Train(3));
  EXPECT_THAT(StepsOnDisk(), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(warnings_, ElementsAre(path_.string() + " is written again"));
  sink.Flush();
}

TEST_F(MetricsTest, RoomForSomeLinesTakesThoseWhole) {
  JsonlSink sink = Sink();
  sink.Write(Train(0));
  const rlim_t length = std::filesystem::file_size(path_);
  {
    FileSizeLimit full(length);
    for (int64_t step = 1; step < 5; ++step) sink.Write(Train(step));
  }
  {
    FileSizeLimit full(3 * length + 5);
    sink.Write(Train(5));
    EXPECT_THAT(StepsOnDisk(), ElementsAre(0, 1, 2));
    EXPECT_EQ(std::filesystem::file_size(path_), 3 * length);
  }
  sink.Flush();
  EXPECT_THAT(StepsOnDisk(), ElementsAre(0, 1, 2, 3, 4, 5));
}

TEST_F(MetricsTest, WaitingLinesAreWrittenAtTheEnd) {
  std::optional<JsonlSink> sink;
  sink.emplace(JsonlSinkOptions{.path = path_});
  {
    FileSizeLimit full(0);
    sink->Write(Train(0));
  }
  sink.reset();
  EXPECT_THAT(StepsOnDisk(), ElementsAre(0));
}

TEST_F(MetricsTest, APathThatCannotBeOpenedIsNamed) {
  EXPECT_EQ(ErrorOf([&] { JsonlSink({.path = folder_.path() / "no/metrics.jsonl"}); }),
            "NOT_FOUND: cannot open " + (folder_.path() / "no/metrics.jsonl").string() +
                ": No such file or directory");
}

TEST_F(MetricsTest, ReadMetricsNamesTheLine) {
  WritePlainly(path_, Train(0).ToJson() + "\nnothing\n");
  EXPECT_EQ(ErrorOf([&] { ReadMetrics(path_); }),
            "DATA_LOSS: " + path_.string() +
                ", line 2: not a line of metrics: it is not JSON (at byte 2)");
}

TEST(MemorySink, KeepsWhatItIsGiven) {
  MemorySink sink;
  sink.Write(Train(1));
  sink.Write(Train(2));
  sink.Flush();
  EXPECT_THAT(sink.records(), ElementsAre(Train(1), Train(2)));
}

TEST_F(MetricsTest, TheSummaryHoldsTheFiguresOfTheRun) {
  const Summary summary{.name = "demo",
                        .end = RunEnd::kDiverged,
                        .reason = "11 steps in a row",
                        .command = {"syncbn", "train", "a b.yaml"},
                        .replicas = 8,
                        .processes = 2,
                        .hosts = {"n1", "n2"},
                        .processor = "p",
                        .cores = 4,
                        .versions = {{"oneDNN", "2.6.3"}},
                        .back_end = "cpu: vectors",
                        .attempt = 2,
                        .classes = 10,
                        .parameters = 30,
                        .running_numbers = 5,
                        .steps = 100,
                        .epochs = 2.5,
                        .samples = 12800,
                        .skipped_steps = 1,
                        .environment_changes = {{.step = 40, .what = "program: b"}},
                        .train = {{.loss = std::nan(""), .accuracy = 0.25}},
                        .test = {{"running", {.loss = 1.5, .accuracy = 0.5}}},
                        .best_test_accuracy = 0.625,
                        .digest = {{.high = 1, .low = 2}},
                        .started = "s",
                        .finished = "f",
                        .seconds = 12.5,
                        .images_per_second = 1024,
                        .milliseconds = {.compute = 1, .statistics = 2, .gradients = 3, .data = 4},
                        .traffic = {.steps = 7, .reductions = 8, .messages = 9, .bytes = 11},
                        .tensor_bytes = 4096};
  WriteSummary(folder_.path() / "summary.json", summary);
  const auto json = nlohmann::json::parse(ReadFile(folder_.path() / "summary.json"));
  EXPECT_EQ(json, nlohmann::json::parse(R"({
      "name": "demo", "status": "diverged", "reason": "11 steps in a row", "steps": 100, "epochs": 2.5, "samples": 12800,
      "skipped_steps": 1, "environment_changes": [{"step": 40, "what": "program: b"}],
      "train": {"loss": null, "accuracy": 0.25},
      "test": {"running": {"loss": 1.5, "accuracy": 0.5}}, "best_test_accuracy": 0.625,
      "digest": "00000000000000010000000000000002", "replicas": 8, "processes": 2,
      "hosts": ["n1", "n2"], "processor": "p", "cores": 4, "attempt": 2, "command": ["syncbn", "train", "a b.yaml"],
      "versions": {"oneDNN": "2.6.3"}, "back_end": "cpu: vectors", "classes": 10, "parameters": 30, "running_numbers": 5,
      "traffic": {"steps": 7, "reductions": 8, "messages": 9, "bytes": 11}, "tensor_bytes": 4096, "started": "s", "finished": "f", "seconds": 12.5,
      "images_per_second": 1024.0,
      "ms": {"compute": 1.0, "statistics": 2.0, "gradients": 3.0, "data": 4.0}})"));
}

TEST(Summary, WhatARunDoesNotHaveIsNull) {
  const auto json = nlohmann::json::parse(Summary{}.ToJson());
  EXPECT_TRUE(json["train"].is_null());
  EXPECT_TRUE(json["digest"].is_null());
  EXPECT_EQ(json["status"], "finished");
  EXPECT_TRUE(json["reason"].is_null());
  EXPECT_TRUE(json["best_test_accuracy"].is_null());
  EXPECT_EQ(json["test"], nlohmann::json::object());
}

}  // namespace
}  // namespace syncbn::train
