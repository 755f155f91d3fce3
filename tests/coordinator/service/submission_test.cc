// What a submitter can say, and what of it is refused.
#include "coordinator/service/submission.h"

#include <fstream>
#include <future>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/api_error.h"
#include "coordinator/control/file_system_pool.h"
#include "coordinator/service/status.h"
#include "tests/coordinator/store/store_fixture.h"
#include "tests/support/small_run.h"
#include "tests/support/temp_folder.h"

namespace syncbn::coordinator {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class SubmissionTest : public ::testing::Test {
 protected:
  SubmissionTest() {
    root = fs::canonical(folder.path());
    for (const char* name : {"output", "data", "data/cifar", "data2", "secret"})
      fs::create_directories(root / name);
    fs::create_directory_symlink(root / "secret", root / "output" / "out-link");
    fs::create_directory_symlink(root / "secret", root / "data" / "link");
    policy = {.output_root = root / "output",
              .data_roots = {root / "data"},
              .allowed_variables = {"NCCL_DEBUG"}};
    job.set_run_file(SmallRun(4, 8, "global"));
    job.set_run_file_name("small.yaml");
  }

  static std::string CifarRun(const std::string& path) {
    return "data: {dataset: cifar10, path: " + path +
           "}\nmodel: {architecture: resnet20}\ncluster: {replicas: 2, batch_per_replica: 8}\n"
           "train: {epochs: 1}\n";
  }
  Submission Checked() {
    Submission submission = CheckSubmission(job, "anna", policy);
    CheckFolders(submission, policy);
    return submission;
  }
  // "REASON: message" of the error.
  std::string Refusal() {
    try {
      Checked();
    } catch (const ApiError& error) {
      return error.reason() + ": " + error.message();
    }
    return "accepted";
  }

  TempFolder folder;
  fs::path root;
  SubmissionPolicy policy;
  v1::Job job;
};

TEST_F(SubmissionTest, AJobIsTakenWithItsDefaultsAndNothingThatIsNotTheSubmittersToSay) {
  job.set_name("jobs/99");
  job.set_submitter("carla");
  job.set_state(v1::Job::SUCCEEDED);
  job.add_overrides("train.max_steps=7");
  (*job.mutable_labels())["team"] = "vision";
  (*job.mutable_environment())["NCCL_DEBUG"] = "INFO";
  job.set_output_folder("team/run");
  const Submission taken = Checked();
  EXPECT_EQ(taken.spec.name(), "");
  EXPECT_EQ(taken.spec.submitter(), "anna");
  EXPECT_EQ(taken.spec.state(), v1::Job::STATE_UNSPECIFIED);
  EXPECT_EQ(taken.spec.display_name(), "run");
  EXPECT_EQ(taken.spec.resources().processes(), 1);
  EXPECT_EQ(taken.spec.resources().threads_per_process(), 1);
  EXPECT_EQ(taken.spec.output_folder(), root / "output" / "team" / "run");
  EXPECT_EQ(taken.spec.run_file(), "") << "kept apart";
  EXPECT_EQ(taken.run_file.text, job.run_file());
  EXPECT_THAT(taken.run_file.effective, HasSubstr("max_steps: 7"));
}

TEST_F(SubmissionTest, ThePatienceThatARunFileStatesIsKeptWithTheJob) {
  EXPECT_FALSE(Checked().spec.has_stall_timeout()) << "the default is no statement";
  job.add_overrides("cluster.stall_timeout=2.5");
  EXPECT_EQ(FromProto(Checked().spec.stall_timeout()), std::chrono::milliseconds(2500));
}

TEST_F(SubmissionTest, AWrongRunFileIsRefusedWithEveryFaultAtTheUsersOwnLine) {
  job.set_run_file(
      "data: {dataset: shapes}\nmodel: {architecture: resnet2O}\ntrain: {epochs: -1}\n");
  job.add_overrides("train.momentum=0.9");
  try {
    CheckSubmission(job, "anna", policy);
    FAIL() << "accepted";
  } catch (const RunFileError& error) {
    EXPECT_EQ(error.reason(), "RUN_FILE_INVALID");
    ASSERT_EQ(error.errors().errors_size(), 3) << error.message();
    EXPECT_EQ(error.errors().errors(0).file(), "small.yaml");
    EXPECT_EQ(error.errors().errors(0).line(), 2);
    EXPECT_EQ(error.errors().errors(1).line(), 3);
    EXPECT_EQ(error.errors().errors(2).file(), "--set");
  }
}

TEST_F(SubmissionTest, RunFilesAreLimitedInSizeAndDepth) {
  job.set_run_file("# " + std::string(policy.max_run_file_bytes, 'x') + "\n" + job.run_file());
  EXPECT_THAT(Refusal(), HasSubstr("TOO_LARGE: the run file has "));
  job.set_run_file("data: " + std::string(1000, '[') + "\n");
  EXPECT_THAT(Refusal(), HasSubstr("RUN_FILE_INVALID"));
  job.clear_run_file();
  EXPECT_EQ(Refusal(), "FIELD_INVALID: run_file is empty");
}

TEST_F(SubmissionTest, ResourcesMustFitTheRunFileAndThemselves) {
  v1::Resources& resources = *job.mutable_resources();
  resources.set_processes(4);
  EXPECT_EQ(Refusal(), "accepted");
  resources.set_processes(5);
  EXPECT_EQ(Refusal(),
            "RESOURCES_INVALID: the job asks for 5 processes, but its run file has 4 replicas: a "
            "process hosts at least one replica");
  job.add_overrides("cluster.replicas=8");
  EXPECT_EQ(Refusal(), "accepted") << "the replicas in effect count";
  const auto refusal = [&](const std::function<void(v1::Resources&)>& change) {
    resources.Clear();
    change(resources);
    return Refusal();
  };
  EXPECT_EQ(refusal([](v1::Resources& r) { r.set_processes(-1); }),
            "RESOURCES_INVALID: processes is -1; it must be at least 1");
  EXPECT_EQ(refusal([](v1::Resources& r) { r.set_threads_per_process(-1); }),
            "RESOURCES_INVALID: threads_per_process is -1; it must be from 1 to 4096");
  EXPECT_EQ(refusal([](v1::Resources& r) { r.set_memory_mib_per_process(-1); }),
            "RESOURCES_INVALID: memory_mib_per_process is -1; it must be from 0 to 1073741824");
  EXPECT_EQ(refusal([](v1::Resources& r) { r.set_max_processes_per_host(-1); }),
            "RESOURCES_INVALID: max_processes_per_host is -1; it must be from 0 to 2147483647");
  EXPECT_EQ(refusal([](v1::Resources& r) { r.set_priority(1001); }),
            "RESOURCES_INVALID: priority is 1001; it must be from -1000 to 1000");
  EXPECT_EQ(refusal([](v1::Resources& r) { r.mutable_time_limit(); }),
            "RESOURCES_INVALID: time_limit is 0 s; it must be from 1 s to 315360000 s, ten "
            "years");
  EXPECT_EQ(refusal([](v1::Resources& r) { r.mutable_time_limit()->set_seconds(INT64_MAX); }),
            "RESOURCES_INVALID: time_limit is 9223372036854775807 s; it must be from 1 s to "
            "315360000 s, ten "
            "years");
  EXPECT_EQ(refusal([](v1::Resources& r) { r.mutable_time_limit()->set_seconds(INT64_MIN); }),
            "RESOURCES_INVALID: time_limit is -9223372036854775808 s; it must be from 1 s to "
            "315360000 s, ten "
            "years");
  EXPECT_EQ(refusal([](v1::Resources& r) { r.set_max_retries(-1); }),
            "RESOURCES_INVALID: max_retries is -1; it must be from 0 to 1000");
}

TEST_F(SubmissionTest, OutputIsNeitherInAnotherJobsFolderNorInOneThatAnotherJobWillGet) {
  std::filesystem::create_directories(root / "output" / "theirs" / "checkpoints");
  std::ofstream(root / "output" / "theirs" / kOutputOwnerFile) << "store/jobs/3";
  job.set_output_folder("theirs/checkpoints");
  EXPECT_THAT(Refusal(), HasSubstr("NOT_ALLOWED_PATH: output_folder 'theirs/checkpoints' is inside the "
                                   "output folder of another job, "));
  for (const char* reserved : {"job-14", "job-14/x", "./job-1"}) {
    job.set_output_folder(reserved);
    EXPECT_THAT(Refusal(), HasSubstr("folders named job-N are those of jobs that ask for none"))
        << reserved;
  }
  for (const char* good : {"job-x", "job", "my/job-14"}) {
    job.set_output_folder(good);
    EXPECT_EQ(Refusal(), "accepted") << good;
  }
}

TEST_F(SubmissionTest, AFolderWhoseOwnersFileIsEmptiedOrDamagedIsNobodyElses) {
  const std::filesystem::path theirs = root / "output" / "theirs";
  std::filesystem::create_directories(theirs);
  for (const char* content : {"", "\n", "rubbish", "store/jobs/", "/jobs/3", "store/jobs/3x"}) {
    std::ofstream(theirs / kOutputOwnerFile) << content;
    EXPECT_THAT(
        ErrorOf([&] { CheckOutputIsFree(theirs); }),
        HasSubstr("ALREADY_EXISTS: output_folder " + theirs.string() + " is a job's (the file "))
        << content;
    EXPECT_THAT(ErrorOf([&] { OwnerOfOutput(theirs); }),
                HasSubstr("as in STORE/jobs/17 (the id is in the file jobs/store-id"))
        << content;
  }
  std::ofstream(theirs / kOutputOwnerFile) << "store/jobs/3\n";
  EXPECT_EQ(OwnerOfOutput(theirs), "store/jobs/3");
  EXPECT_THAT(ErrorOf([&] { CheckOutputIsFree(theirs); }), HasSubstr("belongs to jobs/3"));
}

TEST_F(SubmissionTest, AListOfResourcesThatIsWrongIsNamed) {
  v1::Resources resources;
  resources.add_excluded_hosts("node\u009b1");
  EXPECT_EQ(ErrorOf([&] { CheckResources(resources, 4); }),
            "INVALID_ARGUMENT: resources.excluded_hosts holds a control character");
  resources.Clear();
  for (int i = 0; i < 10'001; ++i) resources.add_host_tags("a");
  EXPECT_EQ(ErrorOf([&] { CheckResources(resources, 4); }),
            "INVALID_ARGUMENT: resources.host_tags has 10001 entries; at most 1024 are allowed");
}

TEST_F(SubmissionTest, OutputStaysBelowItsRootWhateverDotsAndLinksSay) {
  for (const std::string& bad :
       {std::string("."), std::string("a/.."), std::string("../secret"), std::string("/etc"),
        std::string("a/../../secret"), std::string("out-link"), std::string("out-link/run"),
        (root / "secret").string(), (root / "output").string(), (root / "outputs").string()}) {
    job.set_output_folder(bad);
    EXPECT_THAT(Refusal(), HasSubstr("NOT_ALLOWED_PATH: output_folder '" + bad +
                                     "' is not below the output root of this server, "))
        << bad;
  }
  for (const std::string& good :
       {std::string("a"), std::string("a/b/../c"), (root / "output" / "x").string()}) {
    job.set_output_folder(good);
    EXPECT_EQ(Refusal(), "accepted") << good;
  }
  job.set_output_folder(std::string("a\0b", 3));
  EXPECT_THAT(Refusal(), HasSubstr("FIELD_INVALID: output_folder holds a control character"));
}

TEST_F(SubmissionTest, DataIsReadBelowTheDataRootsOnly) {
  job.set_run_file(CifarRun((root / "data" / "cifar").string()));
  EXPECT_EQ(Refusal(), "accepted");
  for (const std::string& bad :
       {(root / "secret").string(), (root / "data" / "link").string(), (root / "data2").string(),
        (root / "data" / ".." / "secret").string(), std::string("/etc")}) {
    job.set_run_file(CifarRun(bad));
    EXPECT_THAT(Refusal(),
                HasSubstr("NOT_ALLOWED_PATH: data.path '" + bad +
                          "' is outside the data folders; data folders of this server: " +
                          (root / "data").string()))
        << bad;
  }
  job.set_run_file(CifarRun("cifar"));
  EXPECT_THAT(Refusal(), HasSubstr("must be an absolute path"));
  // An override is as much the submitter's word as the file.
  job.set_run_file(CifarRun((root / "data" / "cifar").string()));
  job.add_overrides("data.path=/etc");
  EXPECT_THAT(Refusal(), HasSubstr("NOT_ALLOWED_PATH: data.path '/etc'"));
  job.clear_overrides();
  // So are the weights to begin with.
  job.add_overrides("model.init.from=/etc/shadow");
  EXPECT_THAT(Refusal(), HasSubstr("NOT_ALLOWED_PATH: model.init.from '/etc/shadow'"));
  job.clear_overrides();
  policy.data_roots.clear();
  EXPECT_THAT(Refusal(), HasSubstr("this server has none (its option --data-root)"));
}

TEST_F(SubmissionTest, NothingButCheckFoldersLooksAtAFolder) {
  // Nothing of what is named is there, and the root's name is taken by a file.
  policy.output_root = "/dev/null/output";
  policy.data_roots = {"/dev/null/data"};
  job.set_run_file(CifarRun("/dev/null/data/cifar"));
  job.set_output_folder("mine");
  Submission submission = CheckSubmission(job, "anna", policy);
  EXPECT_EQ(submission.spec.output_folder(), "mine");
  EXPECT_EQ(submission.inputs.data, "/dev/null/data/cifar");
}

TEST_F(SubmissionTest, TheFolderThatHangsIsNamedAndNotLookedAtAgain) {
  // As long as a thread may need to begin on a busy machine.
  FileSystemPool file_system({.threads = 4, .patience = std::chrono::seconds(1)});
  std::promise<void> answer;
  const std::shared_future<void> answers = answer.get_future().share();
  const std::string root_name = "the output root " + policy.output_root.string();
  const std::string hangs = ErrorOf([&] {
    file_system.Run("the folders of the job", [answers, root_name] {
      NowAccessing(root_name);
      answers.wait();
    });
  });
  EXPECT_EQ(hangs, "UNAVAILABLE: " + root_name +
                       " did not answer within 1 s: its file system hangs or "
                       "is overloaded. Try again when it answers");
  // What a submission looks at is named as it goes, the root first: more than there are threads.
  job.set_output_folder("mine");
  for (int i = 0; i < 8; ++i) {
    Submission submission = CheckSubmission(job, "anna", policy);
    EXPECT_THAT(ErrorOf([&] {
                  file_system.Run("the folders of the job",
                                  [submission, policy = policy]() mutable {
                                    CheckFolders(submission, policy);
                                  });
                }),
                HasSubstr(root_name + " has not answered another look for more than 1 s"));
  }
  // Other folders are looked at as before.
  job.clear_output_folder();
  job.set_run_file(CifarRun((root / "data" / "cifar").string()));
  Submission submission = CheckSubmission(job, "anna", policy);
  EXPECT_EQ(ErrorOf([&] {
              file_system.Run("the folders of the job", [submission, policy = policy]() mutable {
                CheckFolders(submission, policy);
              });
            }),
            "");
  answer.set_value();
}

TEST_F(SubmissionTest, OnlyVariablesOnTheListAreSet) {
  (*job.mutable_environment())["LD_PRELOAD"] = "/tmp/evil.so";
  EXPECT_EQ(Refusal(),
            "NOT_ALLOWED_VARIABLE: variable 'LD_PRELOAD' is not one that jobs may set; allowed "
            "are: NCCL_DEBUG");
  job.clear_environment();
  (*job.mutable_environment())["NCCL_DEBUG=1\nLD_PRELOAD"] = "x";
  EXPECT_THAT(Refusal(), HasSubstr("NOT_ALLOWED_VARIABLE"));
  job.clear_environment();
  (*job.mutable_environment())["NCCL_DEBUG"] = "a\nLD_PRELOAD=/tmp/evil.so";
  EXPECT_EQ(Refusal(), "FIELD_INVALID: variable 'NCCL_DEBUG' holds a control character");
  policy.allowed_variables.clear();
  (*job.mutable_environment())["NCCL_DEBUG"] = "INFO";
  EXPECT_THAT(Refusal(), HasSubstr("this server allows none"));
}

TEST_F(SubmissionTest, AllThatIsWrongWithVariablesIsSaidAtOnce) {
  policy.allowed_variables = {"A", "B", "C"};
  auto& variables = *job.mutable_environment();
  variables["A"] = std::string(5000, 'x');
  variables["B"] = "\a" + std::string(60'000, 'x');
  variables["C"] = "\a";
  EXPECT_THAT(Refusal(), testing::StartsWith("FIELD_INVALID: variables 'A', 'B' have more"));
  variables["B"] += std::string(1000, 'x');
  EXPECT_EQ(Refusal(),
            "FIELD_INVALID: variables 'A', 'B' have more than the 4096 bytes allowed of each; "
            "variables 'B', 'C' hold control characters; environment has 66011 bytes in all; at "
            "most 65536 are allowed, as workers are started with them");
  for (const char* name : {"D", "E", "F", "G", "H", "PATH"}) variables[name] = "";
  EXPECT_THAT(Refusal(), testing::AllOf(testing::StartsWith(
                                            "NOT_ALLOWED_VARIABLE: variables 'D', 'E', 'F', 'G' "
                                            "and 2 more are not ones that jobs may set; "
                                            "variables 'A', 'B' have more"),
                                        testing::EndsWith("; allowed are: A, B, C")));
}

TEST_F(SubmissionTest, LabelsAndOtherTextsAreLimited) {
  (*job.mutable_labels())["team"] = "two words";
  EXPECT_THAT(Refusal(),
              HasSubstr("FIELD_INVALID: label 'two words': keys and values have 1 to 63"));
  job.clear_labels();
  for (int i = 0; i < 33; ++i) (*job.mutable_labels())["k" + std::to_string(i)] = "v";
  EXPECT_EQ(Refusal(), "FIELD_INVALID: labels has 33 entries; at most 32 are allowed");
  job.clear_labels();
  job.set_run_file_name("a\033[2Jb");
  EXPECT_EQ(Refusal(), "FIELD_INVALID: run_file_name holds a control character");
  job.clear_run_file_name();
  for (int i = 0; i < 257; ++i) job.add_overrides("train.epochs=1");
  EXPECT_EQ(Refusal(), "FIELD_INVALID: overrides has 257 entries; at most 256 are allowed");
}

// Each alone would be taken, and the job would fail at its start.
TEST_F(SubmissionTest, WhatIsTooMuchToStartWorkersWithIsRefusedWithTheLimit) {
  for (int i = 0; i < 17; ++i) job.add_overrides("name=" + std::string(4000, 'x'));
  EXPECT_EQ(Refusal(),
            "FIELD_INVALID: overrides has 68102 bytes in all; at most 65536 are allowed, as workers are "
            "started with them");
  job.clear_overrides();
  for (int i = 0; i < 20; ++i) {
    policy.allowed_variables.push_back("V" + std::to_string(i));
    (*job.mutable_environment())[policy.allowed_variables.back()] = std::string(4000, 'x');
  }
  EXPECT_THAT(Refusal(), HasSubstr("FIELD_INVALID: environment has 80"));
  job.clear_environment();
  for (int i = 0; i < 1000; ++i) job.mutable_resources()->add_hosts(std::string(200, 'h'));
  EXPECT_THAT(Refusal(), HasSubstr("FIELD_INVALID: resources.hosts has 201000 bytes in all; at most 65536"));
  job.clear_resources();
  EXPECT_EQ(Refusal(), "accepted");
}

TEST_F(SubmissionTest, APathThatLinuxDoesNotTakeIsRefusedWithTheLimit) {
  job.set_output_folder(std::string(256, 'a'));
  EXPECT_EQ(Refusal(),
            "FIELD_INVALID: output_folder has a name of 256 bytes in it; at most 255 are allowed");
  std::string deep = "a";
  while (deep.size() <= 3072) deep += "/" + std::string(99, 'a');
  job.set_output_folder(deep);
  EXPECT_THAT(Refusal(), HasSubstr("FIELD_INVALID: output_folder has 3"));
  job.set_output_folder("a/" + std::string(255, 'a'));
  EXPECT_EQ(Refusal(), "accepted");
  job.set_run_file(CifarRun("/data/" + std::string(300, 'b')));
  EXPECT_EQ(Refusal(), "FIELD_INVALID: data.path has a name of 300 bytes in it; at most 255 are allowed");
}

}  // namespace
}  // namespace syncbn::coordinator
