// The ranges of what others send.
#include "coordinator/field_check.h"

#include <gmock/gmock.h>

#include <limits>

#include "coordinator/api_error.h"
#include "syncbn/v1/admin.pb.h"
#include "syncbn/v1/job.pb.h"
#include "syncbn/v1/log.pb.h"
#include "syncbn/v1/worker.pb.h"

namespace syncbn::coordinator {
namespace {

using ::testing::HasSubstr;

// The field that is refused, and why; "" if none is.
template <typename Message>
std::string Refusal(const std::function<void(Message&)>& change) {
  Message message;
  change(message);
  try {
    CheckFields(message);
  } catch (const ApiError& error) {
    EXPECT_EQ(error.reason(), "FIELD_INVALID");
    return error.metadata().at("field") + ": " + error.message();
  }
  return "";
}

TEST(FieldCheck, DurationsOfJobsAreSuchThatEveryClientCanShowThem) {
  const auto limit = [](int64_t seconds, int nanos) {
    return Refusal<v1::CreateJobRequest>([=](v1::CreateJobRequest& request) {
      auto& time = *request.mutable_job()->mutable_resources()->mutable_time_limit();
      time.set_seconds(seconds);
      time.set_nanos(nanos);
    });
  };
  EXPECT_EQ(limit(60, 999'999'999), "");
  EXPECT_THAT(limit(-9223372036854776, 0),
              HasSubstr("resources.time_limit: resources.time_limit has "
                        "-9223372036854776 seconds"));
  for (const int nanos : {-1, 1'000'000'000, INT32_MIN, INT32_MAX})
    EXPECT_THAT(limit(60, nanos), HasSubstr("resources.time_limit: ")) << nanos;
  EXPECT_THAT(limit(INT64_MAX, 0), HasSubstr("resources.time_limit: "));
  EXPECT_THAT(limit(-1, 0), HasSubstr("resources.time_limit: "));
}

TEST(FieldCheck, TimesAreThoseThatHaveAYearOfFourDigits) {
  const auto expiry = [](int64_t seconds, int nanos = 0) {
    return Refusal<v1::CreateTokenRequest>([=](v1::CreateTokenRequest& request) {
      request.mutable_token()->mutable_expire_time()->set_seconds(seconds);
      request.mutable_token()->mutable_expire_time()->set_nanos(nanos);
    });
  };
  EXPECT_EQ(expiry(4'000'000'000), "");
  EXPECT_EQ(expiry(253'402'300'799), "");
  for (const int64_t seconds : {int64_t{-1}, int64_t{253'402'300'800}, INT64_MIN, INT64_MAX})
    EXPECT_THAT(expiry(seconds), HasSubstr("token.expire_time: ")) << seconds;
  EXPECT_THAT(expiry(4'000'000'000, -1), HasSubstr("token.expire_time: "));
}

TEST(FieldCheck, WholeNumbersAreNotNegativeAndCanBeAddedUp) {
  using Change = std::function<void(v1::HeartbeatRequest&, int64_t)>;
  const std::vector<std::pair<std::string, Change>> fields = {
      {"step", [](auto& r, int64_t n) { r.set_step(n); }},
      {"reduction", [](auto& r, int64_t n) { r.set_reduction(n); }},
      {"progress", [](auto& r, int64_t n) { r.set_progress(n); }},
      {"checkpoint_step", [](auto& r, int64_t n) { r.set_checkpoint_step(n); }},
      {"spooled_points", [](auto& r, int64_t n) { r.set_spooled_points(n); }},
      {"lost_points", [](auto& r, int64_t n) { r.set_lost_points(n); }}};
  for (const auto& [field, change] : fields) {
    const auto refusal = [&, set = change](int64_t number) {
      return Refusal<v1::HeartbeatRequest>([&](auto& request) { set(request, number); });
    };
    EXPECT_EQ(refusal(1'000'000'000), "");
    for (const int64_t number : {int64_t{-1}, INT64_MIN, INT64_MAX})
      EXPECT_THAT(refusal(number), HasSubstr(field + ": " + field + " is " +
                                             std::to_string(number) + "; it can be 0 to "));
  }
  EXPECT_THAT(Refusal<v1::RegisterRequest>([](auto& r) { r.set_total_steps(-1); }),
              HasSubstr("total_steps: "));
  EXPECT_THAT(Refusal<v1::RegisterRequest>([](auto& r) { r.mutable_rank()->set_rank(-1); }),
              HasSubstr("rank.rank: "));
  EXPECT_EQ(Refusal<v1::ReadLogRequest>([](auto& r) { r.set_offset(-1000); }), "");
  EXPECT_EQ(Refusal<v1::ResumeJobRequest>([](auto& r) { r.mutable_resources()->set_priority(-5); }),
            "");
}

TEST(FieldCheck, OtherNumbersAreFiniteButForValuesOfMetrics) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double epoch : {nan, infinity, -1.0, 1e300}) {
    EXPECT_THAT(Refusal<v1::HeartbeatRequest>([&](auto& r) { r.set_epoch(epoch); }),
                HasSubstr("epoch: "));
    EXPECT_THAT(Refusal<v1::RankExit>([&](auto& r) { r.set_epoch(epoch); }), HasSubstr("epoch: "));
    EXPECT_EQ(Refusal<v1::MetricBatch>([&](auto& b) { b.add_value(epoch); }), "");
  }
  for (const int64_t time : {int64_t{-1}, INT64_MIN, INT64_MAX})
    EXPECT_THAT(Refusal<v1::MetricBatch>([&](auto& b) { b.add_time_us(time); }),
                HasSubstr("time_us: "));
}

TEST(FieldCheck, TextsListsAndReportsHaveALength) {
  const std::string long_text(16 * 1024 + 1, 'x');
  EXPECT_THAT(Refusal<v1::RankExit>([&](auto& e) { e.set_message(long_text); }),
              HasSubstr("message: "));
  EXPECT_THAT(Refusal<v1::RankExit>([&](auto& e) { e.set_error_code(long_text); }),
              HasSubstr("error_code: "));
  EXPECT_THAT(Refusal<v1::RankExit>([&](auto& e) { e.set_digest(long_text); }),
              HasSubstr("digest: "));
  EXPECT_THAT(Refusal<v1::RankExit>([&](auto& e) {
                for (int i = 0; i < 65; ++i) e.add_frames("here");
              }),
              HasSubstr("frames: frames has 65 entries; at most 64 are allowed"));
  EXPECT_THAT(Refusal<v1::ReportExitRequest>([&](auto& r) {
                for (int i = 0; i < 60; ++i) r.mutable_exit()->add_frames(std::string(2000, 'x'));
              }),
              HasSubstr("exit: exit has 1"));
  EXPECT_THAT(Refusal<v1::ReportExitRequest>([&](auto& r) {
                for (int i = 0; i < 100'000; ++i) r.mutable_exit()->add_missing_ranks(1);
              }),
              HasSubstr("exit: exit has 100004 bytes; at most 65536 are allowed"));
  EXPECT_THAT(Refusal<v1::RegisterRequest>([&](auto& r) { r.set_version(long_text); }),
              HasSubstr("version: "));
  EXPECT_THAT(Refusal<v1::ListJobsRequest>([&](auto& r) { r.set_filter(long_text); }),
              HasSubstr("filter: "));
  EXPECT_EQ(
      Refusal<v1::CreateJobRequest>([&](auto& r) { r.mutable_job()->set_run_file(long_text); }),
      "");
  EXPECT_THAT(
      Refusal<v1::CreateJobRequest>([&](auto& r) {
        for (int i = 0; i < 10'000; ++i)
          r.mutable_job()->mutable_resources()->add_excluded_hosts("node" + std::to_string(i));
      }),
      HasSubstr("resources: "));
}

TEST(FieldCheck, AValueOfAnEnumerationIsOneThatIsKnown) {
  EXPECT_THAT(
      Refusal<v1::RankExit>([](auto& e) { e.set_outcome(static_cast<v1::AttemptOutcome>(77)); }),
      HasSubstr("outcome: outcome has 77, which is no AttemptOutcome that is known here"));
  EXPECT_THAT(Refusal<v1::GetJobRequest>([](auto& r) { r.set_view(static_cast<v1::JobView>(9)); }),
              HasSubstr("view: "));
}

TEST(FieldCheck, EntriesOfAMapAreNamedAfterIt) {
  EXPECT_THAT(Refusal<v1::CreateJobRequest>([](auto& r) {
                (*r.mutable_job()->mutable_labels())["key"] = std::string(20'000, 'x');
              }),
              HasSubstr("labels: labels has 20000 bytes"));
}

}  // namespace
}  // namespace syncbn::coordinator
