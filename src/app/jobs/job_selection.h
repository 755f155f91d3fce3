// Which jobs a command is about, by what they have in common: the options --state, --name, --label
// and --filter.
#pragma once

#include <string>
#include <vector>

#include "app/command_line.h"
#include "client/connection.h"

namespace syncbn::app {

struct JobSelection {
  std::string filter, state, name;
  std::vector<std::string> labels;

  void AddTo(Command command, const std::string& group = "");
  bool empty() const;
  // All of them as one filter of ListJobs; throws INVALID_ARGUMENT for a label that is none.
  std::string Filter() const;
};

// What a filter may say, for --help.
extern const char* const kFilterHelp;

struct JobList {
  std::vector<v1::Job> jobs;  // newest first
  bool more = false;          // there are others beyond `most`
};
// The newest `most` jobs that match. Throws what asking throws.
JobList ListJobs(client::Connection& connection, const std::string& filter, size_t most);

}  // namespace syncbn::app
