#include "app/jobs/job_text.h"

#include <algorithm>

#include "app/client_text.h"
#include "app/console.h"
#include "app/exit_code.h"
#include "base/printable.h"
#include "base/text.h"

namespace syncbn::app {
namespace {

std::string FailureLine(const v1::Failure& failure) {
  return ClassName(failure.class_()) + ": " + OneLine(failure.message());
}

std::vector<std::string> LabelsOf(const v1::Job& job) {
  std::vector<std::string> labels;
  for (const auto& [key, value] : job.labels()) labels.push_back(key + "=" + value);
  std::sort(labels.begin(), labels.end());
  return labels;
}

std::vector<std::string> ChangesOf(const v1::Job& job) {
  std::vector<std::string> changes(job.overrides().begin(), job.overrides().end());
  std::erase_if(changes, [](const std::string& change) { return change.starts_with("data.path="); });
  return changes;
}

// What is in every list; nothing where there is one only.
std::set<std::string> Common(const std::vector<std::vector<std::string>>& lists) {
  std::set<std::string> common;
  if (lists.size() < 2) return common;
  common.insert(lists[0].begin(), lists[0].end());
  for (const std::vector<std::string>& list : lists) {
    const std::set<std::string> here(list.begin(), list.end());
    std::erase_if(common, [&](const std::string& one) { return !here.contains(one); });
  }
  return common;
}

}  // namespace

bool HasEnded(v1::Job::State state) {
  return state == v1::Job::SUCCEEDED || state == v1::Job::FAILED || state == v1::Job::CANCELLED;
}

std::string StateName(v1::Job::State state) {
  const std::string& name = v1::Job::State_Name(state);
  // A state that a newer coordinator knows and this program does not.
  return name.empty() ? "STATE " + std::to_string(static_cast<int>(state)) : name;
}

std::string ClassName(v1::Failure::Class value) {
  const std::string& name = v1::Failure::Class_Name(value);
  return name.empty() || value == v1::Failure::CLASS_UNSPECIFIED ? "UNKNOWN" : name;
}

Tone ToneOf(v1::Job::State state) {
  switch (state) {
    case v1::Job::RUNNING:
    case v1::Job::STARTING: return Tone::kBusy;
    case v1::Job::SUCCEEDED: return Tone::kGood;
    case v1::Job::FAILED:
    case v1::Job::RECOVERING: return Tone::kBad;
    case v1::Job::PAUSED:
    case v1::Job::CANCELLED: return Tone::kDim;
    default: return Tone::kPlain;
  }
}

std::string StepText(const v1::Progress& progress) {
  if (progress.step() == 0 && progress.total_steps() == 0) return "";
  if (progress.total_steps() == 0) return Thousands(progress.step());
  return Thousands(progress.step()) + "/" + Thousands(progress.total_steps());
}

std::string SizeText(const v1::Resources& resources) {
  std::string text = std::to_string(std::max(1, resources.processes()));
  if (resources.threads_per_process() > 1) {
    text += " x " + std::to_string(resources.threads_per_process());
  }
  return text;
}

std::string LabelsText(const v1::Job& job) { return Join(LabelsOf(job), ", "); }

JobTags::JobTags(const std::vector<const v1::Job*>& jobs, const Terminal& terminal)
    : brief_(terminal.is_terminal) {
  if (!brief_) return;
  std::vector<std::vector<std::string>> labels, changes;
  for (const v1::Job* job : jobs) {
    labels.push_back(LabelsOf(*job));
    changes.push_back(ChangesOf(*job));
  }
  common_labels_ = Common(labels);
  common_changes_ = Common(changes);
}

std::string JobTags::Shown(std::vector<std::string> tags) const {
  constexpr size_t kMost = 40;
  const std::string text = Join(tags, ", ");
  if (!brief_ || DisplayWidth(text) <= kMost) return text;
  return std::string(FirstColumns(text, kMost - 3)) + "...";
}

std::string JobTags::Labels(const v1::Job& job) const {
  std::vector<std::string> labels = LabelsOf(job);
  std::erase_if(labels, [&](const std::string& one) { return common_labels_.contains(one); });
  return Shown(std::move(labels));
}

std::string JobTags::Changes(const v1::Job& job) const {
  std::vector<std::string> changes = ChangesOf(job);
  std::erase_if(changes, [&](const std::string& one) { return common_changes_.contains(one); });
  for (std::string& change : changes) {
    const size_t dot = change.rfind('.', change.find('='));
    if (brief_ && dot != std::string::npos) change.erase(0, dot + 1);
  }
  return Shown(std::move(changes));
}

std::string AccuracyText(std::optional<double> accuracy) {
  return accuracy ? Fixed(100 * *accuracy, 2) + " %" : "";
}

std::string NoteOf(const v1::Job& job, WallTime now) {
  std::vector<std::string> notes;
  switch (job.state()) {
    case v1::Job::QUEUED:
    case v1::Job::STARTING:  // where a batch system lets it wait
    case v1::Job::RUNNING:   // where its node does not answer
      if (job.has_pending()) notes.push_back(job.pending().message());
      break;
    case v1::Job::RECOVERING: {
      std::string note = "attempt " + std::to_string(job.attempt()) + " failed, " +
                         FailureLine(job.failure());
      if (job.has_retry_time()) note += "; again " + In(job.retry_time(), now);
      notes.push_back(note);
      break;
    }
    case v1::Job::PAUSED:
      if (job.progress().has_checkpoint_step()) {
        notes.push_back("checkpoint at step " + Thousands(job.progress().checkpoint_step()));
      }
      break;
    case v1::Job::FAILED: notes.push_back(FailureLine(job.failure())); break;
    default: break;
  }
  if (job.liveness() == v1::Job::STALE) notes.push_back("a rank has not reported for a while");
  if (job.liveness() == v1::Job::UNREACHABLE) notes.push_back("cannot be heard; it may be well");
  if (!job.possibly_held_hosts().empty()) {
    notes.push_back("may still hold processes on " + Join(std::vector<std::string>(
        job.possibly_held_hosts().begin(), job.possibly_held_hosts().end()), ", "));
  }
  return OneLine(Join(notes, "; "));
}

std::string JobsTable(std::span<const v1::Job> jobs, const Terminal& terminal, WallTime now) {
  Table table({{.header = "JOB", .right = true},
               {.header = "NAME", .goes = 4},
               {.header = "LABELS", .goes = 1},
               {.header = "SET", .goes = 3},
               {.header = "STATE"},
               {.header = "STEP", .right = true, .goes = 6},
               {.header = "ACCURACY", .right = true, .goes = 2},
               {.header = "BEST", .right = true, .goes = 5},
               {.header = "PROC", .right = true, .goes = 8},
               {.header = "SUBMITTED", .right = true, .goes = 7},
               {.header = "USED", .right = true, .goes = 9},
               {.header = "NOTE", .wraps = true}});
  std::vector<const v1::Job*> all;
  for (const v1::Job& job : jobs) all.push_back(&job);
  const JobTags tags(all, terminal);
  for (const v1::Job& job : jobs) {
    const double used = SecondsOf(job.used_time());
    const v1::Evaluation& newest = job.evaluation();
    std::optional<double> accuracy, best;
    if (newest.has_accuracy()) accuracy = newest.accuracy();
    if (newest.has_best_accuracy()) best = newest.best_accuracy();
    table.Add({{LastPart(job.name())},
               {job.display_name()},
               {tags.Labels(job)},
               {tags.Changes(job)},
               {StateName(job.state()), ToneOf(job.state())},
               {StepText(job.progress())},
               {AccuracyText(accuracy)},
               {AccuracyText(best)},
               {SizeText(job.resources())},
               {Ago(job.create_time(), now)},
               {used > 0 ? RoughDuration(used) : ""},
               {NoteOf(job, now)}});
  }
  return table.Render(terminal);
}

std::string TransitionLine(const v1::Transition& transition, const Terminal& terminal) {
  const std::string state = StateName(transition.to_state());
  const std::string line = LocalClock(TimeOf(transition.time())) + "  " +
                           terminal.Paint(state, ToneOf(transition.to_state()));
  if (transition.reason().empty()) return line;
  const std::string fill(state.size() < 10 ? 10 - state.size() : 0, ' ');
  return line + fill + "  " + OneLine(transition.reason());
}

std::string EndText(const v1::Job& job, const Terminal& terminal) {
  const std::string id = LastPart(job.name());
  std::string text = job.name() + " " + terminal.Paint(StateName(job.state()), ToneOf(job.state()));
  if (job.progress().step() > 0) text += " at step " + Thousands(job.progress().step());
  text += " after " + FormatDuration(SecondsOf(job.used_time()));
  if (job.attempt() > 1) text += " in " + std::to_string(job.attempt()) + " attempts";
  text += "\n";
  if (job.state() == v1::Job::FAILED) {
    text += "  " + FailureLine(job.failure()) + "\n";
    std::string excerpt = Printable(job.failure().excerpt());
    while (!excerpt.empty() && excerpt.back() == '\n') excerpt.pop_back();
    for (size_t begin = 0; !excerpt.empty() && begin <= excerpt.size();) {
      const size_t end = std::min(excerpt.find('\n', begin), excerpt.size());
      text += "  | " + excerpt.substr(begin, end - begin) + "\n";
      begin = end + 1;
    }
    const bool can_go_on = job.progress().has_checkpoint_step();
    text += "  All its output: syncbn logs " + id + ". To " +
            (can_go_on ? "go on from step " + Thousands(job.progress().checkpoint_step()) : "start it again") +
            ": syncbn retry " + id + ".\n";
  } else if (job.state() == v1::Job::SUCCEEDED && !job.output_folder().empty()) {
    text += "  output    " + OneLine(job.output_folder()) + "\n";
  }
  return text;
}

int ExitCodeOf(v1::Job::State state) {
  switch (state) {
    case v1::Job::SUCCEEDED: return kSuccess;
    case v1::Job::FAILED: return kJobFailed;
    case v1::Job::CANCELLED: return kJobCancelled;
    default: return kFailure;
  }
}

}  // namespace syncbn::app
