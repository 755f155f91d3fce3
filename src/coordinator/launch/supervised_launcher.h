// The launchers `local` and `hosts`: mpirun under a supervisor on this machine.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "coordinator/launch/attempt_folder.h"
#include "coordinator/launch/launcher.h"
#include "coordinator/launch/mpirun_command.h"

namespace syncbn::coordinator {

class SupervisedLauncher : public Launcher {
 public:
  struct Options {
    // "local" or "hosts": for people only.
    std::string name = "local";
    // Starts a supervisor when "--folder FOLDER" is added, e.g. {"/usr/bin/syncbn", "supervise"}.
    std::vector<std::string> supervise;
    MpirunSettings mpirun;
    // Path of syncbn on the hosts, for the sweep. Plain characters only: ssh hands it to a shell.
    std::string remote_program = "syncbn";
    std::chrono::milliseconds start_time = std::chrono::seconds(15);
    // For what the kernel told to end after its supervisor had died.
    std::chrono::milliseconds end_time = std::chrono::seconds(5);
  };

  // INVALID_ARGUMENT for settings that cannot work.
  explicit SupervisedLauncher(Options options);

  std::string Name() const override { return options_.name; }
  std::vector<std::string> Tools() const override;
  void Start(const LaunchRequest& request) override;
  Observation Observe(const AttemptRef& attempt) override;
  void Stop(const AttemptRef& attempt, StopLevel level, const std::string& reason) override;
  std::optional<RankActivity> LookAtRanks(const AttemptRef& attempt) override;
  Observation Force(const AttemptRef& attempt) override;

 private:
  // What is needed to sweep for an attempt whose attempt.json is lost, on all hosts that there are.
  v1::AttemptSpec SpecForSweep(const AttemptRef& attempt) const;

  Options options_;
};

// What attempt.json says of a request, but for the command and the environment. Shared by
// launchers.
v1::AttemptSpec MakeAttemptSpec(const LaunchRequest& request);

// Closes an attempt whose lock the caller holds and that has no exit record to be used (`damage`:
// why not, where there is one): kills what is left here and on its other hosts, and writes the
// record. `for_sweep` stands in for an attempt.json that cannot be used. Waits `patience` for what
// is ending by itself. Throws only where the record cannot be written; what else goes wrong is in
// its message.
v1::ExitRecord CloseWithoutSupervisor(const AttemptFolder& folder, const v1::AttemptSpec& for_sweep,
                                      std::string damage, std::chrono::milliseconds patience);

}  // namespace syncbn::coordinator
