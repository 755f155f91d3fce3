#include "data/loader.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "backend/out_of_device_memory.h"
#include "base/check.h"
#include "base/error.h"
#include "data/buffer_pool.h"

namespace syncbn::data {
namespace {

using SteadyClock = std::chrono::steady_clock;

using Order = std::shared_ptr<const std::vector<uint64_t>>;

// What a background thread has thrown; of an Error a copy, since every reader adds frames to its
// own. A device's lack of memory stays that: it is answered with a batch that would fit.
[[noreturn]] void ThrowCopy(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const backend::OutOfDeviceMemory& error) {
    throw backend::OutOfDeviceMemory(error);
  } catch (const Error& error) {
    throw Error(error);
  }
}

// The orders of the last two epochs asked for: replicas and prefetching meet at the end of one.
class EpochOrders {
 public:
  explicit EpochOrders(Sampler sampler) : sampler_(std::move(sampler)) {}

  Order Get(int64_t epoch) {
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
    Order order;
  };

  Sampler sampler_;
  std::mutex mutex_;
  std::deque<Entry> entries_;
};

}  // namespace

class Loader::State {
 public:
  using OrderOf = std::function<Order(int64_t epoch)>;

  // `batches` of each replica; none: without an end.
  State(const BatchMaker& maker, OrderOf order_of, std::optional<int64_t> batches, BatchPlan plan,
        const Options& options);
  ~State();

  LoadedBatch Next(int replica);

 private:
  // A batch that threads are filling.
  struct Making {
    int local = 0;
    int64_t number = 0, epoch = 0, step = 0;
    BatchDraft draft;
    int64_t given = 0;   // samples that a thread has taken,
    int64_t filled = 0;  // and that are there
  };
  // Batches of one replica, by their number since the start: [taken, begun) are made or being made.
  struct Queue {
    int64_t taken = 0;
    int64_t begun = 0;
    bool failed = false;  // its reader has been told, and is told again whatever is made meanwhile
    std::vector<std::optional<LoadedBatch>> ring;  // batch i at i % prefetch
    std::condition_variable ready;
  };

  std::shared_ptr<Making> Begin(int local, int64_t number);
  void Fill(const Making& making, int64_t begin, int64_t end) const;
  LoadedBatch Finish(Making& making) const;
  std::string NameOf(const Making& making) const;
  LoadedBatch Wait(Queue& queue);
  void Work();
  // One part of what there is to do; false: there is nothing. With the lock, which is let go for
  // it.
  bool WorkOnce(std::unique_lock<std::mutex>& lock);
  // The replica whose next batch is due first and has room; none if all have enough.
  std::optional<int> MostUrgent() const;
  void Fail();
  void Stop();

  const BatchMaker& maker_;
  const BatchPlan plan_;
  const Options options_;
  const OrderOf order_of_;
  const std::optional<int64_t> batches_;
  const int64_t start_;  // steps before the first batch
  BufferPool pool_;

  std::mutex mutex_;  // guards what follows
  std::condition_variable room_;
  std::vector<Queue> queues_;
  std::deque<std::shared_ptr<Making>> open_;  // with samples that no thread has taken
  std::exception_ptr failure_;                // the first
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

Loader::State::State(const BatchMaker& maker, OrderOf order_of, std::optional<int64_t> batches,
                     BatchPlan plan, const Options& options)
    : maker_(maker),
      plan_(std::move(plan)),
      options_(options),
      order_of_(std::move(order_of)),
      batches_(batches),
      start_(options.epoch * plan_.steps_per_epoch() + options.step),
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
  SYNCBN_CHECK(!batches_ || queue.taken < *batches_) << "batch " << queue.taken << " of a pass";
  LoadedBatch loaded;
  if (options_.prefetch == 0) {
    const std::shared_ptr<Making> making = Begin(local, queue.taken++);
    Fill(*making, 0, making->draft.size());
    loaded = Finish(*making);
  } else {
    loaded = Wait(queue);
  }
  loaded.waited = SteadyClock::now() - begin;
  return loaded;
}

LoadedBatch Loader::State::Wait(Queue& queue) {
  std::unique_lock lock(mutex_);
  const size_t slot = static_cast<size_t>(queue.taken % options_.prefetch);
  queue.ready.wait(lock, [&] { return queue.ring[slot].has_value() || failure_ != nullptr; });
  queue.failed |= !queue.ring[slot].has_value();
  if (queue.failed) ThrowCopy(failure_);
  LoadedBatch loaded = std::move(*queue.ring[slot]);
  queue.ring[slot].reset();
  ++queue.taken;
  lock.unlock();
  room_.notify_one();
  return loaded;
}

std::string Loader::State::NameOf(const Making& making) const {
  return "loading the batch of epoch " + std::to_string(making.epoch) + ", step " +
         std::to_string(making.step) + ", replica " +
         std::to_string(options_.first_replica + making.local);
}

std::shared_ptr<Loader::State::Making> Loader::State::Begin(int local, int64_t number) {
  const int64_t steps = plan_.steps_per_epoch();
  auto making = std::make_shared<Making>();
  making->local = local;
  making->number = number;
  making->epoch = (start_ + number) / steps;
  making->step = (start_ + number) % steps;
  WithFrame([&] { return NameOf(*making); },
            [&] {
              const int64_t epoch = making->epoch;
              const Order order = order_of_(epoch);
              const PositionRange slice = plan_.Slice(making->step, options_.first_replica + local);
              const std::span<const uint64_t> ids(order->data() + slice.begin,
                                                  static_cast<size_t>(slice.size()));
              const auto allocate = [&](size_t) { return pool_.Take(); };
              making->draft = options_.copies != nullptr
                                  ? maker_.BeginFor(*options_.copies, ids, epoch, allocate)
                                  : maker_.Begin(ids, epoch, allocate);
            });
  return making;
}

void Loader::State::Fill(const Making& making, int64_t begin, int64_t end) const {
  WithFrame([&] { return NameOf(making); }, [&] { maker_.Fill(making.draft, begin, end); });
}

LoadedBatch Loader::State::Finish(Making& making) const {
  LoadedBatch loaded{.batch = {}, .epoch = making.epoch, .step = making.step};
  WithFrame([&] { return NameOf(making); },
            [&] { loaded.batch = maker_.Finish(std::move(making.draft)); });
  return loaded;
}

std::optional<int> Loader::State::MostUrgent() const {
  std::optional<int> best;
  int64_t least = 0;
  for (int i = 0; i < options_.replicas; ++i) {
    const Queue& queue = queues_[static_cast<size_t>(i)];
    if (queue.begun >= queue.taken + options_.prefetch || queue.begun == batches_) continue;
    if (best && queue.begun >= least) continue;
    best = i;
    least = queue.begun;
  }
  return best;
}

bool Loader::State::WorkOnce(std::unique_lock<std::mutex>& lock) {
  const bool shared = !maker_.dataset().in_memory();
  std::shared_ptr<Making> making;
  if (!open_.empty()) {
    making = open_.front();
  } else {
    const std::optional<int> local = MostUrgent();
    if (!local) return false;
    const int64_t number = queues_[static_cast<size_t>(*local)].begun++;
    lock.unlock();
    making = Begin(*local, number);
    lock.lock();
    if (shared && making->draft.size() > 1) {
      open_.push_back(making);
      room_.notify_all();
    }
  }
  const int64_t size = making->draft.size(), begin = making->given;
  const int64_t end = shared ? std::min(size, begin + 1) : size;
  making->given = end;
  if (end == size) std::erase(open_, making);
  lock.unlock();
  Fill(*making, begin, end);
  lock.lock();
  making->filled += end - begin;
  if (making->filled < size) return true;
  lock.unlock();
  LoadedBatch loaded = Finish(*making);
  lock.lock();
  Queue& queue = queues_[static_cast<size_t>(making->local)];
  queue.ring[static_cast<size_t>(making->number % options_.prefetch)] = std::move(loaded);
  queue.ready.notify_one();
  return true;
}

void Loader::State::Work() {
  std::unique_lock lock(mutex_);
  while (!stopping_ && failure_ == nullptr) {
    try {
      if (!WorkOnce(lock)) room_.wait(lock);
    } catch (...) {
      if (!lock.owns_lock()) lock.lock();
      Fail();
    }
  }
}

void Loader::State::Fail() {
  if (failure_ == nullptr) failure_ = std::current_exception();
  for (Queue& queue : queues_) queue.ready.notify_all();
  room_.notify_all();
}

Loader::Loader(const BatchMaker& maker, Sampler sampler, BatchPlan plan, const Options& options)
    : state_(std::make_unique<State>(
          maker,
          [orders = std::make_shared<EpochOrders>(std::move(sampler))](int64_t epoch) {
            return orders->Get(epoch);
          },
          std::nullopt, std::move(plan), options)) {}

Loader::Loader(const BatchMaker& maker, std::vector<uint64_t> order, BatchPlan plan,
               const Options& options) {
  SYNCBN_CHECK_EQ(options.step, 0);
  const int64_t batches = plan.steps_per_epoch();
  state_ = std::make_unique<State>(
      maker,
      [order = std::make_shared<const std::vector<uint64_t>>(std::move(order))](int64_t) {
        return order;
      },
      batches, std::move(plan), options);
}

Loader::~Loader() = default;

LoadedBatch Loader::Next(int replica) {
  return state_->Next(replica);
}

}  // namespace syncbn::data
