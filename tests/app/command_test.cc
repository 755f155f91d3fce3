// The commands of a coordinator's users: what they ask, what they print, how they end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <csignal>

#include "base/file.h"
#include "tests/app/run_command.h"
#include "tests/support/closed_port.h"
#include "tests/support/temp_folder.h"

namespace syncbn {
namespace {

using testing::HasSubstr;

constexpr const char* kRunFile = "name: shapes-demo\ndata: {dataset: shapes}\nmodel: {architecture: mlp}\n";

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

TEST(Submit, SendsTheRunFileAsItIsWithEverythingAsked) {
  TempFolder folder;
  const auto path = folder.path() / "run.yaml";
  const std::string text = std::string("# my run\n") + kRunFile;
  WriteFileAtomically(path, text);
  FakeCoordinator fake;
  const ProcessResult result = RunCommand(
      fake, {"submit", path.string(), "--set", "train.epochs=3", "--set", "seed=2", "--processes", "2",
             "--threads", "3", "--memory", "512", "--host-tag", "avx512", "--priority", "-5",
             "--time-limit", "1h30m", "--label", "team=vision", "--env", "LEVEL=a=b",
             "--output-folder", "mine", "--max-retries", "0"});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out,
            "jobs/17 submitted: shapes-demo\nTo follow it: syncbn watch 17. To end it: syncbn cancel 17.\n");
  ASSERT_EQ(fake.jobs.created.size(), 1u);
  const v1::CreateJobRequest& request = fake.jobs.created[0];
  EXPECT_FALSE(request.validate_only());
  const v1::Job& job = request.job();
  EXPECT_EQ(job.run_file(), text);
  EXPECT_EQ(job.run_file_name(), path.string());
  EXPECT_THAT(job.overrides(), testing::ElementsAre("train.epochs=3", "seed=2"));
  EXPECT_EQ(job.labels().at("team"), "vision");
  EXPECT_EQ(job.environment().at("LEVEL"), "a=b");
  EXPECT_EQ(job.output_folder(), "mine");
  const v1::Resources& resources = job.resources();
  EXPECT_EQ(resources.processes(), 2);
  EXPECT_EQ(resources.threads_per_process(), 3);
  EXPECT_EQ(resources.memory_mib_per_process(), 512);
  EXPECT_EQ(resources.priority(), -5);
  EXPECT_EQ(resources.time_limit().seconds(), 5400);
  EXPECT_THAT(resources.host_tags(), testing::ElementsAre("avx512"));
  ASSERT_TRUE(resources.has_max_retries());
  EXPECT_EQ(resources.max_retries(), 0);
}

TEST(Submit, RefusesNumbersThatMeanNothing) {
  TempFolder folder;
  const auto path = folder.path() / "run.yaml";
  WriteFileAtomically(path, kRunFile);
  FakeCoordinator fake;
  struct Wrong {
    std::string option, value;
    int least = 1;
  };
  for (const Wrong& wrong :
       {Wrong{"-n", "0"}, Wrong{"--processes", "-2"}, Wrong{"-n", "two"}, Wrong{"--threads", "0"},
        Wrong{"--per-host", "0"}, Wrong{"--memory", "-1", 0}, Wrong{"--max-retries", "-1", 0}}) {
    const ProcessResult result =
        RunCommand(fake, {"submit", path.string(), wrong.option + (wrong.option == "-n" ? "" : "=") + wrong.value});
    EXPECT_EQ(result.status, 2) << wrong.option;
    EXPECT_THAT(result.err, HasSubstr("expected a whole number of at least " +
                                      std::to_string(wrong.least) + ", found '" + wrong.value + "'"));
  }
  EXPECT_TRUE(fake.jobs.created.empty());
}

TEST(Submit, NumbersThatAreTooLargeAreToldWithTheirBounds) {
  TempFolder folder;
  const auto path = folder.path() / "run.yaml";
  WriteFileAtomically(path, kRunFile);
  FakeCoordinator fake;
  const auto refusal = [&](std::vector<std::string> words) {
    const ProcessResult result = RunCommand(fake, std::move(words));
    EXPECT_EQ(result.status, 2);
    return result.err.substr(0, result.err.find('\n'));
  };
  EXPECT_EQ(refusal({"submit", path.string(), "--priority", "99999999999"}),
            "syncbn: --priority: expected a whole number from -1000 to 1000, found '99999999999'");
  EXPECT_EQ(refusal({"submit", path.string(), "--threads", "99999999999"}),
            "syncbn: --threads: expected a whole number from 1 to 2147483647, found '99999999999'");
  EXPECT_EQ(refusal({"metrics", "17", "a", "--from", "soon"}),
            "syncbn: --from: expected a whole number of at least 0, found 'soon'");
  // By the name that was typed.
  EXPECT_EQ(refusal({"submit", path.string(), "-n", "two"}),
            "syncbn: -n: expected a whole number of at least 1, found 'two'");
  EXPECT_EQ(refusal({"submit", path.string(), "--processes", "two"}),
            "syncbn: --processes: expected a whole number of at least 1, found 'two'");
}

TEST(Submit, AFileThatIsTooLongForARunFileIsNotReadToItsEndNorSent) {
  TempFolder folder;
  const auto path = folder.path() / "run.yaml";
  WriteFileAtomically(path, kRunFile + std::string(2 << 20, '#'));
  FakeCoordinator fake;
  for (const std::string& file : {std::string("/dev/zero"), path.string()}) {
    for (const char* command : {"submit", "check", "train"}) {
      const ProcessResult result = RunCommand(fake, {command, file});
      EXPECT_EQ(result.status, 2) << command;
      EXPECT_EQ(result.err,
                "syncbn: " + file +
                    " has more than 1048576 bytes, too many for a run file: is it another "
                    "file?\n");
    }
  }
  EXPECT_TRUE(fake.jobs.created.empty());
  const ProcessResult token = RunCommand(fake, {"jobs", "--token-file", "/dev/zero"});
  EXPECT_EQ(token.status, 2);
  EXPECT_THAT(token.err, HasSubstr("too many for a token file"));
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

TEST(Submit, CheckSubmitsNothing) {
  TempFolder folder;
  const auto path = folder.path() / "run.yaml";
  WriteFileAtomically(path, kRunFile);
  FakeCoordinator fake;
  const ProcessResult result = RunCommand(fake, {"submit", path.string(), "--check", "-n", "3"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out, path.string() + ": would be accepted as shapes-demo on 3 slots\n");
  ASSERT_EQ(fake.jobs.created.size(), 1u);
  EXPECT_TRUE(fake.jobs.created[0].validate_only());
}

// As a coordinator does: a list that may be cut short.
v1::RunFileErrors FirstFault(const std::string& check_text, const std::string& file) {
  v1::RunFileErrors errors;
  v1::RunFileError& error = *errors.add_errors();
  error.set_file(file);
  const std::string body = check_text.substr(std::string("syncbn: ").size());
  error.set_text(body.substr(0, body.find("\n" + file, 1) + 1));
  return errors;
}

TEST(Submit, OfAWrongFilePrintsWhatCheckPrintsEvenWhereTheAnswerWasCutShort) {
  TempFolder folder;
  const auto path = folder.path() / "run.yaml";
  std::string text = kRunFile;
  for (int i = 0; i < 40; ++i) text += "unknown_key_" + std::to_string(i) + ": 1\n";
  WriteFileAtomically(path, text);
  FakeCoordinator fake;
  const ProcessResult check = RunCommand(fake, {"check", path.string()});
  ASSERT_EQ(check.status, 2);
  const v1::RunFileErrors errors = FirstFault(check.err, path.string());
  ASSERT_LT(errors.errors(0).text().size(), check.err.size() / 10);
  fake.jobs.failures = {ApiStatus(grpc::StatusCode::INVALID_ARGUMENT, "RUN_FILE_INVALID",
                                  check.err.substr(8, 500) + " ...", {{"errors", "40"}}, &errors)};
  const ProcessResult submit = RunCommand(fake, {"submit", path.string()});
  EXPECT_EQ(submit.status, 2);
  EXPECT_EQ(submit.err, check.err);
  EXPECT_EQ(submit.out, "");
}

TEST(Submit, OfAWrongFileBelievesTheCoordinatorWhereItsSchemaDiffers) {
  TempFolder folder;
  const auto path = folder.path() / "run.yaml";
  WriteFileAtomically(path, kRunFile);
  v1::RunFileErrors errors;
  errors.add_errors()->set_text("run.yaml:1:1: name: too long for this server\n");
  errors.mutable_errors(0)->set_file("run.yaml");
  FakeCoordinator fake;
  fake.jobs.failures = {ApiStatus(grpc::StatusCode::INVALID_ARGUMENT, "RUN_FILE_INVALID", "cut ...",
                                  {{"errors", "2"}}, &errors)};
  const ProcessResult submit = RunCommand(fake, {"submit", path.string()});
  EXPECT_EQ(submit.err,
            "syncbn: run.yaml:1:1: name: too long for this server\n"
            "2 errors in run.yaml; the first 1 are shown\n");
}

TEST(Submit, RefusesWhatCannotBeMeantBeforeAskingAnybody) {
  TempFolder folder;
  const auto path = folder.path() / "run.yaml";
  WriteFileAtomically(path, kRunFile);
  FakeCoordinator fake;
  const auto error = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"submit", path.string()});
    const ProcessResult result = RunCommand(fake, more);
    EXPECT_EQ(result.status, 2);
    return result.err;
  };
  for (const char* time : {"soon", "5x", "-3m", "1h2", "0s"}) {
    EXPECT_EQ(error({"--time-limit=" + std::string(time)}),
              "syncbn: --time-limit: \"" + std::string(time) +
                  "\" is not a time: write 45s, 30m, 2h, 1d, or 1h30m\n");
  }
  EXPECT_EQ(error({"--label", "vision"}), "syncbn: --label: expected KEY=VALUE, found \"vision\"\n");
  EXPECT_EQ(error({"--env", "=1"}), "syncbn: --env: expected KEY=VALUE, found \"=1\"\n");
  EXPECT_THAT(error({"--processes", "many"}), HasSubstr("--processes"));
  EXPECT_THAT(RunCommand(fake, {"submit", "/nowhere/run.yaml"}).err, HasSubstr("/nowhere/run.yaml"));
  EXPECT_TRUE(fake.jobs.created.empty());
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

TEST(Metrics, AreNumbersOrNullInJson) {
  FakeCoordinator fake;
  AddJob(fake, 17, v1::Job::FAILED, 10);
  v1::Series& series = *fake.metrics.query.add_series();
  // A text that looks like a number that is none stays a text.
  series.set_name("NaN");
  for (const double value : {1.5, std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    series.add_mean(value);
    series.add_last_step(series.mean_size());
  }
  const ProcessResult result = RunCommand(fake, {"metrics", "17", "NaN", "--json"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("\"name\":\"NaN\""));
  EXPECT_THAT(result.out, HasSubstr("\"mean\":[1.5,null,null,null]"));
  EXPECT_THAT(result.out, HasSubstr("\"last_step\":[\"1\",\"2\",\"3\",\"4\"]"));
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

}  // namespace
}  // namespace syncbn
