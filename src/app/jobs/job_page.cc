// JobText of job_text.h: the page of one job.
#include <algorithm>

#include "app/client_text.h"
#include "app/console.h"
#include "app/jobs/job_text.h"
#include "base/printable.h"
#include "base/ranges_text.h"
#include "base/text.h"
#include "config/diagnostic.h"

namespace syncbn::app {
namespace {

template <typename Strings>
std::string Words(const Strings& strings) {
  return Join(std::vector<std::string>(strings.begin(), strings.end()), ", ");
}

class Page {
 public:
  explicit Page(const Terminal& terminal) : terminal_(terminal) {}

  // The value, in which there may be text of others, is made one line.
  void Row(const std::string& key, const std::string& text_of_others) {
    const std::string value = OneLine(text_of_others);
    if (value.empty()) return;
    const std::string lead = key + std::string(key.size() < kKey ? kKey - key.size() : 1, ' ');
    if (!terminal_.is_terminal) {
      text += lead + value + "\n";
      return;
    }
    const std::string lines = config::WrapText(value, std::max(40, terminal_.width), kKey);
    text += terminal_.Paint(lead, Tone::kDim) + lines.substr(kKey) + "\n";
  }
  void Head(const std::string& title) { text += "\n" + terminal_.Paint(title, Tone::kStrong) + "\n"; }

  std::string text;

 private:
  static constexpr int kKey = 14;
  const Terminal& terminal_;
};

std::string When(const google::protobuf::Timestamp& time, WallTime now) {
  return LocalTime(time) + ", " + Ago(time, now);
}

std::string ResourcesLine(const v1::Resources& resources) {
  std::string line = Plural(std::max(1, resources.processes()), "process");
  if (resources.processes() > 1) line = std::to_string(resources.processes()) + " processes";
  line += " of " + Plural(std::max(1, resources.threads_per_process()), "thread");
  if (resources.memory_mib_per_process() > 0) {
    line += " and " + Thousands(resources.memory_mib_per_process()) + " MiB";
  }
  if (resources.priority() != 0) line += ", priority " + std::to_string(resources.priority());
  if (resources.has_time_limit()) {
    line += ", time limit " + FormatDuration(SecondsOf(resources.time_limit()));
  }
  if (!resources.host_tags().empty()) line += ", hosts tagged " + Words(resources.host_tags());
  if (!resources.hosts().empty()) line += ", only on " + Words(resources.hosts());
  if (!resources.excluded_hosts().empty()) line += ", never on " + Words(resources.excluded_hosts());
  if (resources.max_processes_per_host() > 0) {
    line += ", at most " + std::to_string(resources.max_processes_per_host()) + " a host";
  }
  return line;
}

std::string ProgressLine(const v1::Progress& progress, WallTime now) {
  if (progress.step() == 0 && progress.total_steps() == 0) return "";
  std::string line = "step " + Thousands(progress.step());
  if (progress.total_steps() > 0) {
    line += " of " + Thousands(progress.total_steps()) +
            Format(" (%.0f %%)", 100.0 * static_cast<double>(progress.step()) /
                                     static_cast<double>(progress.total_steps()));
  }
  line += Format(", epoch %.2f", progress.epoch());
  if (!progress.phase().empty()) line += ", " + progress.phase();
  if (progress.has_report_time()) line += ", reported " + Ago(progress.report_time(), now);
  return line;
}

std::string EvaluationLine(const v1::Evaluation& newest) {
  if (!newest.has_accuracy() && !newest.has_best_accuracy()) return "";
  std::string line = newest.has_accuracy() ? AccuracyText(newest.accuracy()) : "not a number";
  line += " at step " + Thousands(newest.step());
  if (newest.has_best_accuracy()) line += ", best " + AccuracyText(newest.best_accuracy());
  return line;
}

void AddFailure(Page& page, const v1::Failure& failure, const Terminal& terminal) {
  page.Row("failure", ClassName(failure.class_()) + ": " + failure.message());
  std::vector<std::string> where;
  if (failure.has_rank()) where.push_back("rank " + std::to_string(failure.rank()));
  if (!failure.host().empty()) where.push_back("on " + failure.host());
  if (failure.signal() != 0) where.push_back("signal " + std::to_string(failure.signal()));
  if (failure.has_exit_code()) where.push_back("exit code " + std::to_string(failure.exit_code()));
  if (failure.attempt() > 0) where.push_back("attempt " + std::to_string(failure.attempt()));
  page.Row("", Join(where, ", "));
  if (!failure.operation().empty()) {
    std::string waits = failure.operation();
    if (failure.ranks_size() > 0) {
      waits += ", for " + std::string(failure.ranks_size() == 1 ? "rank " : "ranks ") +
               RangesText({failure.ranks().begin(), failure.ranks().end()});
    }
    if (!failure.activity().empty()) waits += ", last seen in '" + failure.activity() + "'";
    if (!failure.layer().empty()) waits += " at " + failure.layer();
    page.Row("waited for", waits);
  }
  std::string excerpt = Printable(failure.excerpt());
  while (!excerpt.empty() && excerpt.back() == '\n') excerpt.pop_back();
  for (size_t begin = 0; !excerpt.empty() && begin <= excerpt.size();) {
    const size_t end = std::min(excerpt.find('\n', begin), excerpt.size());
    page.text += "  " + terminal.Paint("|", Tone::kDim) + " " + excerpt.substr(begin, end - begin) + "\n";
    begin = end + 1;
  }
}

std::string OutcomeText(const v1::Attempt& attempt) {
  switch (attempt.outcome()) {
    case v1::ATTEMPT_OUTCOME_COMPLETED: return "completed";
    case v1::ATTEMPT_OUTCOME_STOPPED: return "stopped";
    case v1::ATTEMPT_OUTCOME_FAILED: return "failed";
    default: return attempt.has_end_time() ? "ended" : "alive";
  }
}

std::string RanksText(const v1::Attempt& attempt) {
  std::vector<std::string> hosts;
  for (const v1::HostShare& share : attempt.hosts()) {
    hosts.push_back(std::to_string(share.processes()) + " on " + share.host());
  }
  return Join(hosts, ", ");
}

void AddAttempts(Page& page, const std::vector<v1::Attempt>& attempts, const Terminal& terminal,
                 WallTime now) {
  if (attempts.empty()) return;
  page.Head("ATTEMPTS");
  Table table({{.header = "NO", .right = true},
               {.header = "STARTED", .right = true, .goes = 3},
               {.header = "LASTED", .right = true, .goes = 2},
               {.header = "PROCESSES", .goes = 1},
               {.header = "OUTCOME"},
               {.header = "NOTE", .wraps = true}});
  for (const v1::Attempt& attempt : attempts) {
    std::string note;
    if (attempt.has_failure()) {
      note = ClassName(attempt.failure().class_()) + ": " + attempt.failure().message();
    }
    if (!attempt.possibly_held_hosts().empty()) {
      if (!note.empty()) note += "; ";
      note += "may still hold processes on " + Words(attempt.possibly_held_hosts());
    }
    const WallTime end = attempt.has_end_time() ? TimeOf(attempt.end_time()) : now;
    const bool failed = attempt.outcome() == v1::ATTEMPT_OUTCOME_FAILED;
    table.Add({{LastPart(attempt.name())},
               {Ago(attempt.start_time(), now)},
               {FormatDuration(std::chrono::duration<double>(end - TimeOf(attempt.start_time())).count())},
               {RanksText(attempt)},
               {OutcomeText(attempt), failed ? Tone::kBad : Tone::kPlain},
               {note}});
  }
  page.text += table.Render(terminal);

  // The newest attempt's ranks; those of earlier ones are in --json.
  const v1::Attempt& newest = attempts.back();
  if (newest.ranks().empty()) return;
  page.Head("RANKS OF ATTEMPT " + LastPart(newest.name()));
  Table ranks({{.header = "RANK", .right = true},
               {.header = "HOST"},
               {.header = "PID", .right = true, .goes = 1},
               {.header = "OUTCOME"},
               {.header = "NOTE", .wraps = true}});
  for (const v1::RankRecord& rank : newest.ranks()) {
    std::string outcome = newest.has_end_time() ? "no report" : "registered";
    if (rank.outcome() == v1::ATTEMPT_OUTCOME_COMPLETED) outcome = "completed";
    if (rank.outcome() == v1::ATTEMPT_OUTCOME_STOPPED) outcome = "stopped";
    if (rank.outcome() == v1::ATTEMPT_OUTCOME_FAILED) outcome = "failed";
    ranks.Add({{std::to_string(rank.rank())},
               {rank.host()},
               {rank.pid() > 0 ? std::to_string(rank.pid()) : ""},
               {outcome},
               {rank.message()}});
  }
  page.text += ranks.Render(terminal);
}

void AddCheckpoints(Page& page, const JobPage& job, const Terminal& terminal, WallTime now) {
  if (job.checkpoints.checkpoints().empty()) return;
  page.Head("CHECKPOINTS");
  Table table({{.header = "STEP", .right = true},
               {.header = "EPOCH", .right = true, .goes = 3},
               {.header = "ACCURACY", .right = true},
               {.header = "SIZE", .right = true, .goes = 2},
               {.header = "WRITTEN", .right = true, .goes = 1},
               {.header = "ATTEMPT", .right = true, .goes = 4},
               {.header = "NOTE", .wraps = true}});
  for (const v1::Checkpoint& one : job.checkpoints.checkpoints()) {
    const bool whole = one.damage().empty();
    std::string note = whole ? "" : "of no use: " + one.damage();
    if (one.resumes() && job.job.state() != v1::Job::SUCCEEDED)
      note = "an attempt goes on from here";
    if (one.until_next())
      note += std::string(note.empty() ? "" : "; ") + "goes when the next is written";
    table.Add({{Thousands(one.step())},
               {whole ? Thousands(one.epoch()) : ""},
               {one.has_test_accuracy() ? AccuracyText(one.test_accuracy()) : ""},
               {Bytes(one.size_bytes())},
               {one.has_create_time() ? Ago(one.create_time(), now) : ""},
               {whole ? std::to_string(one.attempt()) : ""},
               {note, whole ? Tone::kPlain : Tone::kBad}});
  }
  page.text += table.Render(terminal);
  if (job.checkpoints.left_out() > 0) {
    page.text += "and " + Thousands(job.checkpoints.left_out()) + " of lower steps\n";
  }
}

}  // namespace

std::string JobText(const JobPage& page, const Terminal& terminal, WallTime now) {
  const v1::Job& job = page.job;
  Page out(terminal);
  out.text = terminal.Paint(job.name(), Tone::kStrong) + "  " + OneLine(job.display_name()) + "  " +
             terminal.Paint(StateName(job.state()), ToneOf(job.state())) + "\n\n";
  std::string submitted = When(job.create_time(), now);
  if (!job.submitter().empty()) submitted += ", by " + job.submitter();
  out.Row("submitted", submitted);
  if (job.has_start_time()) out.Row("first started", When(job.start_time(), now));
  if (job.has_end_time()) out.Row("ended", When(job.end_time(), now));
  const double used = SecondsOf(job.used_time());
  if (used > 0) out.Row("time used", FormatDuration(used));
  std::string source = job.run_file_name();
  for (const std::string& change : job.overrides()) source += " --set " + change;
  out.Row("run file", source);
  out.Row("resources", ResourcesLine(job.resources()));
  out.Row("labels", LabelsText(job));
  std::vector<std::string> environment;
  for (const auto& [key, value] : job.environment()) environment.push_back(key + "=" + value);
  std::sort(environment.begin(), environment.end());
  out.Row("environment", Join(environment, ", "));
  out.Row("output", job.output_folder());
  const bool waiting = job.state() == v1::Job::QUEUED || job.state() == v1::Job::STARTING;
  if (waiting && job.has_pending()) {
    std::string waits = job.pending().message();
    if (job.pending().position() > 0) {
      waits += "; number " + std::to_string(job.pending().position()) + " in the queue";
    }
    if (job.pending().has_latest_start()) {
      waits += "; starts by " + LocalTime(job.pending().latest_start());
    }
    out.Row("waits", waits);
  } else if (job.has_pending()) {
    out.Row("trouble", job.pending().message());
  }
  if (!HasEnded(job.state()) && job.desired_state() > v1::Job::RUN) {
    out.Row("asked to", job.desired_state() == v1::Job::PAUSE ? "pause"
                        : job.desired_state() == v1::Job::CANCEL ? "end" : "end at once");
  }
  out.Row("progress", ProgressLine(job.progress(), now));
  out.Row("accuracy", EvaluationLine(job.evaluation()));
  if (!page.checkpoints_unknown.empty()) {
    out.Row("checkpoints",
            (job.progress().has_checkpoint_step()
                 ? "the newest at step " + Thousands(job.progress().checkpoint_step()) +
                       "; they cannot be listed: "
                 : "they cannot be listed: ") +
                page.checkpoints_unknown);
  } else if (job.progress().has_checkpoint_step() && page.checkpoints.checkpoints().empty()) {
    out.Row("checkpoints", "none is left in the output folder");
  }
  if (job.progress().lost_points() > 0) {
    out.Row("lost", Thousands(job.progress().lost_points()) +
                        " metric points, which the workers had no room to keep");
  }
  if (job.liveness() == v1::Job::STALE) out.Row("liveness", "a rank has not reported for a while");
  if (job.liveness() == v1::Job::UNREACHABLE) {
    out.Row("liveness", "no rank can be heard; the training may be well all the same");
  }
  if (job.retries() > 0) out.Row("restarts", Plural(job.retries(), "automatic restart"));
  if (job.has_retry_time() && job.state() == v1::Job::RECOVERING) {
    out.Row("next attempt", In(job.retry_time(), now));
  }
  if (!job.possibly_held_hosts().empty()) {
    out.Row("held hosts", Words(job.possibly_held_hosts()) +
                              ": could not be asked and may still hold processes of this job");
  }
  if (job.has_failure() && job.failure().class_() != v1::Failure::CLASS_UNSPECIFIED) {
    AddFailure(out, job.failure(), terminal);
  }
  AddCheckpoints(out, page, terminal, now);
  AddAttempts(out, page.attempts, terminal, now);
  if (!page.transitions.empty()) {
    out.Head("HISTORY");
    Table history({{.header = "TIME"},
                   {.header = "STATE"},
                   {.header = "EVENT", .goes = 1},
                   {.header = "BY", .goes = 2},
                   {.header = "REASON", .wraps = true}});
    for (const v1::Transition& entry : page.transitions) {
      history.Add({{LocalTime(entry.time()).substr(0, 19)},
                   {StateName(entry.to_state()), ToneOf(entry.to_state())},
                   {entry.event()},
                   {entry.actor()},
                   {entry.reason()}});
    }
    out.text += history.Render(terminal);
  }
  return out.text;
}

}  // namespace syncbn::app
