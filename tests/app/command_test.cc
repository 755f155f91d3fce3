// The commands of a coordinator's users: what they ask, what they print, how they end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/file.h"
#include "tests/app/run_command.h"
#include "tests/support/closed_port.h"
#include "tests/support/temp_folder.h"

namespace syncbn {
namespace {

using testing::HasSubstr;

v1::Job& AddJob(FakeCoordinator& fake, int id, v1::Job::State state, double age) {
  const std::string name = "jobs/" + std::to_string(id);
  v1::Job& job = fake.jobs.jobs[name];
  job.set_name(name);
  job.set_display_name("resnet20-cifar10");
  job.set_state(state);
  job.mutable_resources()->set_processes(4);
  *job.mutable_create_time() = SecondsAgo(age);
  return job;
}

TEST(CommandLine, AWordThatIsNoCommandIsNamedWithTheNearestThatIs) {
  FakeCoordinator fake;
  const auto refusal = [&](std::vector<std::string> words) {
    const ProcessResult result = RunCommand(fake, std::move(words));
    EXPECT_EQ(result.status, 2);
    return result.err.substr(0, result.err.find('\n'));
  };
  EXPECT_EQ(refusal({"tarin", "run.yaml"}),
            "syncbn: there is no command 'tarin'; did you mean 'train'?");
  EXPECT_EQ(refusal({"frobnicate"}), "syncbn: there is no command 'frobnicate'");
  EXPECT_EQ(refusal({"token", "craete", "anna"}),
            "syncbn: there is no command 'craete' of 'syncbn token'; did you mean 'create'?");
  EXPECT_EQ(refusal({"hosts", "drian", "node1"}),
            "syncbn: there is no command 'drian' of 'syncbn hosts'; did you mean 'drain'?");
  EXPECT_EQ(refusal({}), "syncbn: say what to do: a command is missing");
  EXPECT_EQ(refusal({"jobs", "--satte", "open"}),
            "syncbn: 'syncbn jobs' has no option --satte; did you mean '--state'?");
  EXPECT_EQ(RunCommand(fake, {"--help"}).status, 0);
  EXPECT_EQ(RunCommand(fake, {"train", "--help"}).status, 0);
}

// The names of the commands that a help lists.
std::vector<std::string> CommandsIn(const std::string& help) {
  std::istringstream lines(help);
  std::vector<std::string> names;
  bool listed = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line.ends_with(':')) listed = !line.empty() && line != "Options:";
    std::istringstream words(line);
    std::string name;
    if (listed && line.starts_with("  ") && line[2] != ' ' && line[2] != '-' && words >> name)
      names.push_back(name);
  }
  return names;
}

TEST(Help, FitsIntoAHundredColumnsAndHasNumbersAsPeopleWriteThem) {
  FakeCoordinator fake;
  std::vector<std::vector<std::string>> commands = {{}};
  for (size_t i = 0; i < commands.size(); ++i) {
    std::vector<std::string> argv = commands[i];
    argv.push_back("--help");
    const std::string help = RunCommand(fake, argv).out;
    std::istringstream lines(help);
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100u) << line;
    EXPECT_EQ(help.find("e+"), std::string::npos) << help;
    if (i > 0 && help.find("SUBCOMMAND") == std::string::npos) continue;
    ASSERT_LT(commands.size(), 100u) << help;
    for (const std::string& name : CommandsIn(help)) {
      commands.push_back(commands[i]);
      commands.back().push_back(name);
    }
  }
  EXPECT_GT(commands.size(), 30u);
}

TEST(Cancel, OfManyJobsThatRefuseEndsWithTheSum) {
  FakeCoordinator fake;
  std::vector<std::string> command = {"cancel", "17"};
  AddJob(fake, 17, v1::Job::RUNNING, 10);
  for (int id = 100; id < 130; ++id) command.push_back(std::to_string(id));
  const ProcessResult result = RunCommand(fake, command);
  EXPECT_EQ(result.status, 2);
  EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 11) << result.err;
  EXPECT_THAT(result.err,
              HasSubstr("\nsyncbn: 30 of 31 jobs refused; the others did as they were told\n"));
}

TEST(Json, AnAnswerThatIsNoJsonIsToldWithTheJobThatItIsAbout) {
  FakeCoordinator fake;
  AddJob(fake, 17, v1::Job::RUNNING, 10);
  // A time that no calendar has.
  AddJob(fake, 18, v1::Job::RUNNING, 10).mutable_start_time()->set_seconds(INT64_MAX);
  const ProcessResult result = RunCommand(fake, {"jobs", "--json"});
  EXPECT_EQ(result.status, 7);
  EXPECT_THAT(result.err,
              HasSubstr("the coordinator's answer about jobs/18 cannot be shown as JSON: "));
}

TEST(Jobs, TableSaysWhyAJobWaitsAndWhyOneFailed) {
  FakeCoordinator fake;
  AddJob(fake, 16, v1::Job::QUEUED, 200).mutable_pending()->set_message("needs 8 slots, 3 free, 5 held by jobs/15");
  v1::Job& running = AddJob(fake, 15, v1::Job::RUNNING, 4000);
  running.mutable_progress()->set_step(1200);
  running.mutable_progress()->set_total_steps(7820);
  running.mutable_used_time()->set_seconds(3400);
  running.mutable_resources()->set_threads_per_process(2);
  v1::Job& failed = AddJob(fake, 9, v1::Job::FAILED, 200000);
  failed.set_display_name("näme\x1b[31m");
  failed.mutable_failure()->set_class_(v1::Failure::OOM);
  failed.mutable_failure()->set_message("rank 1 on node2 was killed for want of memory");
  const ProcessResult result = RunCommand(fake, {"jobs"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out,
            "JOB  NAME              STATE           STEP   PROC   SUBMITTED    USED  NOTE\n"
            " 16  resnet20-cifar10  QUEUED                    4   3 min ago          needs 8 slots, 3 free, 5 held by jobs/15\n"
            " 15  resnet20-cifar10  RUNNING  1,200/7,820  4 x 2     1 h ago  57 min\n"
            "  9  näme [31m         FAILED                    4  2 days ago          OOM: rank 1 on node2 was killed for want of memory\n");
}

TEST(JobPage, SaysWhatAStallWaitedForAndWhereWhoWasMissingWasSeenLast) {
  FakeCoordinator fake;
  v1::Failure& failure = *AddJob(fake, 9, v1::Job::FAILED, 10).mutable_failure();
  failure.set_class_(v1::Failure::STALL);
  failure.set_message("rank 0: no sign of life");
  failure.set_operation("bn1 forward");
  for (int rank : {2, 3, 4, 7}) failure.add_ranks(rank);
  failure.set_activity("load");
  failure.set_layer("conv1");
  const ProcessResult result = RunCommand(fake, {"job", "9"});
  EXPECT_THAT(result.out,
              HasSubstr("waited for    bn1 forward, for ranks 2-4 and 7, last seen in 'load' at "
                        "conv1\n"));
}

v1::Checkpoint& AddCheckpoint(v1::ListCheckpointsResponse& response, int64_t step) {
  v1::Checkpoint& checkpoint = *response.add_checkpoints();
  checkpoint.set_step(step);
  checkpoint.set_size_bytes(5 << 20);
  checkpoint.set_attempt(1);
  return checkpoint;
}

TEST(JobPage, HasAllCheckpointsAndSaysFromWhichOneItGoesOn) {
  FakeCoordinator fake;
  AddJob(fake, 9, v1::Job::FAILED, 10).mutable_progress()->set_checkpoint_step(1200);
  v1::ListCheckpointsResponse& there = fake.jobs.checkpoints["jobs/9"];
  v1::Checkpoint& damaged = AddCheckpoint(there, 1200);
  damaged.set_damage("manifest.json is missing\x1b[31m");
  damaged.set_size_bytes(10);
  v1::Checkpoint& newest = AddCheckpoint(there, 800);
  newest.set_resumes(true);
  newest.set_until_next(true);
  newest.set_epoch(2);
  *newest.mutable_create_time() = SecondsAgo(180);
  AddCheckpoint(there, 400).set_test_accuracy(0.75);
  there.set_left_out(2);
  const ProcessResult result = RunCommand(fake, {"job", "9"});
  EXPECT_THAT(result.out, HasSubstr("\nCHECKPOINTS\n"
                                    " STEP  EPOCH  ACCURACY     SIZE    WRITTEN  ATTEMPT  NOTE\n"
                                    "1,200                      10 B                      of no "
                                    "use: manifest.json is missing [31m\n"
                                    "  800      2            5.0 MiB  3 min ago        1  an "
                                    "attempt goes on from here; goes when the "
                                    "next is written\n"
                                    "  400      0   75.00 %  5.0 MiB                   1\n"
                                    "and 2 of lower steps\n"));
  EXPECT_THAT(result.out, testing::Not(HasSubstr("checkpoints   ")));
  EXPECT_THAT(RunCommand(fake, {"job", "9", "--json"}).out,
              HasSubstr("\"checkpoints\":[{\"step\":1200,\"size_bytes\":10"));
}

TEST(JobPage, IsThereAlthoughNobodyKnowsItsCheckpoints) {
  FakeCoordinator fake;
  AddJob(fake, 9, v1::Job::RUNNING, 10).mutable_progress()->set_checkpoint_step(1200);
  EXPECT_THAT(RunCommand(fake, {"job", "9"}).out,
              HasSubstr("checkpoints   none is left in the output folder\n"));
  fake.jobs.no_checkpoints =
      ApiStatus(grpc::StatusCode::UNAVAILABLE, "FILE_SYSTEM_SLOW", "/nfs/out did not answer");
  const ProcessResult result = RunCommand(fake, {"job", "9"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out,
              HasSubstr("checkpoints   the newest at step 1,200; they cannot be listed: "
                        "/nfs/out did not answer\n"));
  EXPECT_THAT(RunCommand(fake, {"job", "9", "--json"}).out,
              testing::Not(HasSubstr("\"checkpoints\"")));
}

TEST(Jobs, OfASweepAreToldApartAndTheBestOneStandsFirst) {
  FakeCoordinator fake;
  const std::vector<double> best = {0.75, 0.9125, 0.5};
  for (int i = 0; i < 3; ++i) {
    v1::Job& job = AddJob(fake, i + 1, v1::Job::SUCCEEDED, 200);
    (*job.mutable_labels())["batch"] = std::to_string(32 << i);
    (*job.mutable_labels())["a"] = "x";
    job.add_overrides("cluster.batch_per_replica=" + std::to_string(8 << i));
    job.add_overrides("data.path=\"/data\"");
    job.mutable_evaluation()->set_accuracy(0.5);
    job.mutable_evaluation()->set_best_accuracy(best[static_cast<size_t>(i)]);
  }
  AddJob(fake, 4, v1::Job::RUNNING, 200);
  const ProcessResult result = RunCommand(fake, {"jobs", "--best"});
  EXPECT_EQ(result.out,
            "JOB  NAME              LABELS          SET                           STATE      ACCURACY     BEST  PROC  SUBMITTED\n"
            "  2  resnet20-cifar10  a=x, batch=64   cluster.batch_per_replica=16  SUCCEEDED   50.00 %  91.25 %     4  3 min ago\n"
            "  1  resnet20-cifar10  a=x, batch=32   cluster.batch_per_replica=8   SUCCEEDED   50.00 %  75.00 %     4  3 min ago\n"
            "  3  resnet20-cifar10  a=x, batch=128  cluster.batch_per_replica=32  SUCCEEDED   50.00 %  50.00 %     4  3 min ago\n"
            "  4  resnet20-cifar10                                                RUNNING                          4  3 min ago\n");
  const ProcessResult first = RunCommand(fake, {"jobs", "--best", "--most", "1", "--json"});
  EXPECT_THAT(first.out, HasSubstr("\"name\":\"jobs/2\""));
  EXPECT_THAT(first.out, HasSubstr("\"best_accuracy\":0.9125"));
  EXPECT_EQ(std::count(first.out.begin(), first.out.end(), '\n'), 1);
  RunCommand(fake, {"jobs", "--name", "resnet", "--state", "ended"});
  EXPECT_EQ(fake.jobs.listed.back().filter(), "state = ended AND name : \"resnet\"");
}

TEST(Jobs, SaysThatThereAreMoreAndWhatToDoWhenThereAreNone) {
  FakeCoordinator fake;
  EXPECT_EQ(RunCommand(fake, {"jobs"}).out, "No jobs yet. To submit one: syncbn submit RUN.yaml\n");
  EXPECT_EQ(RunCommand(fake, {"jobs", "--state", "failed"}).out, "No jobs match.\n");
  EXPECT_EQ(fake.jobs.listed.back().filter(), "state = FAILED");
  EXPECT_EQ(RunCommand(fake, {"jobs", "--state", "open", "--label", "team=vision", "--filter", "name : r"}).out,
            "No jobs match.\n");
  EXPECT_EQ(fake.jobs.listed.back().filter(), "name : r AND state = open AND labels.team = \"vision\"");
  RunCommand(fake, {"jobs", "--label", "note=the \"good\" one"});
  EXPECT_EQ(fake.jobs.listed.back().filter(), "labels.note = 'the \"good\" one'");
  for (int id = 1; id <= 5; ++id) AddJob(fake, id, v1::Job::SUCCEEDED, 10);
  const ProcessResult two = RunCommand(fake, {"jobs", "--most", "2"});
  EXPECT_EQ(two.err, "The newest 2; --all shows the rest.\n");
  EXPECT_EQ(std::count(two.out.begin(), two.out.end(), '\n'), 3);
  const ProcessResult all = RunCommand(fake, {"jobs", "--all", "--json"});
  EXPECT_EQ(std::count(all.out.begin(), all.out.end(), '\n'), 5);
  EXPECT_THAT(all.out, HasSubstr("\"state\":\"SUCCEEDED\""));
  EXPECT_THAT(all.out, HasSubstr("\"display_name\":\"resnet20-cifar10\""));
}

TEST(Verbs, AcceptNumbersAndNamesAndRefuseTheRest) {
  FakeCoordinator fake;
  AddJob(fake, 17, v1::Job::RUNNING, 10);
  AddJob(fake, 18, v1::Job::RUNNING, 10);
  const ProcessResult both = RunCommand(fake, {"cancel", "17", "jobs/18", "--reason", "wrong data", "--kill"});
  EXPECT_EQ(both.status, 0) << both.err;
  EXPECT_EQ(both.out, "jobs/17 CANCELLING: its processes are being ended\n"
                      "jobs/18 CANCELLING: its processes are being ended\n");
  ASSERT_EQ(fake.jobs.cancelled.size(), 2u);
  EXPECT_EQ(fake.jobs.cancelled[1].name(), "jobs/18");
  EXPECT_EQ(fake.jobs.cancelled[1].reason(), "wrong data");
  EXPECT_TRUE(fake.jobs.cancelled[1].kill());
  for (const char* id : {"abc", "jobs/", "jobs/-1", "17x", "jobs/17/attempts/1"}) {
    const ProcessResult refused = RunCommand(fake, {"cancel", id});
    EXPECT_EQ(refused.status, 2);
    EXPECT_EQ(refused.err, "syncbn: \"" + std::string(id) +
                               "\" is not a job: write its number, as in 17 or jobs/17 ('syncbn jobs' lists them)\n");
  }
  const ProcessResult missing = RunCommand(fake, {"cancel", "99"});
  EXPECT_EQ(missing.status, 2);
  EXPECT_EQ(missing.err, "syncbn: there is no jobs/99\n");
  EXPECT_EQ(RunCommand(fake, {"delete", "17"}).out, "jobs/17 deleted\n");
}

TEST(Verbs, ResumeOnAnotherNumberOfProcessesKeepsTheOtherResources) {
  FakeCoordinator fake;
  v1::Job& job = AddJob(fake, 17, v1::Job::PAUSED, 10);
  job.mutable_resources()->set_priority(7);
  job.set_etag("etag-1");
  EXPECT_EQ(RunCommand(fake, {"resume", "17", "--processes", "8"}).status, 0);
  ASSERT_EQ(fake.jobs.resumed.size(), 1u);
  EXPECT_EQ(fake.jobs.resumed[0].resources().processes(), 8);
  EXPECT_EQ(fake.jobs.resumed[0].resources().priority(), 7);
  EXPECT_EQ(fake.jobs.resumed[0].etag(), "etag-1");
  EXPECT_EQ(RunCommand(fake, {"resume", "17"}).status, 0);
  EXPECT_FALSE(fake.jobs.resumed[1].has_resources());
}

TEST(Commands, WithoutACoordinatorEndWith9AndSayWhatToDo) {
  const ClosedPort nobody;
  const std::string& address = nobody.address();
  for (std::vector<std::string> arguments :
       {std::vector<std::string>{"jobs"}, {"job", "17"}, {"watch", "17"}, {"watch"}, {"logs", "17"},
        {"metrics", "17"}, {"cancel", "17"}, {"hosts"}, {"queue"}}) {
    const ProcessResult result = RunProcess(CommandFor(address, arguments));
    EXPECT_EQ(result.status, 9) << arguments[0];
    EXPECT_EQ(result.err, "syncbn: no coordinator answers at " + address +
                              ": Connection refused\n  start one with 'syncbn serve --data DIR', or name "
                              "another with --coordinator HOST:PORT or SYNCBN_SERVER\n")
        << arguments[0];
  }
}

TEST(Commands, TakeTheTokenFromAFileOrTheEnvironment) {
  TempFolder folder;
  const auto path = folder.path() / "token";
  WriteFileAtomically(path, "from-file\n");
  FakeCoordinator fake;
  EXPECT_EQ(RunCommand(fake, {"jobs", "--token-file", path.string()}).status, 0);
  ProcessOptions options = CommandFor(fake.address(), {"jobs"});
  options.environment["SYNCBN_USER_TOKEN"] = "from-environment";
  EXPECT_EQ(RunProcess(options).status, 0);
  EXPECT_THAT(fake.jobs.authorizations, testing::ElementsAre("Bearer from-file", "Bearer from-environment"));
  fake.jobs.failures = {ApiStatus(grpc::StatusCode::UNAUTHENTICATED, "UNAUTHENTICATED", "no token was given")};
  EXPECT_EQ(RunCommand(fake, {"jobs"}).err,
            "syncbn: no token was given\n  give your token with --token-file FILE or SYNCBN_USER_TOKEN\n");
  WriteFileAtomically(path, "\n");
  EXPECT_EQ(RunCommand(fake, {"jobs", "--token-file", path.string()}).err,
            "syncbn: the token file " + path.string() + " is empty\n");
}

TEST(Hosts, TableShowsUseAndReasons) {
  FakeCoordinator fake;
  v1::Host& one = *fake.cluster.hosts.add_hosts();
  one.set_name("hosts/node1");
  one.set_state(v1::Host::READY);
  one.set_slots(16);
  one.set_used_slots(5);
  one.set_memory_mib(65536);
  one.set_used_memory_mib(2048);
  one.add_tags("avx512");
  one.add_uses()->set_job("jobs/17");
  one.mutable_uses(0)->set_processes(5);
  v1::Host& two = *fake.cluster.hosts.add_hosts();
  two.set_name("hosts/node2");
  two.set_state(v1::Host::DRAINED);
  two.set_slots(8);
  two.set_reason("new memory");
  EXPECT_EQ(RunCommand(fake, {"hosts"}).out,
            "HOST   STATE    SLOTS USED          MEMORY USED  TAGS    JOBS    NOTE\n"
            "node1  READY       5 of 16  2.0 GiB of 64.0 GiB  avx512  17 (5)\n"
            "node2  DRAINED      0 of 8                                       new memory\n");
  const ProcessResult drained = RunCommand(fake, {"hosts", "drain", "node1", "--reason", "dust"});
  EXPECT_EQ(drained.out, "node1 DRAINED: 1 job still runs on it\n") << drained.err;
  const ProcessResult unknown = RunCommand(fake, {"hosts", "drain", "node9"});
  EXPECT_EQ(unknown.status, 2);
  EXPECT_EQ(unknown.err, "syncbn: there is no hosts/node9\n");
}

TEST(Queue, SaysInWhichOrderAndWhy) {
  FakeCoordinator fake;
  fake.cluster.queue.set_slots(8);
  fake.cluster.queue.set_free_slots(3);
  EXPECT_EQ(RunCommand(fake, {"queue"}).out, "No job waits. 3 of 8 slots are free.\n");
  v1::QueueEntry& entry = *fake.cluster.queue.add_entries();
  entry.set_job("jobs/17");
  entry.set_display_name("resnet20");
  entry.set_priority(2);
  *entry.mutable_queue_time() = SecondsAgo(130);
  entry.mutable_pending()->set_position(1);
  entry.mutable_pending()->set_message("needs 8 slots, 3 free, 5 held by jobs/15");
  const ProcessResult result = RunCommand(fake, {"queue"});
  EXPECT_EQ(result.out,
            "NO  JOB  NAME      PRIORITY  WAITS SINCE  WHY\n"
            " 1   17  resnet20         2    2 min ago  needs 8 slots, 3 free, 5 held by jobs/15\n");
  EXPECT_EQ(result.err, "3 of 8 slots are free.\n");
}

TEST(Commands, WhatTheCoordinatorFindsTooLargeEndsAsAWrongQuestion) {
  FakeCoordinator fake;
  fake.jobs.failures = {
      ApiStatus(grpc::StatusCode::RESOURCE_EXHAUSTED, "TOO_LARGE", "the request is too large")};
  const ProcessResult result = RunCommand(fake, {"cancel", "17"});
  EXPECT_EQ(result.status, 2);
  EXPECT_EQ(result.err, "syncbn: the request is too large\n");
}

}  // namespace
}  // namespace syncbn
