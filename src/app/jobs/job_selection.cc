#include "app/jobs/job_selection.h"

#include <algorithm>
#include <cctype>

#include "app/client_text.h"
#include "base/text.h"

namespace syncbn::app {
namespace {

// A value may hold blanks; of the two quotes, one that it does not hold.
std::string Quoted(const std::string& value) {
  const std::string quote = value.find('"') == std::string::npos ? "\"" : "'";
  return quote + value + quote;
}

}  // namespace

const char* const kFilterHelp =
    "A filter is made of terms joined by AND: FIELD OP VALUE, with the fields state, name, submitter,\n"
    "priority, attempt, create_time, end_time, labels.KEY and failure (its class), and the operators\n"
    "= != < <= > >= and : (contains).\n";

void JobSelection::AddTo(Command command, const std::string& group) {
  std::vector<Option> options = {
      command.add_option("--state", state, "queued, running, failed, ..., or open, or ended")
          .type_name("STATE"),
      command.add_option("--name", name, "only jobs in whose name this stands").type_name("TEXT"),
      command.add_option("--label", labels, "only jobs with this label; may be given again")
          .type_name("KEY=VALUE")
          .allow_extra_args(false),
      command.add_option("--filter", filter, "only jobs that match").type_name("TERMS")};
  if (group.empty()) return;
  for (const Option& option : options) option.group(group);
}

bool JobSelection::empty() const {
  return filter.empty() && state.empty() && name.empty() && labels.empty();
}

std::string JobSelection::Filter() const {
  std::vector<std::string> terms;
  if (!filter.empty()) terms.push_back(filter);
  if (!state.empty()) {
    // As the coordinator spells them: open and ended in small letters, states in capitals.
    std::string spelled = state;
    if (state != "open" && state != "ended") {
      std::transform(spelled.begin(), spelled.end(), spelled.begin(),
                     [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    }
    terms.push_back("state = " + spelled);
  }
  if (!name.empty()) terms.push_back("name : " + Quoted(name));
  for (const std::string& label : labels) {
    const auto [key, value] = ParsePair(label, "--label");
    terms.push_back("labels." + key + " = " + Quoted(value));
  }
  return Join(terms, " AND ");
}

JobList ListJobs(client::Connection& connection, const std::string& filter, size_t most) {
  constexpr size_t kPage = 1000;
  JobList list;
  v1::ListJobsRequest request;
  request.set_filter(filter);
  do {
    request.set_page_size(static_cast<int>(std::min(kPage, most - list.jobs.size())));
    const v1::ListJobsResponse response = connection.Call(&v1::JobService::Stub::ListJobs, request);
    list.jobs.insert(list.jobs.end(), response.jobs().begin(), response.jobs().end());
    request.set_page_token(response.next_page_token());
    list.more = !response.next_page_token().empty();
  } while (list.more && list.jobs.size() < most);
  return list;
}

}  // namespace syncbn::app
