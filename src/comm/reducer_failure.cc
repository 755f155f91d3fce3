// How a reducer fails, and how it finds that a wait has no end.
#include <algorithm>
#include <utility>

#include "comm/reducer_base.h"

namespace syncbn::comm {

using std::chrono::nanoseconds;

void ReducerBase::Fail(FailureCause cause) {
  failure_.Set(std::move(cause));
  engine_.WakeAll();
}

void ReducerBase::SpreadFailure() {
  if (!failure_.failed()) return;
  engine_.WakeAll();
  if (failure_.TakeUntold() && others()) {
    try {
      control_.SpreadFailure(failure_.cause());
    } catch (const std::exception&) {
      // The transport is what failed: its error is known here, and the others lose this process.
    }
  }
  // Who waits for a device waits for what this ends.
  exchange_->Abort();
}

void ReducerBase::Poison(int replica, std::string_view cause) {
  Fail({ErrorCode::kAborted, "replica " + std::to_string(replica) + " (rank " +
                                 std::to_string(communicator_->rank()) + " on " + watchdog_.host() +
                                 ") failed: " + std::string(cause)});
  SpreadFailure();
}

void ReducerBase::CheckForStall(Op& op) {
  const nanoseconds now = watchdog_.Observe();
  const GroupPlan& plan = op.group->plan;
  const int participants = static_cast<int>(plan.participants.size());
  WaitedFor wait{.what = op.signature.Describe() + ", reduction " + std::to_string(op.sequence) +
                         " of " + Describe(plan.group),
                 .name = std::string(op.signature.Name())};
  const auto add_participant = [&](int p, bool all) {
    const Subtree members = plan.participants[static_cast<size_t>(p)].members;
    const size_t before = wait.missing.size();
    for (int member = members.begin; member < members.end; ++member) {
      const int replica = plan.group.begin + member;
      // Who waits for the same thing has given its part.
      if (all || !watchdog_.board().Read(replica).WaitsFor(plan.group, op.sequence)) {
        wait.missing.push_back(replica);
      }
    }
    return wait.missing.size() > before;
  };
  // Who has finished has sent all that it had to send: it is at fault only if that should have come
  // here.
  const auto has_done_its_part = [&](int p) {
    return watchdog_.finished(plan.participants[static_cast<size_t>(p)].rank);
  };
  {
    std::lock_guard lock(op.mutex);
    // Once for all who wait for it.
    if (op.last_check == now) return;
    op.last_check = now;
    if (!op.first_check) op.first_check = now;
    wait.since = *op.first_check;
    for (size_t i = 0; i < op.arrived.size(); ++i) {
      if (!op.arrived[i]) wait.missing.push_back(op.group->local.begin + static_cast<int>(i));
    }
    if (op.series) {
      const std::vector<Contribution> contributions = Contributions(op);
      for (int p = 0; p < participants; ++p) {
        const Contribution contribution = contributions[static_cast<size_t>(p)];
        if (contribution == Contribution::kHere) continue;
        if (contribution == Contribution::kRelayed && has_done_its_part(p)) continue;
        if (!add_participant(p, false)) add_participant(p, true);
      }
    }
  }
  if (order_) {
    // Whoever has not reached its place holds it up, a member of the group or not.
    std::lock_guard lock(mutex_);
    if (op.launch_number < 0) {
      for (const int replica : order_->Behind(op)) {
        if (std::ranges::find(wait.missing, replica) == wait.missing.end()) {
          wait.missing.push_back(replica);
        }
      }
    }
  }
  if (wait.missing.empty()) {
    // Everything is announced and something does not arrive: any of the others may be the cause.
    for (int p = 0; p < participants; ++p) {
      if (p != plan.self && !has_done_its_part(p)) add_participant(p, true);
    }
  }
  FailIfHopeless(wait);
}

std::vector<int> ReducerBase::MissingOnDevice(const Outstanding::Entry& entry,
                                              bool* all_have_given) {
  std::vector<int> late, others;
  for (const GroupPlan::Participant& participant : entry.group->plan.participants) {
    for (int member = participant.members.begin; member < participant.members.end; ++member) {
      const int replica = entry.group->plan.group.begin + member;
      // Where all have given their part, this rank's GPU may be the one that does not answer.
      others.push_back(replica);
      if (participant.rank == communicator_->rank()) continue;
      if (watchdog_.board().Read(replica).reductions <= entry.place) late.push_back(replica);
    }
  }
  *all_have_given = late.empty();
  return late.empty() ? others : late;
}

void ReducerBase::LookAtDevice() {
  if (failure_.failed()) return;
  try {
    WithFrame(
        [&] {
          const std::optional<Outstanding::Entry> oldest = outstanding_.Oldest(watchdog_.Observe());
          if (!oldest) return std::string("nothing was outstanding");
          const Group local = map_.OfProcess(communicator_->rank());
          bool all_have_given = false;
          return oldest->Describe() + " was outstanding, " +
                 watchdog_.Account(MissingOnDevice(*oldest, &all_have_given)) +
                 "; here: " + watchdog_.board().Read(local.begin).Describe();
        },
        [&] {
          exchange_->CheckHealth();
          outstanding_.Look();
          looked_at_ = watchdog_.Observe().count();
        });
  } catch (const Error& error) {
    Fail({error.code(), "rank " + std::to_string(communicator_->rank()) + ": " + error.what()});
    SpreadFailure();
  }
}

void ReducerBase::JudgeDevice() {
  if (failure_.failed()) return;
  try {
    const nanoseconds now = watchdog_.Observe();
    const std::optional<Outstanding::Entry> oldest = outstanding_.Oldest(now);
    if (!oldest) return;
    Outstanding::Entry waited = *oldest;
    bool all_have_given = false;
    std::vector<int> missing = MissingOnDevice(waited, &all_have_given);
    const nanoseconds looked{looked_at_.load()};
    const bool answers = now - looked < options_.stall_timeout / 2;
    if (!answers && all_have_given) {
      // What the device has done since then is not known. At the latest it waits in what others have
      // not given their part to.
      for (const Outstanding::Entry& later : outstanding_.All()) {
        missing = MissingOnDevice(later, &all_have_given);
        if (all_have_given) continue;
        waited = later;
        waited.since = looked;
        break;
      }
      if (all_have_given) missing = MissingOnDevice(waited, &all_have_given);
    }
    if (answers && now - *waited.since >= options_.stall_timeout / 2) device_words_.Tell(waited);
    WaitedFor wait{.what = waited.Describe() + ", which the device was given" +
                           (answers ? "" : ", whose driver does not answer"),
                   .name = std::string(waited.signature.Name()),
                   .missing = std::move(missing),
                   .since = *waited.since,
                   .on_devices = all_have_given};
    // Those that wait in it for the device of another are not to blame.
    const std::vector<int> standing = device_words_.StandingBefore(waited);
    if (all_have_given && !standing.empty()) {
      std::string ranks;
      for (const int rank : standing) ranks += (ranks.empty() ? "" : ", ") + std::to_string(rank);
      wait.what += " (that of rank " + ranks + " has not come to it)";
      std::erase_if(wait.missing, [&](int replica) {
        return std::ranges::find(standing, map_.ProcessOf(replica)) == standing.end();
      });
    }
    FailIfHopeless(wait);
  } catch (const Error& error) {
    Fail({error.code(), "rank " + std::to_string(communicator_->rank()) + ": " + error.what()});
    SpreadFailure();
  }
}

void ReducerBase::Confirm() {
  if (roll_call_ && exchange_->in_stream_order()) {
    // What this process has launched, all its replicas have started: so nobody waits for this
    // thread before it launches the same, and only a process that launches something else gives no
    // answer.
    const int64_t calls = roll_call_->calls();
    const nanoseconds since = watchdog_.Observe();
    for (int polls = 1; !failure_.failed(); ++polls) {
      const std::optional<RollCall::Open> open = roll_call_->Unanswered(calls);
      if (!open) return;
      if (Drive(Communicator::IfBusy::kWait)) polls = 0;
      communicator_->Idle(polls);
      if (watchdog_.Observe() - since < options_.stall_timeout) continue;
      WaitedFor wait{
          .what = "word of rank " + std::to_string(open->rank) + " that it reduces " + open->what,
          .name = open->name,
          .missing = {},
          .since = since};
      const Group owing = map_.OfProcess(open->rank);
      bool beyond = true;
      for (int replica = owing.begin; replica < owing.end; ++replica) {
        wait.missing.push_back(replica);
        beyond &= watchdog_.board().Read(replica).reductions > open->place;
      }
      FailIfHopeless(wait);
      if (failure_.failed() || !beyond || watchdog_.Silence(open->rank) > options_.heartbeat * 4)
        continue;
      Fail({ErrorCode::kInternal, "rank " + std::to_string(communicator_->rank()) +
                                      " has what a device reduced, and no word of rank " +
                                      std::to_string(open->rank) + " about " + open->what +
                                      ": processes reduce different things"});
      SpreadFailure();
    }
  }
  ThrowIfFailed();
}

bool ReducerBase::CheckWaits() {
  const nanoseconds now = watchdog_.Observe();
  const std::string name = "replicas of rank " + std::to_string(communicator_->rank());
  WaitedFor wait{.what = "the " + name, .name = name};
  const Group local = map_.OfProcess(communicator_->rank());
  bool any = false;
  for (int replica = local.begin; replica < local.end; ++replica) {
    const Activity activity = watchdog_.board().Read(replica).activity;
    any |= activity == Activity::kTurn || activity == Activity::kData;
    // Who waits for a reduction judges for himself, and knows better whom he misses.
    if (activity != Activity::kReduction) wait.missing.push_back(replica);
  }
  if (!any) {
    waiting_since_.reset();
  } else {
    if (!waiting_since_) waiting_since_ = now;
    wait.since = *waiting_since_;
    if (!failure_.failed()) FailIfHopeless(wait);
  }
  return failure_.failed();
}

void ReducerBase::FailIfHopeless(const WaitedFor& wait) {
  if (std::optional<Stall> stall = watchdog_.Judge(wait)) {
    Fail(FailureCause::Of(*std::move(stall)));
    SpreadFailure();
  }
}

}  // namespace syncbn::comm
