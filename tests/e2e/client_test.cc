// The commands of users against a real coordinator.
#include <gmock/gmock.h>

#include <fstream>

#include "tests/e2e/serve_fixture.h"

namespace syncbn {
namespace {

using testing::HasSubstr;

class ClientTest : public ServeTest {
 protected:
  ProcessOptions Command(std::vector<std::string> arguments) const {
    const auto server = nlohmann::json::parse(ReadFile(data() / "server.json"));
    arguments.insert(arguments.begin(), SyncbnProgram());
    return {.argv = arguments,
            .environment = {{"SYNCBN_SERVER", server["grpc"].get<std::string>()}},
            .timeout = std::chrono::seconds(180)};
  }
  ProcessResult Run(std::vector<std::string> arguments) const { return RunProcess(Command(arguments)); }
  std::string Write(const std::string& text) const {
    const auto path = folder_.path() / "run.yaml";
    WriteFileAtomically(path, text);
    return path.string();
  }

 private:
  TempFolder folder_;
};

TEST_F(ClientTest, SubmitOfAWrongFilePrintsTheBytesOfCheck) {
  Serve();
  std::string many = TinyRun();
  for (int i = 0; i < 60; ++i) many += "wrong_key_" + std::to_string(i) + ": 1\n";
  for (const std::string& text : {TinyRun() + "sed: 1\n", std::string("a: [\n"), many}) {
    const std::string path = Write(text);
    const ProcessResult check = Run({"check", path, "--set", "train.epochs=-1"});
    const ProcessResult submit = Run({"submit", path, "--set", "train.epochs=-1"});
    EXPECT_EQ(check.status, 2);
    EXPECT_EQ(submit.status, 2);
    EXPECT_EQ(submit.err, check.err);
    EXPECT_EQ(submit.out, "");
  }
}

TEST_F(ClientTest, WhatIsNotUtf8IsSaidAsByCheckAndNotSent) {
  Serve();
  const std::string path = Write("name: caf\xe9\n" + TinyRun());
  const ProcessResult check = Run({"check", path}), submit = Run({"submit", path});
  EXPECT_EQ(check.status, 2);
  EXPECT_EQ(submit.status, 2);
  EXPECT_EQ(submit.err, check.err);
  const ProcessResult label = Run({"submit", Write(TinyRun()), "--label", "team=\xff"});
  EXPECT_EQ(label.status, 2);
  EXPECT_THAT(label.err, HasSubstr("is not UTF-8 text"));
}

TEST_F(ClientTest, ARunFileThatIsTooLargeForTheServerIsRefusedWithItsLimit) {
  Serve();
  const ProcessResult result =
      Run({"submit", Write(TinyRun() + "#" + std::string(300 << 10, 'x') + "\n")});
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, HasSubstr("at most 262144 are allowed"));
  EXPECT_EQ(result.out, "");
}

TEST_F(ClientTest, ARelativeDataPathIsOneOfTheSubmittersFolder) {
  Serve();
  const std::string path = Write(
      "data: {dataset: mnist, path: 'data/my mnist: 1'}\nmodel: {architecture: lenet}\n"
      "cluster: {replicas: 1, batch_per_replica: 8}\ntrain: {epochs: 1}\n");
  // The coordinator reads data below the folder in which it was started, which is this test's.
  ProcessResult result = Run({"submit", path, "--check"});
  EXPECT_EQ(result.status, 0) << result.err;
  ProcessOptions elsewhere = Command({"submit", path, "--check"});
  elsewhere.working_folder = "/tmp";
  result = RunProcess(elsewhere);
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, HasSubstr("data.path '/tmp/data/my mnist: 1' is outside the data folders"));
}

TEST_F(ClientTest, AVerbTriesAllItsJobsAndSaysWhichRefused) {
  Serve();
  for (int i = 0; i < 2; ++i) Submit(MakeJob(LongRun()));
  const ProcessResult cancel = Run({"cancel", "99", "1", "98", "2"});
  EXPECT_EQ(cancel.status, 2) << cancel.out << cancel.err;
  EXPECT_THAT(cancel.err, HasSubstr("jobs/99"));
  EXPECT_THAT(cancel.err, HasSubstr("jobs/98"));
  WaitForState("jobs/1", v1::Job::CANCELLED);
  WaitForState("jobs/2", v1::Job::CANCELLED);
}

TEST_F(ClientTest, AJobGetsNoNumberOfWhichAnotherStoresJobHasLeftAFolder) {
  std::filesystem::create_directories(data() / "output" / "job-1");
  WriteFileAtomically(data() / "output" / "job-1" / ".syncbn-job", "other/jobs/1\n");
  Serve();
  const v1::Job job = SubmitAndWait(MakeJob(TinyRun()));
  EXPECT_EQ(job.state(), v1::Job::SUCCEEDED);
  EXPECT_EQ(job.name(), "jobs/2");
  EXPECT_THAT(job.output_folder(), testing::EndsWith("/job-2"));
  EXPECT_THAT(Run({"job", "2"}).out, HasSubstr("number 1 is passed over: folders of such jobs"));
}

TEST_F(ClientTest, FollowEndsWith0AndEveryViewOfTheJobWorks) {
  Serve();
  const ProcessResult submit = Run({"submit", Write(TinyRun()), "-n", "2", "--follow"});
  ASSERT_EQ(submit.status, 0) << submit.out << submit.err;
  EXPECT_THAT(submit.out, HasSubstr("jobs/1 SUCCEEDED"));
  EXPECT_THAT(submit.out, HasSubstr("train/loss"));
  EXPECT_THAT(Run({"jobs"}).out, HasSubstr("SUCCEEDED"));
  EXPECT_THAT(Run({"job", "1"}).out, HasSubstr("RANKS OF ATTEMPT 1"));
  EXPECT_EQ(Run({"job", "1", "--run-file"}).out, TinyRun());
  EXPECT_THAT(Run({"logs", "1", "--rank", "0"}).out, HasSubstr("0: "));
  EXPECT_THAT(Run({"metrics", "1", "train/loss", "--csv"}).out, HasSubstr("train/loss,0,1,19,19,"));
  EXPECT_EQ(Run({"watch", "1"}).status, 0);
  const ProcessResult cancel = Run({"cancel", "1"});
  EXPECT_EQ(cancel.status, 2);
  EXPECT_THAT(cancel.err, HasSubstr("jobs/1"));
}

TEST_F(ClientTest, FollowOutlivesACoordinatorThatIsKilledAndEndsWith11WhenTheJobIsCancelled) {
  Serve();
  Process follow(Command({"submit", Write(LongRun()), "--follow"}));
  ASSERT_TRUE(follow.WaitForText("RUNNING", kPatience)) << follow.Out() << follow.Err();
  Restart();
  const ProcessResult cancel = Run({"cancel", "1"});
  ASSERT_EQ(cancel.status, 0) << cancel.err;
  const ProcessResult result = follow.Wait();
  EXPECT_EQ(result.status, 11) << result.out << result.err;
}

}  // namespace
}  // namespace syncbn
