// Studies as their users run them: planned, run, killed, gone on with, reported.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "base/host.h"
#include "tests/e2e/study_fixture.h"

namespace syncbn {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

TEST_F(StudyTest, IsPlannedWithItsTrialsItsRulesAndItsTime) {
  const ProcessResult result = RunProcess(Command({"plan", file_.string()}));
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("tiny: 3 cells (3 of batch), 2 seeds each: 6 trials"));
  EXPECT_THAT(result.out, HasSubstr("train.learning_rate.base is tuned first by test_accuracy: 2 values for each cell"));
  EXPECT_THAT(result.out, HasSubstr("It does\n  test_accuracy: batch 16 minus batch 2\n  "
                                    "supported where the whole 95 % interval is above 0.3"));
  EXPECT_THAT(result.out, HasSubstr("on this machine"));
}

TEST_F(StudyTest, IsPlannedWithTheTimeOfItsProbes) {
  std::string text = kStudy;
  text.replace(text.find("  train: {epochs: 4}"), 20,
               "  train: {epochs: 4}\n  probes: {hessian: 1}");
  WriteFileAtomically(file_, text);
  EXPECT_THAT(RunProcess(Command({"plan", file_.string()})).out,
              HasSubstr("(by a few steps of 3 cells and a figure of each probe)"));
}

TEST_F(StudyTest, LeavesAReportItsTablesAndWhatItWasMadeOf) {
  const ProcessResult result = RunProcess(RunInto("out"));
  ASSERT_EQ(result.status, 0) << result.err << result.out;
  EXPECT_THAT(result.out, HasSubstr("Of 1 claim: 1 "));
  const std::string csv = Read("out/trials.csv");
  EXPECT_THAT(csv, HasSubstr("trial,batch,seed,train.learning_rate.base,purpose,end,steps,samples,"
                             "test_accuracy,"));
  EXPECT_EQ(static_cast<size_t>(std::count(csv.begin(), csv.end(), '\n')), Results("out") + 1);
  EXPECT_THAT(Read("out/report.html"), HasSubstr("Does the normalization batch matter?"));
  EXPECT_THAT(Read("out/report.md"), HasSubstr("# Does the normalization batch matter?"));
  EXPECT_THAT(Read("out/report.md"), HasSubstr("](figures/figure-1.svg)"));
  EXPECT_THAT(Read("out/figures/figure-1.svg"), HasSubstr("</svg>"));
  EXPECT_EQ(Read("out/study.yaml"), kStudy);

  // Nothing is left to do; the report can be made again of the folder alone, wherever that is.
  const size_t results = Results("out");
  fs::remove(file_);
  fs::rename(folder_.path() / "out", folder_.path() / "moved");
  const ProcessResult again =
      RunProcess(Command({"report", (folder_.path() / "moved").string()}));
  ASSERT_EQ(again.status, 0) << again.err;
  EXPECT_EQ(Read("moved/trials.csv"), csv);
  EXPECT_EQ(Results("moved"), results);
}

TEST_F(StudyTest, KilledAtAnyMomentItEndsInTheSameTableAndRunsNoTrialTwice) {
  ASSERT_EQ(RunProcess(RunInto("whole")).status, 0);
  std::mt19937 random(7);
  int kills = 0;
  while (true) {
    const size_t before = Results("parts");
    Process process(RunInto("parts"));
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    // Where all results are there already no more will come: only the report is left.
    while (kills < 20 && before < Results("whole") && Results("parts") <= before &&
           std::chrono::steady_clock::now() < end) {
      if (::kill(process.pid(), 0) != 0) break;
      ::usleep(1000);
    }
    if (kills < 20 && Results("whole") > Results("parts")) {
      ::usleep(random() % 20'000);
      process.Signal(SIGKILL);
      ++kills;
      process.Wait();
      continue;
    }
    const ProcessResult result = process.Wait();
    ASSERT_EQ(result.status, 0) << result.err;
    break;
  }
  EXPECT_GE(kills, 4);
  EXPECT_EQ(Read("parts/trials.csv"), Read("whole/trials.csv"));
  EXPECT_EQ(Results("parts"), Results("whole"));
}

TEST_F(StudyTest, AskedToStopItKeepsWhatHasEndedAndTheSameCommandGoesOn) {
  Process process(RunInto("out"));
  ASSERT_TRUE(process.WaitForText("1/", std::chrono::seconds(60)));
  process.Signal(SIGTERM);
  const ProcessResult stopped = process.Wait();
  // It may have been done just then.
  ASSERT_TRUE(stopped.status == 75 || stopped.status == 0) << stopped.status << stopped.err;
  if (stopped.status == 75) {
    EXPECT_THAT(stopped.out, HasSubstr("stopped; the same command goes on"));
    EXPECT_THAT(stopped.out, HasSubstr("Not complete: "));
  }
  const size_t kept = Results("out");
  EXPECT_GE(kept, 1u);
  const ProcessResult rest = RunProcess(RunInto("out"));
  ASSERT_EQ(rest.status, 0) << rest.err;
  EXPECT_GE(Results("out"), kept);
}

TEST_F(StudyTest, AWrongFileIsRefusedBeforeAnythingIsMade) {
  WriteFileAtomically(file_, std::string(kStudy) + "axis: []\n");
  const ProcessResult result = RunProcess(RunInto("out"));
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, HasSubstr("axis: unknown key; did you mean `axes`?"));
  EXPECT_FALSE(fs::exists(folder_.path() / "out"));
}

TEST_F(StudyTest, AFolderOfSomethingElseIsRefusedAndLeftAsItIs) {
  fs::create_directory(folder_.path() / "mine");
  WriteFileAtomically(folder_.path() / "mine" / "study.yaml", "precious");
  const ProcessResult run = RunProcess(RunInto("mine"));
  EXPECT_EQ(run.status, 2);
  EXPECT_THAT(run.err, HasSubstr("holds files that are not of a study"));
  EXPECT_THAT(run.err, HasSubstr("give another folder"));
  EXPECT_EQ(Read("mine/study.yaml"), "precious");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path() / "mine"), {}), 1);

  const ProcessResult report =
      RunProcess(Command({"report", (folder_.path() / "mine").string()}));
  EXPECT_EQ(report.status, 2);
  EXPECT_THAT(report.err, HasSubstr("is not the folder of a study: it has no "));
}

TEST_F(StudyTest, AFolderThatCannotBeMadeIsNamedWithTheReason) {
  const ProcessResult file = RunProcess(RunInto("tiny.yaml"));
  EXPECT_EQ(file.status, 2);
  EXPECT_THAT(file.err, HasSubstr("tiny.yaml is not a folder; give another"));
  EXPECT_EQ(Read("tiny.yaml"), kStudy);
  const ProcessResult below = RunProcess(RunInto("tiny.yaml/out"));
  EXPECT_EQ(below.status, 2);
  EXPECT_THAT(below.err, HasSubstr("cannot make the folder "));
  EXPECT_THAT(below.err, HasSubstr("tiny.yaml/out: Not a directory"));
}

TEST_F(StudyTest, SoManyAtOnceAsItsKeyAllows) {
  const ProcessResult result =
      RunProcess(Command({"run", file_.string(), "--at-once", "1025"}));
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, HasSubstr("from 1 to 1024"));
}

TEST_F(StudyTest, ATrialThatDivergedIsALineWithoutAdviceOfARun) {
  WriteFileAtomically(file_, R"(name: wild
run:
  data: {dataset: shapes, shapes: {train_samples: 128, test_samples: 64}}
  model: {architecture: mlp, hidden: [16, 16, 16], norm: none}
  cluster: {replicas: 1, batch_per_replica: 8}
  train: {epochs: 4, learning_rate: {base: 1000}}
seeds: 1
)");
  const ProcessResult result = RunProcess(RunInto("out"));
  ASSERT_EQ(result.status, 0) << result.err;
  const size_t begin = result.out.find("diverged: ");
  ASSERT_NE(begin, std::string::npos) << result.out;
  const std::string line = result.out.substr(begin, result.out.find('\n', begin) - begin);
  EXPECT_THAT(line, HasSubstr("not finite"));
  EXPECT_THAT(line, ::testing::Not(HasSubstr("replay")));
  EXPECT_LE(line.size(), 80u) << line;
}

// In its own process as under mpirun: where it was trained is gone when anybody reads why it ended.
TEST_F(StudyTest, TheReasonOfATrialThatDivergedNamesNoFolder) {
  for (const std::string processes : {"1", "2"}) {
    WriteFileAtomically(file_, R"(name: wild
run:
  data: {dataset: shapes, shapes: {train_samples: 128, test_samples: 64}}
  model: {architecture: mlp, hidden: [16, 16, 16], norm: none}
  cluster: {replicas: 2, batch_per_replica: 8}
  train: {epochs: 4, learning_rate: {base: 1000}}
set: {processes: )" + processes + "}\nseeds: 1\n");
    const std::string out = "out" + processes;
    const ProcessResult result = RunProcess(RunInto(out));
    ASSERT_EQ(result.status, 0) << result.err;
    for (const char* file : {"/results.jsonl", "/report.md"}) {
      const std::string text = Read(out + file);
      EXPECT_THAT(text, HasSubstr("not finite")) << file;
      EXPECT_THAT(text, ::testing::Not(HasSubstr("replay"))) << file;
      EXPECT_THAT(text, ::testing::Not(HasSubstr(folder_.path().string()))) << file;
    }
  }
}

TEST_F(StudyTest, ResultsOfAnotherBackEndAreNotPassedOffAndChangedRulesAreSaid) {
  const std::vector<std::string> small = {"--set", "seeds=1", "--set", "tune.widen=0"};
  const auto run = [&](std::vector<std::string> more) {
    ProcessOptions command = RunInto("out");
    command.argv.insert(command.argv.end(), small.begin(), small.end());
    command.argv.insert(command.argv.end(), more.begin(), more.end());
    return RunProcess(command);
  };
  ASSERT_EQ(run({}).status, 0);
  const std::string cpu = Read("out/trials.csv");
  const ProcessResult reference = run({"--backend", "reference"});
  ASSERT_EQ(reference.status, 0) << reference.err;
  EXPECT_THAT(reference.out, HasSubstr("of another program or back end: not counted"));
  EXPECT_NE(Read("out/trials.csv"), cpu);
  EXPECT_THAT(Read("out/report.md"), ::testing::Not(HasSubstr("The rules were changed")));
  std::string text = kStudy;
  text.replace(text.find("above: 0.3"), 10, "above: 0.1");
  WriteFileAtomically(file_, text);
  ASSERT_EQ(run({"--backend", "reference"}).status, 0);
  EXPECT_THAT(Read("out/report.md"), HasSubstr("The rules were changed after "));
}

TEST_F(StudyTest, ItsKeysAreExplained) {
  const ProcessResult result = RunProcess({.argv = {SyncbnProgram(), "explain", "--study", "axes"}});
  EXPECT_EQ(result.status, 0);
  EXPECT_THAT(result.out, HasSubstr("What trials differ in"));
  EXPECT_THAT(result.out, ::testing::Not(HasSubstr("resumed")));
}

// Without the codes of a terminal: the longest line that stays on it, in characters.
size_t WidestLine(const std::string& shown) {
  size_t widest = 0, columns = 0;
  for (size_t i = 0; i < shown.size(); ++i) {
    const auto c = static_cast<unsigned char>(shown[i]);
    if (c == 0x1b) {
      i = shown.find_first_of("mK", i);
    } else if (c == '\n' || c == '\r') {
      columns = 0;
    } else if ((c & 0xc0) != 0x80) {
      widest = std::max(widest, ++columns);
    }
  }
  return widest;
}

TEST_F(StudyTest, NothingOfItIsWiderThanATerminal) {
  std::string text = kStudy;
  const std::string words(" of many words that say the same once more and again");
  for (const char* key : {"Does the normalization batch matter?", "{text: It does"}) {
    std::string longer = key;
    for (int i = 0; i < 4; ++i) longer += words;
    text.replace(text.find(key), std::string(key).size(), longer);
  }
  text.replace(text.find("- {path: model.norm.batch,"), 26,
               "- {name: " + std::string(70, 'n') + ", path: model.norm.batch,");
  for (size_t at; (at = text.find("{batch: ")) != std::string::npos;) {
    text.replace(at, 7, "{" + std::string(70, 'n') + ":");
  }
  WriteFileAtomically(file_, text);
  const std::string plan = OutputOnTerminal(Command({"plan", file_.string()}));
  EXPECT_THAT(plan, HasSubstr("on this machine"));
  EXPECT_LE(WidestLine(plan), 100u) << plan;
  const std::string run = OutputOnTerminal(RunInto("out"));
  EXPECT_THAT(run, HasSubstr("trials.csv"));
  EXPECT_LE(WidestLine(run), 100u) << run;
}

TEST_F(StudyTest, KeysThatOnlyAStudyHasAreExplainedAndSoAreThoseOfTheRunFile) {
  const auto explained = [](std::vector<std::string> words) {
    words.insert(words.begin(), {SyncbnProgram(), "explain"});
    return RunProcess({.argv = words});
  };
  for (const char* key : {"sgd_batch", "steps", "samples", "processes"}) {
    const ProcessResult result = explained({"--study", key});
    EXPECT_EQ(result.status, 0) << key;
    EXPECT_THAT(result.out, testing::StartsWith(std::string(key) + "\n  "));
    EXPECT_THAT(result.out, HasSubstr("stands in         `set`, and the `path`"));
    const ProcessResult of_run = explained({key});
    EXPECT_NE(of_run.status, 0);
    EXPECT_THAT(of_run.err, HasSubstr(std::string("syncbn explain --study ") + key));
  }
  EXPECT_THAT(explained({"--study", "train.epochs"}).out, testing::StartsWith("train.epochs\n"));
  EXPECT_THAT(explained({"--study", "axse"}).err, HasSubstr("did you mean `axes`?"));
}

TEST_F(StudyTest, TheFolderOfAnotherStudyIsRefused) {
  ASSERT_EQ(RunProcess(RunInto("out")).status, 0);
  std::string other = kStudy;
  other.replace(other.find("tiny"), 4, "huge");
  WriteFileAtomically(file_, other);
  const ProcessResult result = RunProcess(RunInto("out"));
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, HasSubstr("is the folder of the study `tiny`; give another folder"));
  EXPECT_EQ(Read("out/study.yaml"), kStudy);
}

TEST_F(StudyTest, DataThatAreNotThereEndItAndNameTheTrial) {
  WriteFileAtomically(file_, R"(name: lost
run:
  data: {dataset: mnist, path: nowhere}
  model: {architecture: mlp, hidden: [4]}
axes: [{name: rate, path: train.learning_rate.base, values: [0.1, 1]}]
seeds: 1
)");
  const ProcessResult result = RunProcess(RunInto("out"));
  EXPECT_NE(result.status, 0);
  EXPECT_THAT(result.err, HasSubstr("nowhere"));
  EXPECT_THAT(result.err, HasSubstr("(rate "));
}

// A trial alone has the cores of the machine: two replicas with statistics of their own compute at
// once, and the memory of two is in use.
TEST_F(StudyTest, ATrialThatRunsAloneHasAllCores) {
  if (AvailableCores() < 2) GTEST_SKIP() << "needs two cores";
  WriteFileAtomically(file_, R"(name: alone
run:
  data: {dataset: shapes, shapes: {train_samples: 128, test_samples: 16}}
  model: {architecture: vgg_small, norm: {kind: batch, batch: replica}}
  cluster: {replicas: 2, batch_per_replica: 32}
at_once: 1
axes:
  - {name: rate, path: train.learning_rate.base, values: [0.01]}
seeds: 1
claims:
  - {text: Little memory, measure: tensor_bytes, arm: {rate: 0.01}, supported: {below: 1}}
)");
  const auto bytes = [&](const std::string& out, const std::vector<std::string>& before) {
    ProcessOptions options = RunInto(out);
    options.argv.insert(options.argv.begin(), before.begin(), before.end());
    const ProcessResult run = RunProcess(options);
    EXPECT_EQ(run.status, 0) << run.err << run.out;
    return nlohmann::json::parse(Read(out + "/results.jsonl"))["timings"]["tensor_bytes"]
        .get<double>();
  };
  cpu_set_t cores;
  ASSERT_EQ(sched_getaffinity(0, sizeof cores, &cores), 0);
  int first = 0;
  while (!CPU_ISSET(first, &cores)) ++first;
  const double on_all = bytes("all", {});
  const double on_one = bytes("one", {"taskset", "-c", std::to_string(first)});
  EXPECT_GT(on_all, 1.3 * on_one);
}

// The report names the machine of the trials and their day, whoever writes it when and where.
TEST_F(StudyTest, ItsReportSaysWhereAndWhenTheTrialsRanAndNotWhereItWasWritten) {
  ASSERT_EQ(RunProcess(RunInto("out")).status, 0);
  EXPECT_THAT(Read("out/report.md"), HasSubstr("- trials on " + HostName()));
  std::string results = Read("out/results.jsonl");
  const auto replace = [&](const std::string& what, const std::string& by) {
    size_t count = 0;
    for (size_t at = 0; (at = results.find(what, at)) != std::string::npos; at += by.size()) {
      results.replace(at, what.size(), by);
      ++count;
    }
    EXPECT_EQ(count, Results("out")) << what;
  };
  replace("\"hosts\":[\"" + HostName() + "\"]", R"("hosts":["elsewhere"])");
  for (size_t at = 0; (at = results.find("\"ended\":\"", at)) != std::string::npos; ++at) {
    results.replace(at + 9, 10, "2001-02-03");
  }
  const auto report_again = [&] {
    WriteFileAtomically(folder_.path() / "out/results.jsonl", results);
    return RunProcess(Command({"report", (folder_.path() / "out").string()}));
  };
  const ProcessResult refused = report_again();
  EXPECT_NE(refused.status, 0);
  EXPECT_THAT(refused.err, HasSubstr("results.jsonl:1: is damaged: its figures are not those that "
                                     "were written; remove the line"));
  // As an earlier program has left it.
  for (size_t at = 0; (at = results.find(",\"sum\":\"")) != std::string::npos;) {
    results.erase(at, results.find('}', at) - at);
  }
  ASSERT_EQ(report_again().status, 0);
  const std::string report = Read("out/report.md");
  EXPECT_THAT(report, HasSubstr("- trials on elsewhere, "));
  EXPECT_THAT(report, HasSubstr("; 2001-02-03"));
  EXPECT_THAT(report, ::testing::Not(HasSubstr("on " + HostName())));
  EXPECT_THAT(report, HasSubstr("- report written 20"));
}

}  // namespace
}  // namespace syncbn
