#include "tests/coordinator/launch/slurm_cluster.h"

#include <arpa/inet.h>
#include <pwd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <random>
#include <stdexcept>
#include <thread>

#include "base/file.h"
#include "base/host.h"

namespace syncbn::coordinator {
namespace {

// Ports that nobody listens on now. All are held until the last is found, so that they differ.
std::vector<int> FreePorts(int count) {
  std::vector<int> ports, sockets;
  for (int i = 0; i < count; ++i) {
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockets.push_back(socket);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    socklen_t size = sizeof address;
    if (::bind(socket, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      throw std::runtime_error("no free port");
    }
    ports.push_back(ntohs(address.sin_port));
  }
  for (const int socket : sockets) ::close(socket);
  return ports;
}

}  // namespace

std::string SlurmCluster::Missing() {
  for (const char* program : {"munged", "slurmctld", "slurmd", "sbatch"}) {
    bool found = false;
    for (const char* folder : {"/usr/sbin/", "/usr/bin/", "/usr/local/sbin/", "/usr/local/bin/"}) {
      found |= ::access((std::string(folder) + program).c_str(), X_OK) == 0;
    }
    if (!found) {
      return std::string(program) + " is not installed: apt-get install --no-install-recommends " +
             "munge slurm-client slurmctld slurmd";
    }
  }
  return "";
}

SlurmCluster::SlurmCluster() {
  // Daemons live in the system's folders of programs, which are not on every user's PATH.
  const char* path = std::getenv("PATH");
  ::setenv("PATH", (std::string(path ? path : "/usr/bin:/bin") + ":/usr/sbin:/sbin").c_str(), 1);
  WriteConfiguration();
  const std::string f = folder_.path().string() + "/", conf = f + "slurm.conf";
  ::setenv("SLURM_CONF", conf.c_str(), 1);
  // --force: the temporary folder is closed to other users, which is fine here.
  Start({"munged", "--foreground", "--force", "--socket=" + f + "munge", "--key-file=" + f + "key",
         "--log-file=" + f + "munged.log", "--pid-file=" + f + "munged.pid",
         "--seed-file=" + f + "seed"});
  Start({"slurmctld", "-D", "-i", "-f", conf});
  for (const char* node : {"n1", "n2"}) Start({"slurmd", "-D", "-N", node, "-f", conf});
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (Ask({"sinfo", "--noheader", "--Node", "--format=%N %T"}) != "n1 idle\nn2 idle\n") {
    if (std::chrono::steady_clock::now() > end) {
      std::string text = "Slurm did not start:\n";
      for (const auto& daemon : daemons_) text += daemon->Out() + daemon->Err();
      daemons_.clear();
      throw std::runtime_error(text);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

SlurmCluster::~SlurmCluster() {
  // No job outlives its cluster.
  const std::string user = ::getpwuid(::geteuid())->pw_name;
  Ask({"scancel", "--full", "--signal=KILL", "--user=" + user});
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (std::chrono::steady_clock::now() < end &&
         !Ask({"squeue", "--noheader", "--states=running,completing"}).empty()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  // The newest first: a slurmd wants to tell its controller, and the controller its munged.
  while (!daemons_.empty()) {
    daemons_.back()->Signal(SIGTERM);
    daemons_.back()->Wait();
    daemons_.pop_back();
  }
  ::unsetenv("SLURM_CONF");
}

std::string SlurmCluster::Ask(const std::vector<std::string>& command) const {
  const CommandResult result = RunCommand(command, std::chrono::seconds(20));
  return result.exit_code == 0 ? result.output : result.output + result.error_output;
}

void SlurmCluster::WriteConfiguration() {
  std::random_device random;
  std::string key;
  for (int i = 0; i < 1024; ++i) key += static_cast<char>(random());
  const auto key_file = folder_.path() / "key";
  WriteFileAtomically(key_file, key);
  std::filesystem::permissions(key_file, std::filesystem::perms::owner_read);
  std::filesystem::create_directories(folder_.path() / "state");

  const std::string f = folder_.path().string() + "/", host = HostName();
  const std::string user = ::getpwuid(::geteuid())->pw_name;
  const std::vector<int> ports = FreePorts(3);
  std::string text = "ClusterName=test\nSlurmctldHost=" + host +
                     "(127.0.0.1)\nSlurmctldPort=" + std::to_string(ports[0]) +
                     "\nSlurmUser=" + user + "\nSlurmdUser=" + user +
                     "\nAuthType=auth/munge\nCredType=cred/munge\nAuthInfo=socket=" + f + "munge" +
                     "\nStateSaveLocation=" + f + "state\nSlurmdSpoolDir=" + f + "spool-%n" +
                     "\nSlurmctldPidFile=" + f + "slurmctld.pid\nSlurmdPidFile=" + f + "%n.pid" +
                     "\nSlurmctldLogFile=" + f + "slurmctld.log\nSlurmdLogFile=" + f + "%n.log";
  // No control groups, no accounting: nothing of this is left when the folder is gone.
  text +=
      "\nProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nSwitchType=switch/none"
      "\nJobAcctGatherType=jobacct_gather/none\nAccountingStorageType=accounting_storage/none"
      "\nSchedulerType=sched/builtin\nSchedulerParameters=batch_sched_delay=0,sched_interval=1"
      "\nSelectType=select/cons_tres\nSelectTypeParameters=CR_CPU\nMpiDefault=none"
      "\nReturnToService=2\nKillWait=10\nSlurmdParameters=config_overrides\n";
  for (int i : {1, 2}) {
    text += "NodeName=n" + std::to_string(i) + " NodeHostname=" + host +
            " NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000 Port=" + std::to_string(ports[i]) + "\n";
  }
  text += "PartitionName=main Nodes=n1,n2 Default=YES State=UP\n";
  WriteFileAtomically(folder_.path() / "slurm.conf", text);
}

void SlurmCluster::Start(std::vector<std::string> command) {
  // When the test is killed its daemons go with it.
  command.insert(command.begin(), {"setpriv", "--pdeathsig", "KILL"});
  daemons_.push_back(std::make_unique<Process>(
      ProcessOptions{.argv = std::move(command), .timeout = std::chrono::seconds(3600)}));
}

}  // namespace syncbn::coordinator
