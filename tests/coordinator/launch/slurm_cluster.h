// A Slurm of its own on this machine: munged, slurmctld and two slurmd (nodes n1 and n2, two CPUs
// each) as children of the test, with keys, state and logs in a temporary folder and ports that were
// free. Whoever makes it owns the daemons; its end ends them. SLURM_CONF is set for this process.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "coordinator/launch/process.h"
#include "tests/support/process.h"
#include "tests/support/temp_folder.h"

namespace syncbn::coordinator {

class SlurmCluster {
 public:
  // What is missing to start one; empty when all is there.
  static std::string Missing();

  // Returns when both nodes are idle. Throws with the daemons' last words when they will not be.
  SlurmCluster();
  ~SlurmCluster();

  // Runs a command of Slurm; its output, or both outputs where it failed.
  std::string Ask(const std::vector<std::string>& command) const;

 private:
  void WriteConfiguration();
  void Start(std::vector<std::string> command);

  TempFolder folder_;
  std::vector<std::unique_ptr<Process>> daemons_;
};

}  // namespace syncbn::coordinator
