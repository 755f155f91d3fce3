#include "app/run/event_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "app/run/histogram_probe.h"
#include "app/run/record_file.h"
#include "base/file.h"
#include "base/host.h"
#include "tests/support/full_disk.h"
#include "tests/support/temp_folder.h"

namespace syncbn::app {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

uint64_t LittleEndian(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

// The events of a file, whose records must be whole.
std::vector<tensorboard::Event> EventsOf(const fs::path& path) {
  const std::string text = ReadFile(path);
  std::vector<tensorboard::Event> events;
  for (std::string_view rest = text; !rest.empty();) {
    const auto size = static_cast<size_t>(LittleEndian(rest.substr(0, 8)));
    const std::string_view bytes = rest.substr(12, size);
    EXPECT_EQ(rest.substr(0, 16 + size), FramedRecord(bytes));
    EXPECT_TRUE(events.emplace_back().ParseFromArray(bytes.data(), static_cast<int>(size)));
    rest.remove_prefix(16 + size);
  }
  return events;
}

using Values = std::vector<std::pair<std::string, float>>;
Values ValuesOf(const tensorboard::Event& event) {
  Values values;
  for (const auto& value : event.summary().value())
    values.emplace_back(value.tag(), value.simple_value());
  return values;
}

class EventFileTest : public testing::Test {
 protected:
  EventFileOptions Options(int64_t first_step = 0) {
    return {.folder = folder_.path(),
            .first_step = first_step,
            .evaluation = "running",
            .on_warning = [this](const std::string& warning) { warnings_.push_back(warning); }};
  }

  TempFolder folder_;
  ManualClock clock_{WallTime(std::chrono::seconds(1'700'000'000))};
  std::vector<std::string> warnings_;
};

TEST(RecordFile, TheChecksumIsThatOfRfc3720) {
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283U);
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aaU);
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62a8ab43U);
}

TEST_F(EventFileTest, HasTheFiguresOfARecordUnderTheNamesOfTheSeries) {
  EventFile file(Options(), clock_);
  clock_.Advance(std::chrono::milliseconds(1500));
  file.Write(
      {.step = 7,
       .split = "train",
       .loss = 0.5,
       .learning_rate = 0.25,
       .milliseconds =
           train::MetricRecord::Milliseconds{
               .compute = 4, .statistics = 2, .gradients = 1, .data = 1},
       .figures = {
           {"noise_scale", 32}, {"activations.layer1.0.conv1.mean", 0.125}, {"train.loss", 3}}});
  file.Write({.step = 7, .split = "test", .evaluation = "running", .accuracy = 0.75});
  file.Write({.step = 7, .split = "test", .evaluation = "precise", .accuracy = std::nan("")});
  const std::vector<tensorboard::Event> events = EventsOf(file.path());
  ASSERT_EQ(events.size(), 5u);
  EXPECT_EQ(events[0].file_version(), "brain.Event:2");
  EXPECT_EQ(events[0].wall_time(), 1'700'000'000);
  EXPECT_EQ(events[1].session_log().status(), tensorboard::SessionLog::START);
  EXPECT_EQ(events[2].step(), 7);
  EXPECT_EQ(events[2].wall_time(), 1'700'000'001.5);
  EXPECT_THAT(ValuesOf(events[2]),
              ElementsAre(Pair("train/loss", 0.5f), Pair("train/learning_rate", 0.25f),
                          Pair("time/compute_ms", 4), Pair("time/statistics_ms", 2),
                          Pair("time/gradients_ms", 1), Pair("time/data_ms", 1),
                          Pair("time/step_ms", 8), Pair("activations/layer1.0.conv1.mean", 0.125f),
                          Pair("noise_scale", 32), Pair("train/train.loss", 3)));
  EXPECT_THAT(ValuesOf(events[3]), ElementsAre(Pair("test/accuracy", 0.75f)));
  ASSERT_THAT(ValuesOf(events[4]), testing::SizeIs(1));
  EXPECT_EQ(events[4].summary().value(0).tag(), "test/precise/accuracy");
  EXPECT_TRUE(std::isnan(events[4].summary().value(0).simple_value()));
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(EventFileTest, EachNextOneIsReadAfterThoseBeforeAlsoWithinASecond) {
  const EventFile first(Options(), clock_), second(Options(5), clock_);
  EXPECT_EQ(first.path().filename(), "events.out.tfevents.1700000000." + HostName() + ".syncbn");
  EXPECT_EQ(second.path().filename(), "events.out.tfevents.1700000001." + HostName() + ".syncbn");
  EXPECT_EQ(EventsOf(second.path())[1].step(), 5);
  EXPECT_TRUE(IsEventFile(second.path().filename()));
  EXPECT_FALSE(IsEventFile("events.out.tfevents.1700000001.host.17.0")) << "another program's";
}

TEST_F(EventFileTest, AFolderThatIsNotThereIsAWarning) {
  EventFileOptions options = Options();
  options.folder /= "no";
  EventFile file(options, clock_);
  file.Write({.step = 0, .split = "train", .loss = 1});
  file.Flush();
  EXPECT_THAT(warnings_,
              ElementsAre(HasSubstr("cannot create " + (options.folder / "events").string())));
}

TEST_F(EventFileTest, WhatAFullDiskCutsOffIsWrittenWhenThereIsRoom) {
  EventFile file(Options(), clock_);
  {
    const FileSizeLimit full(fs::file_size(file.path()) + 20);
    for (int64_t step = 0; step < 3; ++step)
      file.Write({.step = step, .split = "train", .loss = 1});
    file.Flush();
    EXPECT_EQ(EventsOf(file.path()).size(), 2u) << "whole records only";
    EXPECT_THAT(warnings_,
                ElementsAre(HasSubstr("its events wait in memory and training goes on")));
  }
  file.Write({.step = 3, .split = "train", .loss = 1});
  EXPECT_THAT(warnings_, ElementsAre(testing::_, HasSubstr("is written again")));
  const std::vector<tensorboard::Event> events = EventsOf(file.path());
  ASSERT_EQ(events.size(), 6u);
  for (int64_t step = 0; step < 4; ++step)
    EXPECT_EQ(events[static_cast<size_t>(step) + 2].step(), step);
}

TEST_F(EventFileTest, ADiskThatStaysFullEndsTheFileAndNotTheRun) {
  EventFile file(Options(), clock_);
  const auto size = fs::file_size(file.path());
  {
    const FileSizeLimit full(size);
    train::MetricRecord record{.split = "train"};
    for (int i = 0; i < 10'000; ++i) record.figures["probe.figure" + std::to_string(i)] = i;
    for (; record.step < 100 && warnings_.size() < 2; ++record.step) file.Write(record);
    EXPECT_LT(record.step, 100);
    EXPECT_THAT(warnings_, ElementsAre(HasSubstr("cannot write"), HasSubstr("ends before step")));
  }
  file.Write({.step = 1000, .split = "train", .loss = 1});
  EXPECT_EQ(fs::file_size(file.path()), size);
  EXPECT_EQ(warnings_.size(), 2u);
}

TEST(Histogram, CountsEachFiniteValueOnce) {
  Tensor values(Shape{131}, DType::kFloat32);
  const std::span<float> all = values.Span<float>();
  for (size_t i = 0; i < 129; ++i) all[i] = static_cast<float>(i) / 128.0f;
  all[129] = std::numeric_limits<float>::quiet_NaN();
  all[130] = std::numeric_limits<float>::infinity();
  const tensorboard::HistogramProto histogram = HistogramOf(values);
  EXPECT_EQ(histogram.num(), 129);
  EXPECT_EQ(histogram.min(), 0);
  EXPECT_EQ(histogram.max(), 1);
  EXPECT_EQ(histogram.sum(), 64.5);
  ASSERT_EQ(histogram.bucket_size(), 64);
  // Two values each, and the greatest in the last.
  for (int i = 0; i < 64; ++i) {
    EXPECT_EQ(histogram.bucket(i), i == 63 ? 3 : 2);
    EXPECT_EQ(histogram.bucket_limit(i), (i + 1) / 64.0);
  }
}

TEST(Histogram, OfEqualValuesHasOneBucketAndOfNoneNone) {
  Tensor values(Shape{3}, DType::kFloat64);
  for (double& value : values.Span<double>()) value = 2;
  const tensorboard::HistogramProto equal = HistogramOf(values);
  EXPECT_THAT(equal.bucket(), ElementsAre(3));
  EXPECT_THAT(equal.bucket_limit(), ElementsAre(2));
  for (double& value : values.Span<double>()) value = std::nan("");
  EXPECT_EQ(HistogramOf(values).bucket_size(), 0);
}

}  // namespace
}  // namespace syncbn::app
