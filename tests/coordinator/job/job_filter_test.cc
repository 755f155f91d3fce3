// The filter of lists: what it finds, and what it says about mistakes.
#include "coordinator/job/job_filter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/coordinator/store/store_fixture.h"
#include "tests/support/temp_folder.h"

namespace syncbn::coordinator {
namespace {

using ::testing::ElementsAre;

class JobFilterTest : public ::testing::Test {
 protected:
  JobFilterTest() {
    v1::Job spec = TestSpec("resnet20-cifar10", "anna");
    (*spec.mutable_labels())["team"] = "vision";
    spec.mutable_resources()->set_priority(5);
    AddJob(store, spec);
    spec = TestSpec("VGG11 with \"quotes\"", "bert");
    (*spec.mutable_labels())["team"] = "speech";
    AddJob(store, spec, kTestNow + std::chrono::hours(24));
    AddJob(store, TestSpec("mlp", "anna"));
    ApplyTo(store, 2, {.kind = EventKind::kPlaced});
    ApplyTo(store, 2,
            {.kind = EventKind::kEnded,
             .outcome = AttemptOutcome::kFailed,
             .failure = Failure{.failure_class = FailureClass::kOom, .message = "full"}});
    ApplyTo(store, 3, {.kind = EventKind::kPlaced});
  }

  std::vector<int64_t> Find(const std::string& text) {
    const JobFilter filter = JobFilter::Parse(text);
    std::vector<int64_t> ids;
    const JobPage page =
        store.Read([&](Tables& tables) { return tables.jobs.List(filter, {.jobs = 10}, ""); });
    for (const JobRecord& job : page.jobs) {
      ids.push_back(job.id);
      EXPECT_TRUE(store.Read([&](Tables& tables) { return tables.jobs.Matches(job.id, filter); }));
    }
    return ids;
  }

  TempFolder folder;
  Store store{{.folder = folder.path(), .synced = false}};
};

TEST_F(JobFilterTest, FindsByEveryField) {
  EXPECT_THAT(Find(""), ElementsAre(3, 2, 1));
  EXPECT_THAT(Find("  "), ElementsAre(3, 2, 1));
  EXPECT_THAT(Find("state = QUEUED"), ElementsAre(1));
  EXPECT_THAT(Find("state != QUEUED"), ElementsAre(3, 2));
  EXPECT_THAT(Find("state = open"), ElementsAre(3, 1));
  EXPECT_THAT(Find("state != open"), ElementsAre(2));
  EXPECT_THAT(Find("state=ended"), ElementsAre(2));
  EXPECT_THAT(Find("name = mlp"), ElementsAre(3));
  EXPECT_THAT(Find("name : vgg"), ElementsAre(2)) << "contains does not mind the case";
  EXPECT_THAT(Find("name : \"with \""), ElementsAre(2));
  EXPECT_THAT(Find("name : %"), ElementsAre()) << "nothing is a wildcard";
  EXPECT_THAT(Find("submitter = anna AND state = open"), ElementsAre(3, 1));
  EXPECT_THAT(Find("priority >= 5"), ElementsAre(1));
  EXPECT_THAT(Find("attempt < 1"), ElementsAre(1));
  EXPECT_THAT(Find("labels.team = vision"), ElementsAre(1));
  EXPECT_THAT(Find("labels.team != vision"), ElementsAre(3, 2));
  EXPECT_THAT(Find("labels.team : S"), ElementsAre(2, 1));
  EXPECT_THAT(Find("failure = OOM"), ElementsAre(2));
  EXPECT_THAT(Find("create_time > 2019-12-20T12:00:00Z"), ElementsAre(2));
  EXPECT_THAT(Find("end_time > 2019-01-01T00:00:00Z"), ElementsAre(2));
  EXPECT_THAT(Find("labels.team = \"' OR 1=1 --\""), ElementsAre());
  EXPECT_THAT(Find("labels.team = 'vision'"), ElementsAre(1));
  EXPECT_THAT(Find("name : 'with \"'"), ElementsAre(2));
}

TEST_F(JobFilterTest, MistakesAreShownWithColumnAndAdvice) {
  auto error = [](const std::string& text) { return ErrorOf([&] { JobFilter::Parse(text); }); };
  const std::string start = "INVALID_ARGUMENT: filter, column ";
  EXPECT_EQ(error("stat = QUEUED"),
            start + "1: no field 'stat'; did you mean 'state'?, in: stat = QUEUED");
  EXPECT_EQ(error("state = RUNING"),
            start + "9: no state 'RUNING'; did you mean 'RUNNING'?, in: state = RUNING");
  EXPECT_EQ(error("failure = ABC"),
            start +
                "11: no failure class 'ABC'; there are CONFIG, USER, INFRA, STALL, OOM, TIMEOUT, "
                "CANCELLED, DIVERGED or STORAGE, in: failure = ABC");
  EXPECT_EQ(error("state"),
            start + "6: expected an operator (= != < <= > >= or : for contains), in: state");
  EXPECT_EQ(error("state =! x"),
            start + "7: expected an operator (= != < <= > >= or : for contains), in: state =! x");
  EXPECT_EQ(error("state < QUEUED"),
            start + "7: operator '<' does not go with this field, in: state < QUEUED");
  EXPECT_EQ(error("name ="), start + "7: expected a value, in: name =");
  EXPECT_EQ(error("name = \"x"), start + "8: a quote without its end, in: name = \"x");
  EXPECT_EQ(error("name = 'x\""), start + "8: a quote without its end, in: name = 'x\"");
  EXPECT_EQ(error("priority = high"),
            start + "12: expected a whole number, not 'high', in: priority = high");
  EXPECT_EQ(error("create_time > yesterday"),
            start +
                "15: expected a time such as 2026-01-31T12:00:00Z, not 'yesterday', in: "
                "create_time > yesterday");
  EXPECT_EQ(error("name = a OR name = b"),
            start + "10: expected AND between two terms, in: name = a OR name = b");
  EXPECT_EQ(error("name = a AND"),
            start +
                "13: expected a field (state, name, submitter, priority, attempt, create_time, "
                "end_time, failure or labels.KEY), in: name = a AND");
  EXPECT_EQ(error("labels. = x"),
            start + "1: no field 'labels.'; did you mean 'labels.KEY'?, in: labels. = x");
}

TEST_F(JobFilterTest, AFilterHasAtMost100Terms) {
  std::string text = "name : r";
  for (int i = 1; i < 100; ++i) text += " AND name : r";
  EXPECT_FALSE(Find(text).empty());
  try {
    JobFilter::Parse(text + " AND name : r");
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("more than 100 terms"));
  }
}

TEST_F(JobFilterTest, DifferentFiltersHaveDifferentFingerprints) {
  EXPECT_EQ(JobFilter::Parse("state = QUEUED").Fingerprint(),
            JobFilter::Parse("  state=QUEUED").Fingerprint());
  EXPECT_NE(JobFilter::Parse("state = QUEUED").Fingerprint(),
            JobFilter::Parse("state = PAUSED").Fingerprint());
  EXPECT_NE(JobFilter::Parse("name = a").Fingerprint(),
            JobFilter::Parse("submitter = a").Fingerprint());
}

}  // namespace
}  // namespace syncbn::coordinator
