// What a job may use, or each trial of a study, as options: all but its processes.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "app/command_line.h"
#include "syncbn/v1/job.pb.h"

namespace syncbn::app {

class ResourceOptions {
 public:
  // `whose` ends the job after its time limit: "the job". Outlives the command line.
  void AddTo(Command command, const std::string& whose);
  // Throws INVALID_ARGUMENT for a time that is none.
  v1::Resources Resources() const;

 private:
  std::vector<std::string> host_tags_, hosts_, excluded_hosts_;
  std::string time_limit_;
  int threads_ = 1, priority_ = 0, max_retries_ = -1, per_host_ = 0;
  int64_t memory_ = 0;
};

}  // namespace syncbn::app
