// The controller's attempts of which no job hears any more: given up, or of another store.
#include "coordinator/control/controller.h"
#include "coordinator/launch/attempt_folder.h"

namespace syncbn::coordinator {

void Controller::FindStrays() {
  for (const AttemptId id : UnendedAttempts(options_.store->folder())) {
    Stray stray;
    const bool live = options_.store->Read([&](Tables& tables) {
      stray.known = tables.attempts.Has(id);
      if (!stray.known) return false;
      const JobStatus status = tables.jobs.Get(id.job).status;
      return status.attempt_live && status.attempt == id.attempt;
    });
    if (live) continue;
    std::lock_guard lock(mutex_);
    strays_[{id.job, id.attempt}] = stray;
  }
  EndStrays(options_.clock->Monotonic());
}

void Controller::EndStrays(MonotonicTime now) {
  std::vector<std::pair<AttemptId, bool>> due;
  {
    std::lock_guard lock(mutex_);
    for (auto& [name, stray] : strays_) {
      if (now < stray.next_try || stray.under_way) continue;
      stray.next_try = now + options_.stray_every;
      stray.under_way = true;
      due.push_back({{name.first, name.second}, stray.known});
    }
  }
  for (const auto& [id, known] : due) {
    // One after another with whatever else is done for its job, which may be at its next attempt.
    pool_->Post(id.job, [this, id = id, known = known] {
      Guarded("ending " + AttemptName(id.job, id.attempt) + ", of which no job hears any more",
              [&] { EndStray(id, known); });
      std::lock_guard lock(mutex_);
      const auto found = strays_.find({id.job, id.attempt});
      if (found != strays_.end()) found->second.under_way = false;
    });
  }
}

void Controller::EndStray(AttemptId id, bool known) {
  const std::string name = AttemptName(id.job, id.attempt);
  // Of whatever store one is that this store does not know: only its folder knows what its
  // processes carry.
  const AttemptRef attempt = known ? RefOf(id) : AttemptRef{.id = id, .folder = FolderOf(id)};
  bool told = known, first = false;
  {
    std::lock_guard lock(mutex_);
    Stray& stray = strays_[{id.job, id.attempt}];
    told = told || stray.told;
    first = !stray.told;
    stray.told = true;
  }
  std::error_code unreadable;
  const bool gone = !std::filesystem::exists(attempt.folder, unreadable) && !unreadable;
  // The order may never have been written, and without one whoever looks starts what was not taken.
  if (known && first && !gone) {
    Guarded("telling " + name + " to end", [&] {
      options_.launcher->Stop(attempt, StopLevel::kTerminate, "the attempt was given up");
    });
  }
  // With its job everything that could be known of it was deleted.
  const bool ended = gone || (told ? options_.launcher->Force(attempt) : Observe(attempt)).kind ==
                                 Observation::Kind::kEnded;
  if (ended) {
    if (known && !gone) options_.log(name + ", which was given up, has ended");
    std::lock_guard lock(mutex_);
    strays_.erase({id.job, id.attempt});
    return;
  }
  if (told) return;
  {
    // It gets the time of every order.
    std::lock_guard lock(mutex_);
    strays_[{id.job, id.attempt}].next_try =
        options_.clock->Monotonic() + options_.job_policy.stop_limit;
  }
  options_.log(name +
               " is under way, but the store does not know it (was a backup from before it "
               "restored?): it is being ended");
  // Its workers are strangers here: the supervisor alone can tell them.
  options_.launcher->Stop(attempt, StopLevel::kTerminate,
                          "the coordinator's store does not know this attempt");
}

}  // namespace syncbn::coordinator
