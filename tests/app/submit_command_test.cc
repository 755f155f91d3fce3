// `syncbn submit`: what it asks, what it prints, what it refuses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/file.h"
#include "tests/app/run_command.h"
#include "tests/support/temp_folder.h"

namespace syncbn {
namespace {

using testing::HasSubstr;

constexpr const char* kRunFile = "name: shapes-demo\ndata: {dataset: shapes}\nmodel: {architecture: mlp}\n";

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
    std::string option, value, range = "of at least 1";
  };
  for (const Wrong& wrong : {Wrong{"-n", "0"}, Wrong{"--processes", "-2"}, Wrong{"-n", "two"},
                             Wrong{"--threads", "0", "from 1 to 4096"}, Wrong{"--per-host", "0"},
                             Wrong{"--memory", "-1", "from 0 to 1073741824"},
                             Wrong{"--max-retries", "-1", "from 0 to 1000"}}) {
    const ProcessResult result =
        RunCommand(fake, {"submit", path.string(), wrong.option + (wrong.option == "-n" ? "" : "=") + wrong.value});
    EXPECT_EQ(result.status, 2) << wrong.option;
    EXPECT_THAT(result.err, HasSubstr("expected a whole number " + wrong.range + ", found '" +
                                      wrong.value + "'"));
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
            "syncbn: --threads: expected a whole number from 1 to 4096, found '99999999999'");
  // No integer holds these.
  const std::string huge = "99999999999999999999";
  struct Bounded {
    std::vector<std::string> words;
    std::string range;
  };
  for (const Bounded& one :
       {Bounded{{"submit", path.string(), "--memory"}, "from 0 to 1073741824"},
        Bounded{{"submit", path.string(), "--max-retries"}, "from 0 to 1000"},
        Bounded{{"submit", path.string(), "--per-host"}, "from 1 to 2147483647"},
        Bounded{{"metrics", "17", "a", "--points"}, "from 1 to 20000"},
        Bounded{{"metrics", "17", "a", "--attempt"}, "from 1 to 2147483647"},
        Bounded{{"logs", "17", "--tail"}, "from 0 to 999999999999999999"},
        Bounded{{"verify", path.string(), "--processes"}, "from 1 to 2147483647"}}) {
    std::vector<std::string> words = one.words;
    words.push_back(huge);
    EXPECT_EQ(refusal(words), "syncbn: " + one.words.back() + ": expected a whole number " +
                                  one.range + ", found '" + huge + "'");
  }
  EXPECT_EQ(
      refusal({"submit", path.string(), "--priority=-" + huge}),
      "syncbn: --priority: expected a whole number from -1000 to 1000, found '-" + huge + "'");
  for (const std::string& time : {std::string("3651d"), std::string(400, '9') + "s"}) {
    EXPECT_EQ(refusal({"submit", path.string(), "--time-limit", time}),
              "syncbn: --time-limit: \"" + time + "\" is too long: from 1s to 3650d are allowed");
  }
  EXPECT_EQ(refusal({"submit", path.string(), "--time-limit", "0.5s"}),
            "syncbn: --time-limit: \"0.5s\" is too short: from 1s to 3650d are allowed");
  EXPECT_EQ(refusal({"job", huge}), "syncbn: there is no job " + huge);
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

TEST(Submit, SaysWhatCheckNotes) {
  TempFolder folder;
  const auto path = folder.path() / "run.yaml";
  WriteFileAtomically(path, kRunFile);
  FakeCoordinator fake;
  for (const char* form : {"--check", "--priority=1", "--json"}) {
    const ProcessResult result =
        RunCommand(fake, {"submit", path.string(), form, "--set", "train.optimizer=adamw", "--set",
                          "data.train_limit=2000000"});
    EXPECT_EQ(result.status, 0) << result.err;
    const bool json = std::string(form) == "--json";
    EXPECT_EQ(result.out.find("note: data.train_limit: there are ") == std::string::npos, json)
        << result.out;
    EXPECT_THAT(result.err, HasSubstr("warning: train.learning_rate.base is 0.1"));
  }
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
  for (const char* time : {"soon", "5x", "-3m", "1h2", "."}) {
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

}  // namespace
}  // namespace syncbn
