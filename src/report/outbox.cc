#include "report/outbox.h"

#include <algorithm>

#include "base/error.h"

namespace syncbn::report {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

Outbox::Outbox(std::unique_ptr<Spool> spool, Options options)
    : options_(std::move(options)), spool_(std::move(spool)) {
  if (spool_) writer_ = std::thread([this] { WriteLoop(); });
}

Outbox::~Outbox() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  if (writer_.joinable()) writer_.join();
}

void Outbox::Add(std::span<const Point> points) {
  {
    std::lock_guard lock(mutex_);
    for (const Point& point : points) {
      const int64_t sequence = next_++;
      if (static_cast<int64_t>(memory_.size()) >= options_.max_waiting_points) {
        ++lost_pending_;
        ++lost_;
        continue;
      }
      memory_.push_back({sequence, std::exchange(lost_pending_, 0), point});
    }
  }
  changed_.notify_all();
}

v1::MetricBatch Outbox::BatchFrom(std::deque<Waiting>::const_iterator begin) const {
  v1::MetricBatch batch;
  batch.set_lost_before(begin->lost_before);
  for (auto one = begin; one != memory_.end(); ++one) {
    if (one != begin &&
        (one->lost_before > 0 || !HasRoom(batch, one->point.name, options_.batch_bytes))) {
      break;
    }
    AddPoint(batch, one->sequence, one->point);
  }
  return batch;
}

void Outbox::WriteLoop() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return stop_ || !memory_.empty(); });
    if (memory_.empty()) return;
    if (WriteSome(lock)) continue;
    if (stop_) return;
    changed_.wait_for(lock, options_.retry, [&] { return stop_; });
  }
}

bool Outbox::WriteSome(std::unique_lock<std::mutex>& lock) {
  const v1::MetricBatch batch = BatchFrom(memory_.begin());
  lock.unlock();
  bool written = false;
  std::string error;
  {
    std::lock_guard spool_lock(spool_mutex_);
    written = spool_->Append(batch);
    if (!written) error = spool_->error();
  }
  lock.lock();
  if (written) {
    in_spool_ = LastSequence(batch);
    Drop();
  }
  if (written == refused_) {
    refused_ = !written;
    const auto waiting = memory_.size();
    lock.unlock();
    Warn(written ? "the spool is written again"
                 : error + "; up to " + std::to_string(options_.max_waiting_points) +
                       " metric points wait in memory (" + std::to_string(waiting) +
                       " now), and training goes on");
    lock.lock();
  }
  changed_.notify_all();
  return written;
}

void Outbox::Drop() {
  const int64_t done = std::max(acknowledged_, in_spool_);
  while (!memory_.empty() && memory_.front().sequence <= done) memory_.pop_front();
}

bool Outbox::Flush(milliseconds time, bool sync) {
  std::unique_lock lock(mutex_);
  const int64_t wanted = next_ - 1 - lost_pending_;
  auto safe = [&] { return std::max(acknowledged_, in_spool_) >= wanted; };
  // A disk that refuses is not waited for.
  changed_.wait_for(lock, time, [&] { return safe() || refused_ || !spool_; });
  const bool done = safe();
  if (!done || !sync || !spool_) return done;
  lock.unlock();
  try {
    std::lock_guard spool_lock(spool_mutex_);
    spool_->Sync();
    return true;
  } catch (const Error& error) {
    Warn(error.message());
    return false;
  }
}

std::optional<v1::MetricBatch> Outbox::After(int64_t sequence) {
  while (true) {
    int64_t in_spool = 0;
    {
      std::lock_guard lock(mutex_);
      const auto begin = std::partition_point(
          memory_.begin(), memory_.end(), [&](const Waiting& one) { return one.sequence <= sequence; });
      const bool follows = begin != memory_.end() && begin->sequence == sequence + 1;
      if (follows || in_spool_ <= sequence) {
        if (begin == memory_.end()) return std::nullopt;
        return BatchFrom(begin);
      }
      in_spool = in_spool_;
    }
    {
      std::lock_guard spool_lock(spool_mutex_);
      if (auto batch = spool_->After(sequence, options_.batch_bytes)) return batch;
    }
    // What the spool cannot give is passed over: memory goes on behind it, unless that has just gone
    // to the spool.
    std::lock_guard lock(mutex_);
    if (in_spool != in_spool_) continue;
    if (memory_.empty()) return std::nullopt;
    return BatchFrom(memory_.begin());
  }
}

bool Outbox::WaitForPoints(int64_t sequence, milliseconds time) {
  std::unique_lock lock(mutex_);
  const int64_t wakes = wakes_;
  auto there = [&] {
    return in_spool_ > sequence || (!memory_.empty() && memory_.back().sequence > sequence);
  };
  changed_.wait_for(lock, time, [&] { return wakes_ != wakes || there(); });
  return there();
}

void Outbox::Wake() {
  {
    std::lock_guard lock(mutex_);
    ++wakes_;
  }
  changed_.notify_all();
}

void Outbox::Acknowledge(int64_t sequence) {
  {
    std::lock_guard lock(mutex_);
    if (sequence <= acknowledged_) return;
    acknowledged_ = sequence;
    Drop();
  }
  changed_.notify_all();
  if (!spool_) return;
  std::lock_guard spool_lock(spool_mutex_);
  spool_->Acknowledge(sequence);
}

bool Outbox::WriteExit(const v1::RankExit& exit) {
  if (!spool_) return false;
  try {
    std::lock_guard spool_lock(spool_mutex_);
    spool_->WriteExit(exit);
    return true;
  } catch (const Error& error) {
    Warn("the exit report is not in the spool: " + error.message());
    return false;
  }
}

void Outbox::RemoveSpool() {
  if (!spool_) return;
  std::lock_guard spool_lock(spool_mutex_);
  spool_->Remove();
}

bool Outbox::WaitUntilEmpty(milliseconds time) {
  std::unique_lock lock(mutex_);
  const int64_t wakes = wakes_;
  auto empty = [&] { return memory_.empty() && in_spool_ <= acknowledged_; };
  changed_.wait_for(lock, time, [&] { return wakes_ != wakes || empty(); });
  return empty();
}

Outbox::Figures Outbox::figures() const {
  std::lock_guard lock(mutex_);
  return {.last = next_ - 1,
          .acknowledged = acknowledged_,
          .waiting = static_cast<int64_t>(memory_.size()) +
                     std::max<int64_t>(0, in_spool_ - acknowledged_),
          .lost = lost_};
}

void Outbox::AddLost(int64_t points) {
  std::lock_guard lock(mutex_);
  lost_ += points;
}

void Outbox::Warn(const std::string& warning) const {
  if (options_.on_warning) options_.on_warning(warning);
}

}  // namespace syncbn::report
