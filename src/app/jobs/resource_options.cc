#include "app/jobs/resource_options.h"

#include "app/client_text.h"
#include "app/validators.h"
#include "coordinator/service/submission.h"

namespace syncbn::app {

void ResourceOptions::AddTo(Command command, const std::string& whose) {
  const char* group = "Resources";
  const auto list = [&](const char* name, std::vector<std::string>& target, const char* help,
                        const char* type) {
    command->add_option(name, target, help)->type_name(type)->allow_extra_args(false)->group(group);
  };
  command->add_option("--threads", threads_, "cores of each process")
      ->type_name("N")
      ->capture_default_str()
      ->check(WholeNumberFrom(1, coordinator::kMostThreads))
      ->group(group);
  command->add_option("--memory", memory_, "memory of each process (default: not counted)")
      ->type_name("MIB")
      ->check(WholeNumberFrom(0, coordinator::kMostMemoryMib))
      ->group(group);
  command->add_option("--priority", priority_, "higher runs first, -1000 to 1000")
      ->type_name("N")
      ->capture_default_str()
      ->check(WholeNumberFrom(-coordinator::kMostPriority, coordinator::kMostPriority))
      ->group(group);
  command
      ->add_option("--time-limit", time_limit_,
                   "ends " + whose +
                       " after this time of running, e.g. 90m; jobs that state\none can fill gaps "
                       "in the queue")
      ->type_name("TIME")
      ->group(group);
  command
      ->add_option("--max-retries", max_retries_,
                   "restarts after failures of the machinery (default: 3)")
      ->type_name("N")
      ->check(WholeNumberFrom(0, coordinator::kMostRetries))
      ->group(group);
  list("--host-tag", host_tags_, "only hosts with this tag; may be given again", "TAG");
  list("--host", hosts_, "only this host; may be given again", "HOST");
  list("--not-host", excluded_hosts_, "never this host; may be given again", "HOST");
  command->add_option("--per-host", per_host_, "at most N processes on a host")
      ->type_name("N")
      ->check(WholeNumberFrom(1))
      ->group(group);
}

v1::Resources ResourceOptions::Resources() const {
  v1::Resources resources;
  resources.set_threads_per_process(threads_);
  resources.set_memory_mib_per_process(memory_);
  for (const std::string& tag : host_tags_) resources.add_host_tags(tag);
  for (const std::string& host : hosts_) resources.add_hosts(host);
  for (const std::string& host : excluded_hosts_) resources.add_excluded_hosts(host);
  resources.set_max_processes_per_host(per_host_);
  resources.set_priority(priority_);
  if (!time_limit_.empty()) {
    resources.mutable_time_limit()->set_seconds(
        ParseDuration(time_limit_, "--time-limit", coordinator::kLongestTimeLimit).count());
  }
  if (max_retries_ >= 0) resources.set_max_retries(max_retries_);
  return resources;
}

}  // namespace syncbn::app
