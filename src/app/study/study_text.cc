#include "app/study/study_text.h"

#include <algorithm>

#include "app/client_text.h"
#include "app/console.h"
#include "app/exit_code.h"
#include "app/table.h"
#include "base/printable.h"
#include "base/text.h"
#include "config/diagnostic.h"

namespace syncbn::app {
namespace {

std::string BestText(const v1::StudyProgress& progress) {
  if (!progress.has_best()) return "";
  return Format("%.2f %%", 100 * progress.best().test_accuracy());
}

}  // namespace

bool HasEnded(v1::Study::State state) {
  return state == v1::Study::SUCCEEDED || state == v1::Study::FAILED ||
         state == v1::Study::CANCELLED;
}

std::string StateName(v1::Study::State state) {
  const std::string& name = v1::Study::State_Name(state);
  // A state that a newer coordinator knows and this program does not.
  return name.empty() ? "STATE " + std::to_string(static_cast<int>(state)) : name;
}

Tone ToneOf(v1::Study::State state) {
  switch (state) {
    case v1::Study::RUNNING:
      return Tone::kBusy;
    case v1::Study::SUCCEEDED:
      return Tone::kGood;
    case v1::Study::FAILED:
      return Tone::kBad;
    case v1::Study::PAUSED:
    case v1::Study::CANCELLED:
      return Tone::kDim;
    default:
      return Tone::kPlain;
  }
}

std::string ProgressText(const v1::StudyProgress& progress) {
  std::string text = std::to_string(progress.done()) + " of " + Plural(progress.known(), "trial");
  const auto add = [&](int64_t count, const char* what) {
    if (count > 0) text += ", " + std::to_string(count) + " " + what;
  };
  add(progress.running(), "under way");
  add(progress.failed(), "failed");
  add(progress.diverged(), "diverged");
  if (progress.has_best()) text += "; best " + BestText(progress);
  return text;
}

std::string StudiesTable(std::span<const v1::Study> studies, const Terminal& terminal,
                         WallTime now) {
  Table table({{.header = "STUDY"},
               {.header = "STATE"},
               {.header = "NAME"},
               {.header = "TRIALS", .right = true},
               {.header = "FAILED", .right = true, .goes = 4},
               {.header = "BEST", .right = true, .goes = 3},
               {.header = "BY", .goes = 2},
               {.header = "CREATED", .goes = 1},
               {.header = "NOTE", .goes = 5, .wraps = true}});
  for (const v1::Study& study : studies) {
    const v1::StudyProgress& progress = study.progress();
    table.Add({{LastPart(study.name())},
               {StateName(study.state()), ToneOf(study.state())},
               {study.display_name() + (study.form().empty() ? "" : " (" + study.form() + ")")},
               {std::to_string(progress.done()) + "/" + std::to_string(progress.known())},
               {progress.failed() > 0 ? std::to_string(progress.failed()) : ""},
               {BestText(progress)},
               {study.submitter()},
               {Ago(study.create_time(), now)},
               {study.reason()}});
  }
  return table.Render(terminal);
}

std::string StudyText(const v1::Study& study, const Terminal& terminal, WallTime now) {
  const std::string id = LastPart(study.name());
  const auto line = [&](const std::string& name, const std::string& value) -> std::string {
    if (value.empty()) return "";
    const std::string head = Format("  %-10s ", name.c_str());
    const std::string wrapped = config::WrapText(OneLine(value), std::min(100, terminal.width),
                                                 static_cast<int>(head.size()));
    return head + wrapped.substr(head.size()) + "\n";
  };
  std::string text = terminal.Paint(study.name(), Tone::kStrong) + "  " +
                     terminal.Paint(StateName(study.state()), ToneOf(study.state())) + "  " +
                     OneLine(study.display_name()) +
                     (study.form().empty() ? "" : ", form " + OneLine(study.form())) + "\n";
  text += line("progress", ProgressText(study.progress()));
  if (study.progress().has_best()) {
    const v1::BestTrial& best = study.progress().best();
    text += line("best", BestText(study.progress()) + ": " + best.description() + " (trial " +
                             best.trial() + ")");
  }
  text += line(study.state() == v1::Study::FAILED ? "failed" : "waits", study.reason());
  text += line("submitted", "by " + study.submitter() + ", " + Ago(study.create_time(), now));
  if (study.has_end_time()) text += line("ended", Ago(study.end_time(), now));
  text += line("at once", Plural(study.at_once(), "process"));
  std::vector<std::string> overrides(study.overrides().begin(), study.overrides().end());
  text += line("set", Join(overrides, ", "));
  for (const std::string& note : study.notes()) text += line("note", note);
  text += line("jobs", "syncbn jobs --label study=" + id);
  text += line("results", "syncbn study fetch " + id + " DIR");
  return text;
}

int ExitCodeOf(v1::Study::State state) {
  if (state == v1::Study::SUCCEEDED) return kSuccess;
  return state == v1::Study::CANCELLED ? kJobCancelled : kJobFailed;
}

}  // namespace syncbn::app
