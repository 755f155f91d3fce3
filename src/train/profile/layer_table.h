// Where the time of a step goes, layer by layer.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "train/profile/profile.h"

namespace syncbn::train {

// Means over the steps; times, but for the skew, over the replicas, too.
struct LayerRow {
  std::string layer;
  bool norm = false;
  // Milliseconds on a core.
  double forward = 0, backward = 0;
  // Milliseconds in which its statistics (or what the row is of) were waited for.
  double wait = 0;
  // Milliseconds from the first replica's part in a reduction to the last's, summed over the
  // reductions of the row and the groups.
  double skew = 0;
  // Of the step, over all processes.
  double messages = 0, bytes = 0;

  double computing() const { return forward + backward; }
};

struct LayerTable {
  int64_t steps = 0;
  int64_t first_step = 0;
  int replicas = 0, processes = 0;
  // Milliseconds of a step on the clock: mean over steps and processes; and where they went (see
  // StepClock), in the same unit.
  double wall = 0, compute = 0, statistics = 0, gradients = 0, data = 0;
  // In the order in which they are first computed; behind them what is of no layer: "loss",
  // "input", "gradients" (with the figures of the step).
  std::vector<LayerRow> rows;

  LayerRow Total() const;
  // Of the norms' rows.
  LayerRow Norms() const;
};

// `norms`: the names of the layers that normalize. Precondition: profile.steps() > 0.
LayerTable MakeLayerTable(const Profile& profile, const std::set<std::string>& norms);

// layers.csv: every row of the table, numbers as they are.
std::string LayerCsv(const LayerTable& table);

}  // namespace syncbn::train
