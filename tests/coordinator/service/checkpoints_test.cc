// ListCheckpoints: what lies in a job's folder, as whoever may look is told it.
#include <atomic>
#include <filesystem>
#include <fstream>
#include <future>

#include "tests/coordinator/service/real_services_fixture.h"
#include "train/manifest/manifest.h"

namespace syncbn::coordinator {
namespace {

namespace fs = std::filesystem;
using ::testing::StartsWith;

class CheckpointsTest : public RealServicesTest {
 protected:
  CheckpointsTest() { fs::create_directories(out); }
  // A job whose run writes to `out`.
  int64_t Keep() {
    v1::Job spec = TestSpec();
    spec.set_output_folder(out.string());
    return store.Write([&](Tables& tables) {
      return tables.jobs.Create(spec, {"seed: 1\n", "seed: 1\n"}, NewJob({}, MomentAt(kTestNow)),
                                {"anna", "CREATE", ""}, kTestNow);
    });
  }
  fs::path Write(train::Manifest manifest) const {
    const fs::path step = out / "checkpoints" / train::CheckpointName(manifest.counters.step);
    fs::create_directories(step);
    manifest.files["model.safetensors"] = {};
    std::ofstream(step / "model.safetensors") << std::string(1000, 'x');
    std::ofstream(step / "manifest.json") << manifest.ToJson();
    return step;
  }
  std::string List(int64_t job, v1::ListCheckpointsResponse& response) {
    v1::ListCheckpointsRequest request;
    request.set_parent(JobName(job));
    Context context;
    return Say(v1::JobService::Stub(channel).ListCheckpoints(&context, request, &response));
  }

  fs::path out = folder.path() / "output" / "mine";
};

TEST_F(CheckpointsTest, AreThoseOfTheFolderTheOneThatIsGoneOnFromIsMarked) {
  const int64_t job = Keep();
  v1::ListCheckpointsResponse response;
  EXPECT_EQ(List(job, response), "OK");
  EXPECT_EQ(response.checkpoints_size(), 0);
  Write({.counters = {.step = 10, .epoch = 1}, .test_accuracy = 0.5});
  Write({.counters = {.step = 20, .epoch = 2},
         .attempt = 3,
         .until_next = true,
         .created = "2026-01-31T12:34:56.5Z"});
  fs::remove(Write({.counters = {.step = 30}}) / "model.safetensors");
  ASSERT_EQ(List(job, response), "OK");
  ASSERT_EQ(response.checkpoints_size(), 3);
  const v1::Checkpoint &damaged = response.checkpoints(0), &newest = response.checkpoints(1),
                       &oldest = response.checkpoints(2);
  EXPECT_EQ(damaged.step(), 30);
  EXPECT_EQ(damaged.damage(), "model.safetensors is missing, or no file");
  EXPECT_FALSE(damaged.resumes());
  EXPECT_EQ(newest.step(), 20);
  EXPECT_EQ(newest.epoch(), 2);
  EXPECT_EQ(newest.attempt(), 3);
  EXPECT_GT(newest.size_bytes(), 1000);
  EXPECT_EQ(newest.create_time().seconds(), 1769862896);
  EXPECT_TRUE(newest.until_next());
  EXPECT_TRUE(newest.resumes());
  EXPECT_FALSE(newest.has_test_accuracy());
  EXPECT_EQ(oldest.step(), 10);
  EXPECT_EQ(oldest.test_accuracy(), 0.5);
  EXPECT_FALSE(oldest.resumes());
  EXPECT_FALSE(oldest.has_create_time()) << "its manifest has no time";
  EXPECT_EQ(response.left_out(), 0);
}

TEST_F(CheckpointsTest, AreAtMost200) {
  const int64_t job = Keep();
  for (int step = 0; step < 203; ++step) Write({.counters = {.step = step}});
  v1::ListCheckpointsResponse response;
  ASSERT_EQ(List(job, response), "OK");
  EXPECT_EQ(response.checkpoints_size(), 200);
  EXPECT_EQ(response.checkpoints(199).step(), 3);
  EXPECT_EQ(response.left_out(), 3);
}

TEST_F(CheckpointsTest, AreNotLookedForElsewhere) {
  v1::ListCheckpointsResponse response;
  EXPECT_THAT(List(7, response), StartsWith("NOT_FOUND JOB_NOT_FOUND"));
  const int64_t job = Keep();
  const fs::path elsewhere = folder.path() / "elsewhere";
  fs::rename(out, elsewhere);
  fs::create_directory_symlink(elsewhere, out);
  EXPECT_THAT(List(job, response), StartsWith("PERMISSION_DENIED NOT_ALLOWED_PATH: "));
}

TEST_F(CheckpointsTest, HoldUpNobodyElseWhereAFileSystemDoesNotAnswer) {
  const int64_t job = Keep();
  Write({.counters = {.step = 10}});
  std::promise<void> answer;
  const std::shared_future<void> answers = answer.get_future().share();
  std::atomic<int> hanging = 0;
  std::vector<std::future<void>> looks;
  for (int i = 0; i < options.file_system.threads; ++i) {
    looks.push_back(std::async(std::launch::async, [&, i] {
      controller().file_system().Run("folder " + std::to_string(i), [&hanging, answers] {
        ++hanging;
        answers.wait();
      });
    }));
  }
  WaitUntil("all threads hang", [&] { return hanging == options.file_system.threads; });
  v1::ListCheckpointsResponse response;
  auto listed = std::async(std::launch::async, [&] { return List(job, response); });
  EXPECT_EQ(listed.wait_for(300ms), std::future_status::timeout) << "it looks by itself";
  v1::GetJobRequest get;
  get.set_name(JobName(job));
  EXPECT_EQ(Say(Call(&v1::JobService::Stub::GetJob, get)), "OK");
  answer.set_value();
  EXPECT_EQ(listed.get(), "OK");
  EXPECT_EQ(response.checkpoints_size(), 1);
}

}  // namespace
}  // namespace syncbn::coordinator
