// What happens to jobs that run: a worker that dies, a coordinator that is away, a full disk.
#include <fcntl.h>
#include <gmock/gmock.h>

#include <csignal>
#include <optional>

#include "base/descriptor.h"
#include "base/error.h"
#include "tests/e2e/resilience.h"
#include "tests/support/full_disk.h"

namespace syncbn {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class OutageTest : public ResilienceTest {
 protected:
  // Until the job's processes have gone by themselves.
  void WaitUntilGone(const std::string& name) {
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (!Processes(name).empty() || !fs::exists(AttemptFolderOf(name, 1) / "exit.json")) {
      ASSERT_LT(std::chrono::steady_clock::now(), end);
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }
};

TEST_F(OutageTest, AfterAKilledWorkerEveryStepIsThereOnceAndTheEarlierAttemptIsKept) {
  Pace(200, 30);
  Serve();
  const int steps = 200;
  const std::string name = Submit(MakeJob(TinyRun(steps), 2)).name();
  WaitForState(name, v1::Job::RUNNING);
  WaitForSteps(name, 30);
  ASSERT_EQ(::kill(static_cast<pid_t>(Attempts(name).at(0).ranks(1).pid()), SIGKILL), 0);
  WaitFor(name, "a second attempt", [](const v1::Job& job) { return job.attempt() == 2; });
  Pace(0);
  WaitForEnd(name);
  ExpectDoneOnce(name, steps);
  // Where the second went on from: everything before is the first's.
  ASSERT_EQ(Attempts(name).size(), 2u);
  const std::vector<v1::Series> earlier = AllSeries(name, 1), later = AllSeries(name, 2);
  ASSERT_FALSE(earlier.empty());
  ASSERT_FALSE(later.empty());
  auto loss = [](const std::vector<v1::Series>& all) {
    for (const v1::Series& series : all) {
      if (series.name() == "train/loss") return series;
    }
    return v1::Series();
  };
  const v1::Series first = loss(earlier), second = loss(later), shown = loss(AllSeries(name));
  EXPECT_EQ(first.first_step(0), 0);
  const int64_t resumed = second.first_step(0);
  EXPECT_GT(resumed, 0);
  EXPECT_EQ(second.points(), steps - resumed);
  // Each step of the first up to its death: also those that were done again.
  const int64_t last = first.first_step(first.first_step_size() - 1);
  EXPECT_EQ(first.points(), last + 1);
  EXPECT_GE(last, resumed - 1);
  ASSERT_EQ(shown.attempt_size(), steps);
  for (int i = 0; i < steps; ++i) EXPECT_EQ(shown.attempt(i), i < resumed ? 1 : 2) << "step " << i;
}

TEST_F(OutageTest, WithoutACoordinatorFromTheStartToTheEndEverythingArrivesAfterwards) {
  // Not before it has answered who submitted the job.
  const fs::path answered = tools_.path() / "answered";
  PutOnPath("mpirun", "until [ -e " + answered.string() + " ]; do sleep 0.02; done\n"
                      "mkdir " + (data() / "killed-once").string() + " 2>/dev/null && kill -KILL $(sed "
                      "'s/.*\"pid\":\\([0-9]*\\).*/\\1/' " + (data() / "server.json").string() +
                      ")\nexec /usr/bin/mpirun \"$@\"\n");
  Serve();
  const std::string name = Submit(MakeJob(TinyRun(40), 2)).name();
  WriteFileAtomically(answered, "");
  WaitUntilGone(name);
  ASSERT_TRUE(ServerHasDied());
  Kill();
  EXPECT_TRUE(fs::exists(AttemptFolderOf(name, 1) / "spool")) << "where the figures wait";
  Serve();
  EXPECT_EQ(Get(name).state(), v1::Job::SUCCEEDED) << Describe(name);
  ExpectDoneOnce(name, 40);
  EXPECT_EQ(Attempts(name).size(), 1u);
}

TEST_F(OutageTest, AFullDiskOfTheStoreRefusesJobsAndLosesNothingOfThoseThatRun) {
  fs::create_directories(data());
  TempFolder elsewhere;
  SmallDisk disk(data(), 64 * 1024);
  if (!disk.mounted()) GTEST_SKIP() << "mounting a file system is not permitted here";
  // Jobs write to a disk that has room.
  fs::create_symlink(elsewhere.path(), data() / "output");
  Pace(100, 10);
  Serve();
  const int steps = 200;
  const std::string name = Submit(MakeJob(TinyRun(steps), 2)).name();
  WaitForState(name, v1::Job::RUNNING);
  WaitForSteps(name, 10);
  const fs::path ballast = data() / "ballast";
  const int file = ::open(ballast.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_GE(file, 0);
  const std::string block(4096, 'x');
  while (::write(file, block.data(), block.size()) > 0) {
  }
  ::close(file);
  const int before = StepsDone(name);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  v1::CreateJobRequest request;
  // Longer than what may be left of the store's last page.
  *request.mutable_job() = MakeJob(TinyRun() + "#" + std::string(100'000, '-') + "\n");
  v1::Job answer;
  const grpc::Status status = jobs().CreateJob(&context, request, &answer);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
  EXPECT_THAT(status.error_message(),
              HasSubstr("cannot be written: no space left. Nothing of this request was kept; free "
                        "some space and send it again"));
  EXPECT_THAT(status.error_details(), HasSubstr("STORE_FULL"));
  WaitForSteps(name, before + 20);
  ASSERT_LT(StepsDone(name), steps) << "it was to be under way still";
  fs::remove(ballast);
  Pace(0);
  WaitForEnd(name);
  EXPECT_EQ(Get(name).state(), v1::Job::SUCCEEDED) << Describe(name);
  EXPECT_EQ(Attempts(name).size(), 1u);
  EXPECT_EQ(SummaryOf(name)["digest"], DigestOfUndisturbed(steps));
  ExpectMetricsOnce(name, steps);
  // And what was refused is taken now.
  EXPECT_EQ(SubmitAndWait(MakeJob(TinyRun())).state(), v1::Job::SUCCEEDED);
  EXPECT_EQ(Stop(), 0);
}

TEST_F(OutageTest, OnAFullDiskItStartsEndsAndDeletesJobsAndStopsHoweverOften) {
  fs::create_directories(data());
  TempFolder elsewhere;
  SmallDisk disk(data(), 64 * 1024);
  if (!disk.mounted()) GTEST_SKIP() << "mounting a file system is not permitted here";
  fs::create_symlink(elsewhere.path(), data() / "output");
  const fs::path run_file = tools_.path() / "run.yaml";
  WriteFileAtomically(run_file, TinyRun(2));
  const std::string address = "unix:" + (tools_.path() / "socket").string();
  std::optional<Process> server;
  const auto start = [&] {
    server.emplace(ProcessOptions{.argv = {SyncbnProgram(), "serve", "--data", data().string(),
                                           "--listen", address, "--http", "off", "--slots", "4"},
                                  .timeout = std::chrono::seconds(600)});
    ASSERT_TRUE(server->WaitForText("syncbn serves on ", kPatience)) << server->Err();
  };
  const auto ask = [&](std::vector<std::string> words) {
    words.insert(words.begin(), SyncbnProgram());
    words.insert(words.end(), {"--coordinator", address});
    const ProcessResult result = RunProcess({.argv = words});
    EXPECT_EQ(result.status, 0) << words[1] << ": " << result.err;
  };
  const auto fill = [&] {
    const Descriptor file(
        ::open((data() / "ballast").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    const std::string block(4096, 'x');
    while (::write(file.get(), block.data(), block.size()) > 0) {
    }
  };
  start();
  // They wait.
  ask({"hosts", "drain", "localhost"});
  for (int i = 0; i < 4; ++i)
    ask({"submit", run_file.string(), "--set", "name=job" + std::to_string(i)});
  for (const char* job : {"1", "2", "3", "4"}) {
    fill();
    server->Signal(SIGTERM);
    EXPECT_EQ(server->Wait().status, 0) << server->Err();
    fill();
    ASSERT_NO_FATAL_FAILURE(start());
    ask({"cancel", job});
    ask({"delete", job});
  }
  server->Signal(SIGTERM);
  EXPECT_EQ(server->Wait().status, 0);
}

}  // namespace
}  // namespace syncbn
