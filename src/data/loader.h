// Batches for the replicas of this process, prepared ahead by background threads. Where images come
// out of files all threads decode for the same batch, a sample at a time, so that none is idle
// because fewer batches are prepared than there are threads.
//
// Every replica sees its own endless sequence of batches, one for each step, epoch after epoch,
// from the position given at the start. What a batch holds depends on (seed, epoch, step, replica)
// alone, never on threads, on prefetch, or on which process asks: it equals what BatchMaker makes.
//
// Different replicas may call Next at the same time; one replica's calls come one after another.
// Refers to a BatchMaker that must outlive it. Batches live on their own, also after the loader;
// their memory is used again once they are gone; that from which a device copies, once it has. The
// destructor stops and joins the threads, and must not run while a Next is under way.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "data/batch_maker.h"
#include "data/batch_plan.h"
#include "data/sampler.h"

namespace syncbn::data {

struct LoadedBatch {
  Batch batch;
  int64_t epoch = 0;
  int64_t step = 0;  // within the epoch
  // How long Next took: waiting, or making the batch when nothing is prefetched.
  std::chrono::nanoseconds waited{0};
};

class Loader {
 public:
  struct Options {
    // The replicas of this process: [first_replica, first_replica + replicas).
    int first_replica = 0;
    int replicas = 1;
    // Batches prepared for each replica beyond the one it took last; 0: made by Next itself, and no
    // threads.
    int prefetch = 2;
    int threads = 1;
    // The first batch; `step` may be steps_per_epoch(), which is step 0 of the next epoch.
    int64_t epoch = 0;
    int64_t step = 0;
    // Batches are made for its device (BatchMaker::MakeFor): their copies run ahead with them, and
    // only who reads a batch there is behind its event. Any thread may be calling it. Null: batches
    // are on the host. Must outlive the loader.
    backend::Stream* copies = nullptr;
  };

  Loader(const BatchMaker& maker, Sampler sampler, BatchPlan plan, const Options& options);
  // One pass over the samples of `order` in the steps of `plan`, all of them changed as
  // `options.epoch` asks; `options.step` is 0. For each replica Next is called at most as often as
  // there are steps.
  Loader(const BatchMaker& maker, std::vector<uint64_t> order, BatchPlan plan,
         const Options& options);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  // The next batch of `replica` (its index in the run). Sleeps until it is there. Throws what went
  // wrong in a background thread, once the batches made before are used up.
  LoadedBatch Next(int replica);

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace syncbn::data
