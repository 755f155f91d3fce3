// The commands about studies of a coordinator, below `syncbn study`.
#pragma once

#include "app/client_options.h"

namespace syncbn::app {

void AddStudySubmit(Command study, CommandLine& line);
// list, show, pause, resume, retry, cancel and delete.
void AddStudyVerbs(Command study, CommandLine& line);
void AddStudyFetch(Command study, CommandLine& line);

// Returns when the study ("studies/3") has ended (kSuccess, kJobFailed, kJobCancelled, also where
// it was deleted meanwhile) or on Ctrl-C (kInterrupted), which leaves it running. A coordinator
// that goes away is waited for.
int FollowStudy(client::Connection& connection, const std::string& study, bool json);

}  // namespace syncbn::app
