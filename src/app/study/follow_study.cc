#include <chrono>
#include <cstdio>
#include <optional>
#include <thread>

#include "app/client_text.h"
#include "app/console.h"
#include "app/exit_code.h"
#include "app/study/study_clients.h"
#include "app/study/study_text.h"
#include "app/terminal.h"
#include "coordinator/api_error.h"

namespace syncbn::app {
namespace {

using namespace std::chrono_literals;

// Between two looks, and, without a terminal, between two lines about the progress.
constexpr auto kLook = 1s, kPlain = 30s;

class StudyFollower {
 public:
  StudyFollower(client::Connection& connection, std::string study, bool json)
      : connection_(connection), study_(std::move(study)), json_(json), line_(stdout, !json) {}

  int Run() {
    InterruptFlag interrupt;
    while (!interrupt.raised()) {
      if (Look() && HasEnded(last_->state())) return End();
      if (deleted_) return EndDeleted();
      std::this_thread::sleep_for(kLook);
    }
    line_.Clear();
    const std::string id = LastPart(study_);
    Say(stderr,
        "%s goes on. To look at it: syncbn study show %s. To end it: syncbn study cancel %s.\n",
        study_.c_str(), id.c_str(), id.c_str());
    return kInterrupted;
  }

 private:
  // False: the coordinator is away, or the study is gone.
  bool Look() {
    v1::GetStudyRequest request;
    request.set_name(study_);
    request.set_basic(true);
    try {
      const v1::Study study = connection_.Call(&v1::StudyService::Stub::GetStudy, request);
      if (away_) Note("the coordinator is back");
      away_ = false;
      Show(study);
      last_ = study;
      return true;
    } catch (const client::Unreachable&) {
      if (!last_) throw;
      NoteAway();
      return false;
    } catch (const coordinator::ApiError& error) {
      if (!last_) throw;
      // It answers as long as it starts or stops.
      if (error.reason() == "NOT_SERVING") {
        NoteAway();
        return false;
      }
      if (error.reason() != "STUDY_NOT_FOUND") throw;
      deleted_ = true;
      return false;
    }
  }

  // One that was never there is not waited for.
  void NoteAway() {
    if (!away_) Note("the coordinator is away; the study goes on when it is back");
    away_ = true;
  }

  void Note(const std::string& text) {
    if (!json_) line_.Print(LocalClock(Clock::System().Now()) + "  " + text);
  }

  void Show(const v1::Study& study) {
    const bool moved = !last_ || last_->state() != study.state();
    if (json_) {
      if (!moved && last_->progress().SerializeAsString() == study.progress().SerializeAsString())
        return;
      Say(stdout, "%s\n", JsonLine(study).c_str());
      std::fflush(stdout);
      return;
    }
    const std::string text = StateName(study.state()) + "  " + ProgressText(study.progress()) +
                             (study.reason().empty() ? "" : "; waits: " + study.reason());
    const MonotonicTime now = Clock::System().Monotonic();
    const bool due = !line_.live() && now >= next_ && study.progress().done() != shown_;
    if (moved || due) {
      Note(text);
      next_ = now + kPlain;
      shown_ = study.progress().done();
    }
    line_.Update(study_ + "  " + text);
  }

  int End() {
    line_.Clear();
    if (!json_) {
      Say(stdout, "%s", StudyText(*last_, Terminal::Of(stdout), Clock::System().Now()).c_str());
    }
    return ExitCodeOf(last_->state());
  }

  // Only what has ended can be deleted: how it ended is gone with it.
  int EndDeleted() {
    line_.Clear();
    Say(stderr, "%s was deleted meanwhile, with its results; when last seen it was %s, %s\n",
        study_.c_str(), StateName(last_->state()).c_str(), ProgressText(last_->progress()).c_str());
    return kJobCancelled;
  }

  client::Connection& connection_;
  const std::string study_;
  const bool json_;
  LiveLine line_;
  std::optional<v1::Study> last_;
  bool away_ = false, deleted_ = false;
  MonotonicTime next_{};
  int64_t shown_ = -1;
};

}  // namespace

int FollowStudy(client::Connection& connection, const std::string& study, bool json) {
  return StudyFollower(connection, study, json).Run();
}

}  // namespace syncbn::app
