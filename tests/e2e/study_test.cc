// Studies as their users run them: planned, run, killed, gone on with, reported.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "base/file.h"
#include "base/host.h"
#include "tests/support/process.h"
#include "tests/support/temp_folder.h"

namespace syncbn {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr const char* kStudy = R"(name: tiny
question: Does the normalization batch matter?
run:
  data: {dataset: shapes, shapes: {train_samples: 128, test_samples: 64}}
  model: {architecture: mlp, hidden: [16], norm: batch}
  cluster: {replicas: 2, batch_per_replica: 8}
  train: {epochs: 4}
axes:
  - {path: model.norm.batch, values: [2, 4, 16]}
seeds: 2
tune: {log: {from: 0.01, to: 0.1, points: 2}, widen: 1}
targets:
  - {name: fifth, metric: test_accuracy, at_least: 0.2}
claims:
  - {text: It does, arm: {batch: 16}, against: {batch: 2}, supported: {above: 0.3}}
)";

class StudyTest : public testing::Test {
 protected:
  StudyTest() { WriteFileAtomically(file_, kStudy); }

  ProcessOptions Command(std::vector<std::string> more) const {
    std::vector<std::string> argv = {SyncbnProgram(), "study"};
    argv.insert(argv.end(), more.begin(), more.end());
    return {.argv = std::move(argv), .working_folder = folder_.path().string()};
  }
  ProcessOptions RunInto(const std::string& out) const {
    return Command({"run", file_.string(), "--out", (folder_.path() / out).string()});
  }
  std::string Read(const std::string& path) const { return ReadFile(folder_.path() / path); }
  size_t Results(const std::string& out) const {
    std::ifstream file(folder_.path() / out / "results.jsonl");
    size_t lines = 0;
    for (std::string line; std::getline(file, line);) ++lines;
    return lines;
  }

  TempFolder folder_;
  fs::path file_ = folder_.path() / "tiny.yaml";
};

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

constexpr const char* kTwoProcesses = R"(name: two
run:
  data: {dataset: shapes, shapes: {train_samples: 4096, test_samples: 64}}
  model: {architecture: mlp, hidden: [64], norm: batch}
  cluster: {replicas: 2, batch_per_replica: 8}
  train: {epochs: 10000}
set: {processes: 2}
seeds: 1
)";

TEST_F(StudyTest, WithoutMpirunTrialsOfSeveralProcessesAreRefusedBeforeAnythingIsMade) {
  WriteFileAtomically(file_, kTwoProcesses);
  ProcessOptions run = RunInto("out");
  run.environment = {{"PATH", "/nonexistent"}};
  const ProcessResult result = RunProcess(run);
  EXPECT_NE(result.status, 0);
  EXPECT_THAT(result.err, HasSubstr("trials of up to 2 processes are started with mpirun"));
  EXPECT_FALSE(fs::exists(folder_.path() / "out"));
  ProcessOptions plan = Command({"plan", file_.string(), "--no-estimate"});
  plan.environment = run.environment;
  EXPECT_THAT(RunProcess(plan).out, HasSubstr("with mpirun, which is not installed"));
}

TEST_F(StudyTest, AfterCtrlCItEndsWhenTheRanksOfItsTrialsHave) {
  WriteFileAtomically(file_, kTwoProcesses);
  Process process(RunInto("out"));
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  // mpirun and two ranks.
  while (ProcessesNaming(folder_.path(), process.pid()).size() < 3 &&
         std::chrono::steady_clock::now() < end) {
    ::usleep(20'000);
  }
  ASSERT_EQ(ProcessesNaming(folder_.path(), process.pid()).size(), 3u);
  ::kill(-process.pid(), SIGINT);  // what a terminal does
  EXPECT_EQ(process.Wait().status, 75);
  EXPECT_THAT(ProcessesNaming(folder_.path()), testing::IsEmpty());
}

TEST_F(StudyTest, ARankThatIsKilledIsWhatItsTrialsReasonTells) {
  WriteFileAtomically(file_, kTwoProcesses);
  Process process(RunInto("out"));
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  // A rank that has trained a step: before, mpirun says less.
  const auto trains = [&] {
    try {
      for (const auto& entry : fs::recursive_directory_iterator(folder_.path())) {
        if (entry.path().filename() == "metrics.jsonl" && entry.file_size() > 0) return true;
      }
    } catch (const fs::filesystem_error&) {  // something has gone meanwhile
    }
    return false;
  };
  pid_t rank = 0;
  while (rank == 0 && std::chrono::steady_clock::now() < end) {
    ::usleep(20'000);
    if (!trains()) continue;
    for (const pid_t one : ProcessesNaming(folder_.path(), process.pid())) {
      if (ReadFile("/proc/" + std::to_string(one) + "/comm") == "syncbn\n") rank = one;
    }
  }
  ASSERT_NE(rank, 0);
  ::kill(rank, SIGKILL);
  EXPECT_EQ(process.Wait().status, 0);
  EXPECT_THAT(Read("out/results.jsonl"), HasSubstr("of 2 processes: "));
  EXPECT_THAT(Read("out/results.jsonl"), HasSubstr("exited on signal 9"));
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

// Trials on 1 and on 2 processes end in the same bits, and one page shows both studies.
TEST_F(StudyTest, ProcessesAreAnAxisAndAnOverviewShowsSeveralStudies) {
  WriteFileAtomically(file_, R"(name: processes
run:
  data: {dataset: shapes, shapes: {train_samples: 64, test_samples: 32}}
  model: {architecture: mlp, hidden: [8], norm: batch}
  cluster: {replicas: 2, batch_per_replica: 8}
axes:
  - {path: processes, values: [1, 2]}
  - {name: rate, path: train.learning_rate.base, values: [0.01, 0.1]}
seeds: 2
at_once: 1
claims:
  - {text: Same bits, compare: same_bits, arm: {processes: 1}, against: {processes: 2}}
  - {text: Other bits, compare: same_bits, arm: {rate: 0.1}, against: {rate: 0.01}, control: refuted}
  - {text: Two exchange messages, measure: step_messages, arm: {processes: 2}, against: {processes: 1}, supported: {above: 0}}
  - {text: Memory, measure: tensor_bytes, compare: ratio, arm: {processes: 2}, against: {processes: 1}, supported: {below: 1}}
  - {text: Time, measure: step_ms, arm: {processes: 2}, against: {processes: 1}, supported: {below: 0}}
)");
  const ProcessResult run = RunProcess(RunInto("out"));
  ASSERT_EQ(run.status, 0) << run.err << run.out;
  EXPECT_EQ(Results("out"), 8u);
  EXPECT_THAT(Read("out/report.md"), HasSubstr("waiting for statistics"));
  EXPECT_THAT(Read("out/timings.csv"), HasSubstr(",tensor_bytes,step_ms\n"));
  // 3072 x 8 of the first layer, 2 x 8 of the norm, 8 x 10 + 10 of the last one; in the own process
  // as under mpirun.
  const std::string results = Read("out/results.jsonl"), parameters = "\"parameters\":24682.0";
  size_t with = 0;
  for (size_t at = 0; (at = results.find(parameters, at)) != std::string::npos; ++at) ++with;
  EXPECT_EQ(with, 8u) << results;
  EXPECT_THAT(Read("out/report.md"), HasSubstr("**Supported**: Two exchange messages"));
  const ProcessResult overview = RunProcess(Command(
      {"overview", (folder_.path() / "out").string(), (folder_.path() / "out").string(), "--out",
       (folder_.path() / "page").string()}));
  ASSERT_EQ(overview.status, 0) << overview.err;
  EXPECT_THAT(overview.out, HasSubstr("Of 2 negative controls 2 came out as they must."));
  EXPECT_THAT(Read("page/overview.md"),
              HasSubstr("| processes | Same bits             | supported "));
  EXPECT_THAT(Read("page/overview.md"), HasSubstr("# 2 studies"));
  EXPECT_THAT(Read("page/overview.html"), HasSubstr("Other bits"));
  // Each form leads to the report of its own kind.
  for (const auto& [file, begin, end] :
       {std::array{"page/overview.html", "href=\"", "\""}, {"page/overview.md", "](", ")"}}) {
    const std::string page = Read(file), extension = fs::path(file).extension();
    int links = 0;
    for (size_t at = page.find(begin); at != std::string::npos; at = page.find(begin, at + 1)) {
      const size_t first = at + std::string(begin).size();
      const std::string target = page.substr(first, page.find(end, first) - first);
      if (target.starts_with("#") || target.starts_with("data:")) continue;
      EXPECT_EQ(target, "../out/report" + extension);
      EXPECT_TRUE(fs::exists(folder_.path() / "page" / target)) << target;
      ++links;
    }
    EXPECT_EQ(links, 2) << page;
  }
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
  WriteFileAtomically(folder_.path() / "out/results.jsonl", results);
  ASSERT_EQ(RunProcess(Command({"report", (folder_.path() / "out").string()})).status, 0);
  const std::string report = Read("out/report.md");
  EXPECT_THAT(report, HasSubstr("- trials on elsewhere, "));
  EXPECT_THAT(report, HasSubstr("; 2001-02-03"));
  EXPECT_THAT(report, ::testing::Not(HasSubstr("on " + HostName())));
  EXPECT_THAT(report, HasSubstr("- report written 20"));
}

}  // namespace
}  // namespace syncbn
