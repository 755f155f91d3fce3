// Jobs as text for people.
#pragma once

#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "app/table.h"
#include "base/clock.h"
#include "syncbn/v1/job.pb.h"

namespace syncbn::app {

bool HasEnded(v1::Job::State state);
// "RUNNING", as in filters.
std::string StateName(v1::Job::State state);
Tone ToneOf(v1::Job::State state);
// "USER", "INFRA" and so on.
std::string ClassName(v1::Failure::Class value);

// "1,200/7,820", "1,200", or nothing before the first step.
std::string StepText(const v1::Progress& progress);
// "4 x 2": processes and the threads of each; "4" with one thread.
std::string SizeText(const v1::Resources& resources);
// "batch=32, seed=1": its labels, by their keys.
std::string LabelsText(const v1::Job& job);
// What tells the jobs of a list apart. On a terminal, where room is scarce, it is only that: without
// what all of them have in common, changes by the last words of their keys, the rest cut.
class JobTags {
 public:
  JobTags(const std::vector<const v1::Job*>& jobs, const Terminal& terminal);
  std::string Labels(const v1::Job& job) const;
  // "train.epochs=3, seed=2": the changes to its run file, without the path of the data.
  std::string Changes(const v1::Job& job) const;

 private:
  std::string Shown(std::vector<std::string> tags) const;

  bool brief_;
  std::set<std::string> common_labels_, common_changes_;
};
// "91.23 %"; nothing for what is not there.
std::string AccuracyText(std::optional<double> accuracy);
// Why it waits, why it failed, when it is tried again, or what is odd about it; in one line.
std::string NoteOf(const v1::Job& job, WallTime now);

std::string JobsTable(std::span<const v1::Job> jobs, const Terminal& terminal, WallTime now);

// Everything about one job.
struct JobPage {
  v1::Job job;
  std::vector<v1::Attempt> attempts;
  std::vector<v1::Transition> transitions;
  v1::ListCheckpointsResponse checkpoints;
  // Why those are not known; empty: they are.
  std::string checkpoints_unknown;
};
std::string JobText(const JobPage& page, const Terminal& terminal, WallTime now);

// "21:03:11  RUNNING    all 4 ranks have registered"
std::string TransitionLine(const v1::Transition& transition, const Terminal& terminal);

// What a job that has ended came to, in a few lines, with what to do next.
std::string EndText(const v1::Job& job, const Terminal& terminal);

// The exit code of a command that followed the job to its end.
int ExitCodeOf(v1::Job::State state);

}  // namespace syncbn::app
