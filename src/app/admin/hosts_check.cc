#include "app/admin/hosts_check.h"

#include <cctype>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "app/console.h"
#include "app/exit_code.h"
#include "app/serve/hosts_file.h"
#include "app/table.h"
#include "app/terminal.h"
#include "app/versions.h"
#include "base/error.h"
#include "base/file.h"
#include "base/printable.h"
#include "base/text.h"
#include "base/untrusted_json.h"
#include "coordinator/launch/process.h"

namespace syncbn::app {
namespace {

namespace fs = std::filesystem;
using coordinator::CommandResult;

constexpr std::chrono::seconds kHostTime{20};
constexpr std::chrono::seconds kStepTime{60};
// What certificates, tokens and people who compare logs put up with.
constexpr double kClockSeconds = 2;

// A folder that is gone at the end.
class Scratch {
 public:
  explicit Scratch(const fs::path& parent) {
    std::string path = (parent / ".hosts-check-XXXXXX").string();
    std::error_code error;
    made_ = fs::create_directories(parent, error);
    if (::mkdtemp(path.data()) == nullptr) {
      throw Error(ErrorCode::kInvalidArgument, parent.string() + " cannot be written");
    }
    path_ = path;
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
    // A check leaves nothing behind; what is not empty stays.
    if (made_) fs::remove(path_.parent_path(), ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const fs::path& path() const { return path_; }

 private:
  bool made_ = false;  // the folder in which it is
  fs::path path_;
};

struct HostReport {
  std::string name;
  bool reached = false;
  nlohmann::json info;  // of `syncbn info --json`; null where it did not run
  bool shares_folder = false;
  double clock_seconds = 0;      // ahead of this machine's
  double clock_uncertainty = 0;  // half of the time that the question took
  std::vector<std::string> faults;
};

std::string LastLine(const CommandResult& result) {
  if (result.timed_out) return "no answer within " + std::to_string(kHostTime.count()) + " s";
  std::string text = result.error_output.empty() ? result.output : result.error_output;
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.pop_back();
  text = text.substr(text.rfind('\n') + 1);
  return text.empty() ? "exit code " + std::to_string(result.exit_code) : text;
}

double Now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

class HostsCheck {
 public:
  HostsCheck(const fs::path& hosts_file, const fs::path& folder)
      : cluster_(LoadHostsFile(hosts_file)), scratch_(fs::absolute(folder)) {
    if (cluster_.program.empty()) cluster_.program = ProgramPath().string();
    coordinator::ValidateMpirunSettings(cluster_.mpirun);
  }

  int Run() {
    for (const coordinator::HostCapacity& host : cluster_.hosts)
      reports_.push_back(Look(host.name));
    Compare();
    PrintTable();
    bool good = true;
    for (const HostReport& report : reports_) {
      for (const std::string& fault : report.faults) {
        good = false;
        Say(stdout, "%s: %s\n", OneLine(report.name).c_str(), OneLine(fault).c_str());
      }
    }
    std::fflush(stdout);
    if (!good) {
      Say(stdout, "mpirun was not tried: mend these first.\n");
      return kFailure;
    }
    return TrainOneStep() ? kSuccess : kFailure;
  }

 private:
  CommandResult On(const std::string& host, const std::vector<std::string>& words) const {
    std::vector<std::string> command;
    if (!coordinator::RemoteHosts({{.host = host, .processes = 1}}).empty()) {
      command = cluster_.mpirun.launch_agent;
      command.push_back(host);
    }
    command.insert(command.end(), words.begin(), words.end());
    try {
      return coordinator::RunCommand(command, kHostTime);
    } catch (const Error& error) {
      return {.exit_code = 127, .error_output = error.what()};
    }
  }

  HostReport Look(const std::string& name) const {
    HostReport report{.name = name};
    const double before = Now();
    const CommandResult date = On(name, {"date", "+%s.%N"});
    const double after = Now();
    double there = 0;
    std::from_chars(date.output.data(), date.output.data() + date.output.size(), there);
    if (date.exit_code != 0 || there == 0) {
      report.faults.push_back("not reached (" + LastLine(date) + "); the command was: " +
                              Join(cluster_.mpirun.launch_agent, " ") + " " + name + " date");
      return report;
    }
    report.reached = true;
    report.clock_seconds = there - (before + after) / 2;
    report.clock_uncertainty = (after - before) / 2;
    if (std::abs(report.clock_seconds) > kClockSeconds + report.clock_uncertainty) {
      report.faults.push_back(
          Format("its clock is %.1f s %s this machine's: run a time service on both",
                 std::abs(report.clock_seconds), report.clock_seconds > 0 ? "ahead of" : "behind"));
    }
    const CommandResult info = On(name, {cluster_.program, "info", "--json"});
    report.info = UntrustedJsonOrNull(info.output);
    if (info.exit_code != 0 || !report.info.is_object()) {
      report.info = nullptr;
      report.faults.push_back(
          "syncbn does not run as " + cluster_.program + " (" + LastLine(info) +
          "): install it there, or name its path with `program` in the hosts file");
    }
    const fs::path mark = scratch_.path() / name;
    const CommandResult touch = On(name, {"touch", mark.string()});
    // Asked for through its folder: a network file system then looks again.
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(scratch_.path(), error)) {
      report.shares_folder = report.shares_folder || entry.path() == mark;
    }
    if (!report.shares_folder) {
      report.faults.push_back("does not share the folder " +
                              scratch_.path().parent_path().string() +
                              (touch.exit_code != 0 ? " (" + LastLine(touch) + ")"
                                                    : ": what it writes is not seen here") +
                              "; mount one file system at the same path on all");
    }
    return report;
  }

  // Against this program, which the coordinator is.
  void Compare() {
    const std::map<std::string, std::string> own = LibraryVersions();
    for (HostReport& report : reports_) {
      if (report.info.is_null()) continue;
      if (report.info.value("build", "") != ProgramDigest()) {
        report.faults.push_back("has another build of syncbn (" + report.info.value("syncbn", "?") +
                                "): ranks of a run refuse a mix; install the same one");
      }
      if (report.info.value("MPI", "") != own.at("MPI")) {
        report.faults.push_back("has " + report.info.value("MPI", "no MPI") + ", not " +
                                own.at("MPI"));
      }
      if (report.info.value("cpu", "") != reports_[0].info.value("cpu", "")) {
        report.faults.push_back(
            "computes with " + report.info.value("cpu", "?") + ", " + reports_[0].name + " with " +
            reports_[0].info.value("cpu", "?") +
            ": a job across both is refused; give them tags and ask for one kind (--host-tag)");
      }
    }
  }

  void PrintTable() const {
    Table table({{.header = "HOST"},
                 {.header = "REACHED"},
                 {.header = "BUILD"},
                 {.header = "CORES", .right = true},
                 {.header = "FOLDER"},
                 {.header = "CLOCK", .right = true},
                 {.header = "COMPUTES WITH", .goes = 1}});
    const auto tone = [](bool good) { return good ? Tone::kGood : Tone::kBad; };
    for (const HostReport& report : reports_) {
      const bool runs = !report.info.is_null();
      const bool same = runs && report.info.value("build", "") == ProgramDigest();
      table.Add({{OneLine(report.name)},
                 {report.reached ? "yes" : "no", tone(report.reached)},
                 {runs             ? (same ? "same" : "another")
                  : report.reached ? "none"
                                   : "",
                  tone(same)},
                 {runs ? std::to_string(report.info.value("cores", 0)) : ""},
                 {report.reached ? (report.shares_folder ? "shared" : "not shared") : "",
                  tone(report.shares_folder)},
                 {report.reached ? Format("%+.1f s", report.clock_seconds) : ""},
                 {runs ? OneLine(report.info.value("cpu", "")) : ""}});
    }
    Say(stdout, "%s", table.Render(Terminal::Of(stdout)).c_str());
  }

  // One process a host, one step, statistics over all of them.
  bool TrainOneStep() const {
    const int hosts = static_cast<int>(reports_.size());
    const fs::path run_file = scratch_.path() / "run.yaml", hostfile = scratch_.path() / "hostfile";
    WriteFileAtomically(run_file,
                        "name: hosts-check\ndata: {dataset: shapes, shapes: {train_samples: " +
                            std::to_string(4 * hosts) +
                            ", test_samples: 4}}\nmodel: {architecture: lenet}\n"
                            "cluster: {replicas: " +
                            std::to_string(hosts) +
                            ", batch_per_replica: 4}\n"
                            "train: {epochs: 1, max_steps: 1}\n");
    coordinator::LaunchRequest request;
    request.request.processes = hosts;
    for (const HostReport& report : reports_)
      request.placement.push_back({.host = report.name, .processes = 1});
    request.program = {cluster_.program,
                       "train",
                       run_file.string(),
                       "--out",
                       (scratch_.path() / "run").string(),
                       "--no-evaluation",
                       "--no-checkpoints",
                       "--quiet"};
    WriteFileAtomically(hostfile, coordinator::HostfileText(request.placement));
    ::setenv(std::string(coordinator::kMarkerVariable).c_str(), "hosts-check", 1);
    const auto start = std::chrono::steady_clock::now();
    CommandResult result;
    try {
      result = coordinator::RunCommand(MpirunCommand(cluster_.mpirun, request, hostfile.string()),
                                       kStepTime);
    } catch (const Error& error) {
      result = {.exit_code = 127, .error_output = error.what()};
    }
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (result.exit_code == 0 && !result.timed_out) {
      Say(stdout, "One training step under mpirun across %s: done in %.1f s.\n",
          Plural(hosts, "host").c_str(), seconds);
      return true;
    }
    Say(stdout, "%s", (result.output + result.error_output).c_str());
    Say(stdout,
        "One training step under mpirun across %s: %s. Hosts with several networks need `mca` in "
        "the\n"
        "hosts file, as in launch/hosts.example.yaml; firewalls must let the hosts reach each "
        "other by TCP.\n",
        Plural(hosts, "host").c_str(),
        result.timed_out
            ? Format("not done in %lld s", static_cast<long long>(kStepTime.count())).c_str()
            : Format("failed with exit code %d", result.exit_code).c_str());
    return false;
  }

  Cluster cluster_;
  Scratch scratch_;
  std::vector<HostReport> reports_;
};

}  // namespace

int CheckHosts(const fs::path& hosts_file, const fs::path& folder) {
  return HostsCheck(hosts_file, folder).Run();
}

}  // namespace syncbn::app
