#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <stop_token>

#include "app/commands.h"
#include "app/console.h"
#include "app/exit_code.h"
#include "app/run/backend_program.h"
#include "app/run/output_folder.h"
#include "app/run/signals.h"
#include "app/run/subprocess.h"
#include "app/terminal.h"
#include "app/validators.h"
#include "app/versions.h"
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "config/run_file.h"
#include "train/metrics.h"
#include "train/safetensors.h"

namespace syncbn::app {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::string run_file;
  std::vector<std::string> sets;
  std::vector<int> processes = {1, 2, 3, 4};
  int64_t steps = 10;
  std::string backend = "auto";
  std::string folder;
};

// A folder for the runs, removed at the end unless the user named it.
class WorkFolder {
 public:
  explicit WorkFolder(const std::string& named) : keep_(!named.empty()) {
    if (keep_) {
      path_ = named;
      MakeOutputFolder(path_, "--keep");
      return;
    }
    std::string pattern = (fs::temp_directory_path() / "syncbn-verify-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) ThrowErrno("create", pattern);
    path_ = pattern;
  }
  ~WorkFolder() {
    std::error_code ignored;
    if (!keep_) fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  bool keep_;
  fs::path path_;
};

constexpr const char* kStopHeard =
    "\nsyncbn: asked to stop: the run under way is ended first; once more to end at once\n";

// The user has ended it.
struct Stopped {};

// Throws Stopped when all of its processes have ended.
void RunOnce(const Arguments& arguments, int processes, const fs::path& out,
             const std::vector<std::string>& more, const std::stop_token& stop) {
  std::vector<std::string> argv = {ProgramPath().string(), "train", arguments.run_file, "--out",
                                   out.string(), "--overwrite", "--quiet", "--no-evaluation",
                                   "--no-checkpoints", "--backend", arguments.backend};
  for (const std::string& set : arguments.sets) argv.insert(argv.end(), {"--set", set});
  for (const char* set : {"output.digests=true", "output.every_steps=1"}) {
    argv.insert(argv.end(), {"--set", set});
  }
  argv.insert(argv.end(), {"--set", "train.max_steps=" + std::to_string(arguments.steps)});
  argv.insert(argv.end(), more.begin(), more.end());
  if (processes > 1) argv = LocalMpirunCommand(processes, argv);
  const fs::path log = out.string() + ".log";
  if (stop.stop_requested()) throw Stopped();
  const int code = RunLogged(argv, log, stop);
  if (stop.stop_requested()) throw Stopped();
  // A run that diverges is compared as well, up to where it ended.
  if (code == kDiverged) {
    Say(stderr, "syncbn: warning: the run on %s diverged\n", Plural(processes, "process").c_str());
    return;
  }
  if (code == kSuccess) return;
  throw Error(ErrorCode::kAborted, "the run on " + Plural(processes, "process") +
                                       " ended with exit code " + std::to_string(code) + ":\n" +
                                       ReadFile(log));
}

std::map<int64_t, Digest> Digests(const fs::path& out) {
  std::map<int64_t, Digest> digests;
  for (const train::MetricRecord& record : train::ReadMetrics(out / "metrics.jsonl")) {
    if (record.split == "train" && record.digest) digests[record.step] = *record.digest;
  }
  return digests;
}

// Names of a dumped step in the order in which a step makes them: what was fed, running statistics
// (forward order), logits, gradients (backward order), what came out.
std::vector<std::string> InOrderOfComputation(const train::SafetensorsFile& dump) {
  std::vector<std::string> fed, statistics, outputs, gradients, after;
  for (const train::NamedTensor& tensor : dump.tensors) {
    const std::string& name = tensor.name;
    const bool running = name.find(".running_") != std::string::npos ||
                         name.find(".num_batches") != std::string::npos;
    const std::string kind = name.substr(0, name.find('.'));
    if (kind == "input" || kind == "dropout" || kind == "before") {
      fed.push_back(name);
    } else if (kind == "output") {
      outputs.push_back(name);
    } else if (kind == "gradient") {
      gradients.insert(gradients.begin(), name);
    } else {
      (running ? statistics : after).push_back(name);
    }
  }
  for (auto* part : {&statistics, &outputs, &gradients, &after})
    fed.insert(fed.end(), part->begin(), part->end());
  return fed;
}

std::string FirstDifference(const fs::path& left, const fs::path& right) {
  const train::SafetensorsFile a = train::ReadSafetensors(left), b = train::ReadSafetensors(right);
  std::map<std::string, const Tensor*> others;
  for (const train::NamedTensor& tensor : b.tensors) others[tensor.name] = &tensor.tensor;
  std::map<std::string, const Tensor*> ours;
  for (const train::NamedTensor& tensor : a.tensors) ours[tensor.name] = &tensor.tensor;
  for (const std::string& name : InOrderOfComputation(a)) {
    const auto other = others.find(name);
    if (other == others.end()) return name + " (missing in one of them)";
    if (!std::ranges::equal(ours[name]->Bytes(), other->second->Bytes())) return name;
  }
  return "";
}

// "gradient.layer1.0.bn1.weight", "after.optimizer.velocity.layer1.0.bn1.weight" -> "layer1.0.bn1"
std::string LayerOf(const std::string& tensor) {
  size_t begin = tensor.find('.') + 1;
  const size_t end = tensor.rfind('.');
  if (tensor.compare(begin, 10, "optimizer.") == 0) begin = tensor.find('.', begin + 10) + 1;
  return end > begin ? tensor.substr(begin, end - begin) : tensor;
}

int Verify(const Arguments& arguments, const std::stop_token& stop) {
  const config::RunFile file = config::LoadRunFile(arguments.run_file, arguments.sets);
  for (int processes : arguments.processes) {
    if (processes < 1 || processes > file.spec.cluster().replicas()) {
      throw Error(ErrorCode::kInvalidArgument,
                  "--processes: " + std::to_string(processes) + " does not fit a run of " +
                      Plural(file.spec.cluster().replicas(), "replica") + "; use numbers from 1 to " +
                      std::to_string(file.spec.cluster().replicas()));
    }
  }
  if (arguments.processes.size() < 2) {
    throw Error(ErrorCode::kInvalidArgument,
                "--processes: two runs or more are compared, e.g. --processes 1,2 (or 2,2 for the same "
                "run twice)");
  }
  const WorkFolder work(arguments.folder);
  std::vector<std::vector<std::string>> rows = {{"processes", "steps", "seconds", "digest after the last step"}};
  std::map<int64_t, Digest> expected;
  const int reference = arguments.processes.front();
  auto folder_of = [&](int processes) { return work.path() / ("p" + std::to_string(processes)); };
  for (int processes : arguments.processes) {
    Say(stderr, "running %s on %s\n", Plural(arguments.steps, "step").c_str(),
        Plural(processes, "process").c_str());
    const auto start = std::chrono::steady_clock::now();
    RunOnce(arguments, processes, folder_of(processes), {}, stop);
    const std::map<int64_t, Digest> digests = Digests(folder_of(processes));
    if (digests.empty()) {
      throw Error(ErrorCode::kInternal,
                  "the run on " + Plural(processes, "process") + " recorded no digests");
    }
    rows.push_back({std::to_string(processes), std::to_string(digests.size()),
                    Format("%.1f", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()),
                    digests.rbegin()->second.Hex()});
    if (processes == reference && expected.empty()) {
      expected = digests;
      continue;
    }
    for (const auto& [step, digest] : expected) {
      const auto found = digests.find(step);
      if (found != digests.end() && found->second == digest) continue;
      // Once more, this time keeping the step itself.
      const std::vector<std::string> dump = {"--dump-steps", "1", "--dump-from", std::to_string(step)};
      RunOnce(arguments, reference, folder_of(reference), dump, stop);
      RunOnce(arguments, processes, folder_of(processes), dump, stop);
      const std::string name = Format("steps/%06lld.safetensors", static_cast<long long>(step));
      const std::string tensor =
          FirstDifference(folder_of(reference) / name, folder_of(processes) / name);
      Say(stdout, "%sdifferent: %d and %d processes differ first in step %lld",
          FormatTable(rows, {true, true, true}).c_str(), reference, processes,
          static_cast<long long>(step));
      if (tensor.empty()) {
        Say(stdout, "; run again, that step came out equal: the difference is not repeatable\n");
      } else {
        Say(stdout, ", layer %s, tensor %s\n", LayerOf(tensor).c_str(), tensor.c_str());
      }
      if (file.spec.cluster().reduction() == v1::REDUCTION_NATIVE) {
        Say(stdout,
            "`reduction: native` promises equal bits only on the same number of processes\n");
      }
      return kNotIdentical;
    }
  }
  std::vector<std::string> list;
  for (int processes : arguments.processes) list.push_back(std::to_string(processes));
  const std::string steps =
      expected.size() == 1 ? "the step" : "each of " + std::to_string(expected.size()) + " steps";
  Say(stdout,
      "%sidentical: every parameter and running statistic after %s, on %s processes\n",
      FormatTable(rows, {true, true, true}).c_str(), steps.c_str(), Join(list, ", ").c_str());
  return kSuccess;
}

int VerifyUnlessStopped(const Arguments& arguments) {
  const StopOnSignal signal(kStopHeard);
  try {
    return Verify(arguments, signal.token());
  } catch (const Stopped&) {
    Say(stderr, "syncbn: stopped: nothing was compared to its end\n");
    return kStopped;
  }
}

}  // namespace

void AddVerifyCommand(CommandLine& line) {
  auto arguments = std::make_shared<Arguments>();
  Command command = line.parser.add_subcommand(
      "verify", "Run the same steps on several numbers of processes, compare bits");
  command->footer("Exit codes: 0 identical, 8 different, else as `syncbn train --help` says.");
  command->add_option("RUN.yaml", arguments->run_file, "the run file")->required();
  command->add_option("--processes", arguments->processes, "numbers of processes, e.g. 1,2,3,4")
      ->delimiter(',')
      ->check(WholeNumberFrom(1))
      ->capture_default_str();
  command->add_option("--steps", arguments->steps, "steps of each run")
      ->check(WholeNumberFrom(1, kAnyWhole))
      ->capture_default_str();
  command->add_option("--set", arguments->sets, "override a key of the run file")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  command->add_option("--backend", arguments->backend, kBackendHelp)->capture_default_str();
  command->add_option("--keep", arguments->folder, "keep the runs in this folder")->type_name("DIR");
  command->callback([arguments, &line] { line.exit_code = VerifyUnlessStopped(*arguments); });
}

}  // namespace syncbn::app
