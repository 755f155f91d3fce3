#include "data/loader.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "data/buffer_pool.h"

namespace syncbn::data {
namespace {

using SteadyClock = std::chrono::steady_clock;

// The orders of the last two epochs asked for: replicas and prefetching meet at the end of one.
class EpochOrders {
 public:
  explicit EpochOrders(Sampler sampler) : sampler_(std::move(sampler)) {}

  std::shared_ptr<const std::vector<uint64_t>> Get(int64_t epoch) {
    std::lock_guard lock(mutex_);
    for (const Entry& entry : entries_) {
      if (entry.epoch == epoch) return entry.order;
    }
    if (entries_.size() == 2) entries_.pop_front();
    auto order = std::make_shared<const std::vector<uint64_t>>(sampler_.Order(epoch));
    entries_.push_back({epoch, order});
    return order;
  }

 private:
  struct Entry {
    int64_t epoch;
    std::shared_ptr<const std::vector<uint64_t>> order;
  };

  Sampler sampler_;
  std::mutex mutex_;
  std::deque<Entry> entries_;
};

}  // namespace

class Loader::State {
 public:
  State(const BatchMaker& maker, Sampler sampler, BatchPlan plan, const Options& options);
  ~State();

  LoadedBatch Next(int replica);

 private:
  // Batches of one replica, by their number since the start: [taken, begun) are made or being made.
  struct Queue {
    int64_t taken = 0;
    int64_t begun = 0;
    bool failed = false;  // its reader has been told, and is told again whatever is made meanwhile
    std::vector<std::optional<LoadedBatch>> ring;  // batch i at i % prefetch
    std::condition_variable ready;
  };

  LoadedBatch MakeBatch(int local, int64_t number);
  LoadedBatch Wait(Queue& queue);
  void Work();
  // The replica whose next batch is due first and has room; none if all have enough.
  std::optional<int> MostUrgent() const;
  void Fail(const Error& error);
  void Stop();

  const BatchMaker& maker_;
  const BatchPlan plan_;
  const Options options_;
  const int64_t start_;  // steps before the first batch
  EpochOrders orders_;
  BufferPool pool_;

  std::mutex mutex_;  // guards what follows
  std::condition_variable room_;
  std::vector<Queue> queues_;
  std::optional<Error> failure_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

Loader::State::State(const BatchMaker& maker, Sampler sampler, BatchPlan plan,
                     const Options& options)
    : maker_(maker),
      plan_(std::move(plan)),
      options_(options),
      start_(options.epoch * plan_.steps_per_epoch() + options.step),
      orders_(std::move(sampler)),
      pool_(maker.BatchBytes(plan_.largest_slice())),
      queues_(static_cast<size_t>(options.replicas)) {
  SYNCBN_CHECK(options.first_replica >= 0 && options.replicas >= 0 &&
               options.first_replica + options.replicas <= plan_.replicas())
      << options.replicas << " replicas from " << options.first_replica << " of "
      << plan_.replicas();
  SYNCBN_CHECK(options.epoch >= 0 && options.step >= 0 && options.step <= plan_.steps_per_epoch())
      << "epoch " << options.epoch << ", step " << options.step;
  SYNCBN_CHECK(options.prefetch >= 0 && options.threads >= 1);
  if (options.prefetch == 0) return;
  for (Queue& queue : queues_) queue.ring.resize(static_cast<size_t>(options.prefetch));
  try {
    for (int i = 0; i < options.threads; ++i) threads_.emplace_back([this] { Work(); });
  } catch (const std::system_error& error) {
    Stop();  // those that did start
    throw Error(ErrorCode::kResourceExhausted,
                std::string("cannot start a thread that loads data: ") + error.what());
  }
}

Loader::State::~State() {
  Stop();
}

void Loader::State::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  room_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

LoadedBatch Loader::State::Next(int replica) {
  const int local = replica - options_.first_replica;
  SYNCBN_CHECK(local >= 0 && local < options_.replicas)
      << "replica " << replica << " is not one of the " << options_.replicas << " from "
      << options_.first_replica << " on";
  const SteadyClock::time_point begin = SteadyClock::now();
  Queue& queue = queues_[static_cast<size_t>(local)];
  LoadedBatch loaded = options_.prefetch == 0 ? MakeBatch(local, queue.taken++) : Wait(queue);
  loaded.waited = SteadyClock::now() - begin;
  return loaded;
}

LoadedBatch Loader::State::Wait(Queue& queue) {
  std::unique_lock lock(mutex_);
  const size_t slot = static_cast<size_t>(queue.taken % options_.prefetch);
  queue.ready.wait(lock, [&] { return queue.ring[slot].has_value() || failure_.has_value(); });
  queue.failed |= !queue.ring[slot].has_value();
  if (queue.failed) throw Error(*failure_);
  LoadedBatch loaded = std::move(*queue.ring[slot]);
  queue.ring[slot].reset();
  ++queue.taken;
  lock.unlock();
  room_.notify_one();
  return loaded;
}

LoadedBatch Loader::State::MakeBatch(int local, int64_t number) {
  const int replica = options_.first_replica + local;
  const int64_t steps = plan_.steps_per_epoch();
  LoadedBatch loaded;
  loaded.epoch = (start_ + number) / steps;
  loaded.step = (start_ + number) % steps;
  const auto where = [&] {
    return "loading the batch of epoch " + std::to_string(loaded.epoch) + ", step " +
           std::to_string(loaded.step) + ", replica " + std::to_string(replica);
  };
  WithFrame(where, [&] {
    const auto order = orders_.Get(loaded.epoch);
    const PositionRange slice = plan_.Slice(loaded.step, replica);
    const std::span<const uint64_t> ids(order->data() + slice.begin,
                                        static_cast<size_t>(slice.size()));
    loaded.batch = options_.copies != nullptr
                       ? maker_.MakeFor(*options_.copies, ids, loaded.epoch)
                       : maker_.Make(ids, loaded.epoch, [&](size_t) { return pool_.Take(); });
  });
  return loaded;
}

std::optional<int> Loader::State::MostUrgent() const {
  std::optional<int> best;
  int64_t least = 0;
  for (int i = 0; i < options_.replicas; ++i) {
    const Queue& queue = queues_[static_cast<size_t>(i)];
    if (queue.begun >= queue.taken + options_.prefetch) continue;
    if (best && queue.begun >= least) continue;
    best = i;
    least = queue.begun;
  }
  return best;
}

void Loader::State::Work() {
  std::unique_lock lock(mutex_);
  while (!stopping_ && !failure_) {
    const std::optional<int> local = MostUrgent();
    if (!local) {
      room_.wait(lock);
      continue;
    }
    Queue& queue = queues_[static_cast<size_t>(*local)];
    const int64_t number = queue.begun++;
    lock.unlock();
    try {
      LoadedBatch loaded = MakeBatch(*local, number);
      lock.lock();
      queue.ring[static_cast<size_t>(number % options_.prefetch)] = std::move(loaded);
      queue.ready.notify_one();
    } catch (const Error& error) {
      lock.lock();
      Fail(error);
    }
  }
}

void Loader::State::Fail(const Error& error) {
  failure_ = error;
  for (Queue& queue : queues_) queue.ready.notify_all();
  room_.notify_all();
}

Loader::Loader(const BatchMaker& maker, Sampler sampler, BatchPlan plan, const Options& options)
    : state_(std::make_unique<State>(maker, std::move(sampler), std::move(plan), options)) {}

Loader::~Loader() = default;

LoadedBatch Loader::Next(int replica) {
  return state_->Next(replica);
}

}  // namespace syncbn::data
