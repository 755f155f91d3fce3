// A run in a cluster: its step, which normalization batch is free of charge there, and ways to run
// the experiment that it is part of.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "forecast/machine_profile.h"
#include "forecast/step_model.h"
#include "forecast/step_program.h"
#include "forecast/time_to_target.h"
#include "syncbn/v1/run.pb.h"

namespace syncbn::forecast {

// What a larger normalization batch may add to a step and still be called free.
inline constexpr double kFreeShare = 0.02;

struct FreeNormBatch {
  // Samples; that of a replica alone, if nothing more is free.
  int64_t samples = 0;
  int64_t replica = 0, global = 0;
  // What statistics over all replicas add to the step, as a share of it with those of each replica.
  double global_adds = 0;
};

struct ClusterForecast {
  int processes = 0;
  int replicas = 0;
  int64_t sgd_batch = 0;
  // Samples of the largest replica.
  int64_t replica_batch = 0;
  // Why there is no such run; the rest is empty then.
  std::string impossible;
  StepTime step;
  // That a process sends in a step.
  int64_t messages = 0, bytes = 0;
  // Its replica's batch lies beyond those measured.
  bool extrapolated = false;

  double images_per_second() const { return static_cast<double>(sgd_batch) / step.total(); }
};

class RunForecast {
 public:
  struct Options {
    Network network;
    // Of each process.
    int cores = 1;
  };
  // `run` is complete. References must outlive it.
  RunForecast(v1::RunSpec run, const MachineProfile& profile, ProgramRecorder& recorder,
              const Options& options)
      : run_(std::move(run)), profile_(profile), recorder_(recorder), options_(options) {}

  // The run file in a cluster: as many replicas as it says, or as many as there are processes where
  // these are more; each with the batch that it says, or with its share of `sgd_batch`. Throws
  // INVALID_ARGUMENT where that cannot be: a list of batches for another number of replicas, a
  // batch that cannot be shared out, a normalization batch that does not fit.
  v1::RunSpec SpecOf(int processes, std::optional<int64_t> sgd_batch = std::nullopt) const;
  ClusterForecast At(int processes, std::optional<int64_t> sgd_batch = std::nullopt);
  // Of the sizes that are a replica's batch times a power of two, or all, the largest whose step
  // takes at most kFreeShare more than with a replica's own statistics. Nothing where the model has
  // no batch norm, replicas have batches of different sizes or single samples without statistics,
  // or there is one replica.
  std::optional<FreeNormBatch> FreeAt(int processes,
                                      std::optional<int64_t> sgd_batch = std::nullopt);
  // Those of all combinations that can be.
  std::vector<Setting> Settings(const std::vector<int>& processes,
                                const std::vector<int64_t>& sgd_batches);

 private:
  struct Step {
    StepTime time;
    int64_t messages = 0, bytes = 0;
    bool shares_statistics = false;
  };
  Step Predict(const v1::RunSpec& spec, int processes);

  const v1::RunSpec run_;
  const MachineProfile& profile_;
  ProgramRecorder& recorder_;
  const Options options_;
};

// Of the largest replica.
int64_t ReplicaBatch(const v1::ClusterSpec& cluster);

}  // namespace syncbn::forecast
