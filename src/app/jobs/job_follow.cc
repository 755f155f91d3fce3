#include "app/jobs/job_follow.h"

#include <cstdio>
#include <map>
#include <optional>

#include "app/client_options.h"
#include "app/client_text.h"
#include "app/console.h"
#include "app/exit_code.h"
#include "app/jobs/job_text.h"
#include "app/jobs/training_figures.h"
#include "app/terminal.h"
#include "base/printable.h"
#include "base/text.h"
#include "client/watches.h"

namespace syncbn::app {
namespace {

constexpr std::chrono::milliseconds kLook{200};

class Follower {
 public:
  Follower(client::Connection& connection, const FollowOptions& options)
      : connection_(connection), options_(options), terminal_(Terminal::Of(stdout)),
        line_(stdout, !options.json), figures_(connection, options.job) {}

  int Run() {
    InterruptFlag interrupt;
    v1::WatchJobsRequest request;
    request.set_job(options_.job);
    const auto events = client::WatchJobs(connection_, request);
    while (true) {
      if (interrupt.raised()) return Leave();
      const std::optional<v1::WatchJobsResponse> event = events->Next(kLook);
      if (job_ && events->lost() != away_) NoteAway(!away_);
      if (event) {
        Take(*event);
        if (ended_) return End();
      }
      if (!job_) continue;
      if (!away_ && !options_.json && job_->state() == v1::Job::RUNNING)
        PrintEvaluations(figures_.NewEvaluations(job_->progress()));
      Draw();
    }
  }

 private:
  void Take(const v1::WatchJobsResponse& event) {
    if (event.event_case() == v1::WatchJobsResponse::kDeleted) {
      line_.Clear();
      throw Error(ErrorCode::kNotFound, options_.job + " has been deleted");
    }
    if (options_.json && event.event_case() != v1::WatchJobsResponse::kBookmark) {
      Say(stdout, "%s\n", JsonLine(event).c_str());
      std::fflush(stdout);
    }
    switch (event.event_case()) {
      case v1::WatchJobsResponse::kSnapshot: {
        const bool first = !job_;
        job_ = event.snapshot();
        if (first) Introduce();
        ended_ = HasEnded(job_->state());
        break;
      }
      case v1::WatchJobsResponse::kChange: {
        const v1::JobChange& change = event.change();
        const std::string note_before = job_ ? NoteOf(*job_, Clock::System().Now()) : "";
        job_ = change.job();
        if (change.has_transition()) {
          if (!options_.json) {
            PrintEvaluations(figures_.NewEvaluations());
            line_.Print(TransitionLine(change.transition(), terminal_));
          }
          ended_ = HasEnded(change.transition().to_state());
        } else {
          ended_ = HasEnded(job_->state());
          if (!ended_ && job_->state() == v1::Job::QUEUED) PrintNewReason(note_before);
        }
        break;
      }
      default: break;
    }
  }

  void Introduce() {
    if (options_.json) return;
    const std::string note = NoteOf(*job_, Clock::System().Now());
    std::string text = job_->name() + "  " + OneLine(job_->display_name()) + "  " +
                       terminal_.Paint(StateName(job_->state()), ToneOf(job_->state()));
    if (!note.empty() && !HasEnded(job_->state())) text += "  " + note;
    line_.Print(text);
  }

  // Why a job waits changes often; without a live line only now and then is it worth a line.
  void PrintNewReason(const std::string& before) {
    const std::string note = NoteOf(*job_, Clock::System().Now());
    if (options_.json || line_.live() || note.empty() || note == before || !IsTimeForPlain()) return;
    line_.Print(LocalClock(Clock::System().Now()) + "  " + StateName(job_->state()) + "      " + note);
  }

  void NoteAway(bool away) {
    away_ = away;
    if (options_.json) return;
    line_.Print(LocalClock(Clock::System().Now()) +
                (away ? "  the coordinator is away; the job goes on without it. Looking for it..."
                      : "  the coordinator is back"));
  }

  void PrintEvaluations(const std::vector<TrainingFigures::Evaluation>& evaluations) {
    if (options_.json) return;
    for (const TrainingFigures::Evaluation& one : evaluations)
      line_.Print(LocalClock(one.time) + "  evaluated   " + one.text);
  }

  bool IsTimeForPlain() {
    const MonotonicTime now = Clock::System().Monotonic();
    if (now < next_plain_) return false;
    next_plain_ = now + options_.plain_interval;
    return true;
  }

  void Draw() {
    if (options_.json) return;
    const v1::Progress& progress = job_->progress();
    const bool moving = job_->state() == v1::Job::RUNNING && progress.step() > 0;
    if (!line_.live()) {
      if (moving && progress.step() != drawn_step_ && IsTimeForPlain()) {
        line_.Print(LocalClock(Clock::System().Now()) + "  RUNNING     " + figures_.Line(*job_));
        drawn_step_ = progress.step();
      }
      return;
    }
    std::string text = job_->name() + " " + StateName(job_->state()) + "  ";
    if (away_) {
      text += "the coordinator is away";
    } else if (moving) {
      if (progress.total_steps() > 0) {
        text += ProgressBar(static_cast<double>(progress.step()) /
                                static_cast<double>(progress.total_steps()), 12) + "  ";
      }
      text += figures_.Line(*job_);
    } else {
      text += NoteOf(*job_, Clock::System().Now());
    }
    line_.Update(text);
  }

  int End() {
    // What came with the last reports.
    if (!options_.json) PrintEvaluations(figures_.NewEvaluations());
    line_.Clear();
    v1::GetJobRequest request;
    request.set_name(options_.job);
    request.set_view(v1::JOB_VIEW_BASIC);
    const v1::Job job = connection_.Call(&v1::JobService::Stub::GetJob, request);
    if (!options_.json) {
      Say(stdout, "%s%s", EndText(job, terminal_).c_str(), figures_.Summary().c_str());
    }
    return ExitCodeOf(job.state());
  }

  int Leave() {
    line_.Clear();
    const std::string id = LastPart(options_.job);
    if (job_ && HasEnded(job_->state())) return End();
    Say(stderr, "%s goes on. To follow it again: syncbn watch %s. To end it: syncbn cancel %s.\n",
        options_.job.c_str(), id.c_str(), id.c_str());
    return kInterrupted;
  }

  client::Connection& connection_;
  const FollowOptions options_;
  const Terminal terminal_;
  LiveLine line_;
  TrainingFigures figures_;
  std::optional<v1::Job> job_;
  bool ended_ = false, away_ = false;
  int64_t drawn_step_ = -1;
  MonotonicTime next_plain_{};
};

}  // namespace

int FollowJob(client::Connection& connection, const FollowOptions& options) {
  return Follower(connection, options).Run();
}

int FollowAllJobs(client::Connection& connection, const std::string& filter, bool json) {
  InterruptFlag interrupt;
  const Terminal terminal = Terminal::Of(stdout);
  v1::WatchJobsRequest request;
  request.set_filter(filter);
  const auto events = client::WatchJobs(connection, request);
  bool away = false;
  while (!interrupt.raised()) {
    const std::optional<v1::WatchJobsResponse> event = events->Next(kLook);
    if (events->lost() != away) {
      away = !away;
      Say(stderr, "the coordinator is %s\n", away ? "away; looking for it" : "back");
    }
    if (!event || event->event_case() == v1::WatchJobsResponse::kBookmark) continue;
    if (json) {
      Say(stdout, "%s\n", JsonLine(*event).c_str());
    } else if (event->has_change() && event->change().has_transition()) {
      const v1::Transition& transition = event->change().transition();
      Say(stdout, "%-9s %s\n", transition.job().c_str(),
          TransitionLine(transition, terminal).c_str());
    } else if (event->event_case() == v1::WatchJobsResponse::kDeleted) {
      Say(stdout, "%-9s deleted\n", event->deleted().c_str());
    } else if (event->has_snapshot() && !HasEnded(event->snapshot().state())) {
      const v1::Job& job = event->snapshot();
      const std::string labels = OneLine(LabelsText(job));
      Say(stdout, "%-9s %s  %-10s  %s%s\n", job.name().c_str(),
          LocalClock(Clock::System().Now()).c_str(), StateName(job.state()).c_str(),
          OneLine(job.display_name()).c_str(), labels.empty() ? "" : ("  " + labels).c_str());
    }
    std::fflush(stdout);
  }
  return kInterrupted;
}

}  // namespace syncbn::app
