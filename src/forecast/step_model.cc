#include "forecast/step_model.h"

#include <algorithm>
#include <optional>
#include <vector>

namespace syncbn::forecast {
namespace {

// The messages of a process, on its way through a step.
class Link {
 public:
  Link(const Network& network, const HostCosts& costs) : network_(network), costs_(costs) {}

  // A reduction's rounds in one of its groups.
  struct Under {
    int reduction = 0;
    const std::vector<comm::RoundTraffic>* rounds = nullptr;
    size_t next = 0;
    // When the round before `next` is over.
    double ready = 0;
  };

  void Start(int reduction, const ProcessReduction& process, double now) {
    for (const auto& rounds : process.groups) {
      Under under{.reduction = reduction, .rounds = &rounds, .ready = now};
      Launch(under, now);
      under_way_.push_back(under);
    }
  }
  // The process looks after its messages at `now`, and had not since its last look.
  void Look(double now) { Advance(now, now); }
  // Waits from `now` on; returns until when.
  double WaitFor(int reduction, double now) {
    Look(now);
    while (true) {
      double end = now;
      bool pending = false;
      for (const Under& one : under_way_) {
        if (one.reduction != reduction) continue;
        pending |= one.next < one.rounds->size();
        end = std::max(end, one.ready);
      }
      if (!pending) {
        // What was due meanwhile has been looked after.
        Advance(end, std::nullopt);
        std::erase_if(under_way_, [&](const Under& one) { return one.reduction == reduction; });
        return end;
      }
      Under& first = Earliest();
      Launch(first, std::max(first.ready, now));
    }
  }

 private:
  // The next round that can begin; there is one.
  Under& Earliest() {
    Under* first = nullptr;
    for (Under& one : under_way_) {
      if (one.next == one.rounds->size()) continue;
      if (first == nullptr || one.ready < first->ready) first = &one;
    }
    return *first;
  }
  // Launches all that is ready until `until`: at `at`, or as soon as it is ready.
  void Advance(double until, std::optional<double> at) {
    while (std::ranges::any_of(under_way_, [&](const Under& one) {
      return one.next < one.rounds->size() && one.ready <= until;
    })) {
      Under& first = Earliest();
      Launch(first, at.value_or(first.ready));
    }
  }
  void Launch(Under& under, double now) {
    const comm::RoundTraffic& round = (*under.rounds)[under.next++];
    const double bytes = static_cast<double>(std::max(round.bytes_out, round.bytes_in));
    const double wire = bytes / network_.bandwidth;
    const double leaves = std::max(now, free_);
    free_ = leaves + wire;
    const double messages = static_cast<double>(std::max(round.messages_out, round.messages_in));
    const double passes = round.longest > network_.eager_bytes ? 3 : 1;
    under.ready = leaves + wire + passes * network_.latency + costs_.seconds_per_round +
                  std::max(0.0, messages - 1) * costs_.seconds_per_message +
                  bytes * costs_.seconds_per_byte;
  }

  const Network& network_;
  const HostCosts& costs_;
  std::vector<Under> under_way_;
  // When the last byte that was launched has left.
  double free_ = 0;
};

}  // namespace

StepTime PredictStep(const ProcessProgram& process, const ProcessShape& shape,
                     const Network& network, const HostCosts& costs) {
  // Replicas that share cores take turns; a single one cannot use two.
  const double turns = std::max(1.0, static_cast<double>(shape.replicas) / shape.cores);
  StepTime time;
  Link link(network, costs);
  double now = 0;
  for (const ProgramEvent& event : process.program.events) {
    const double compute = turns * event.compute;
    time.compute += compute;
    now += compute;
    const auto& reduction = process.reductions[static_cast<size_t>(event.reduction)];
    if (event.kind == EventKind::kStart) {
      link.Look(now);
      link.Start(event.reduction, reduction, now);
      continue;
    }
    const double end = link.WaitFor(event.reduction, now);
    (event.kind == EventKind::kWaitInPass ? time.statistics : time.gradients) += end - now;
    now = end;
  }
  time.other = process.program.rest;
  return time;
}

}  // namespace syncbn::forecast
