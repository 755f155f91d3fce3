#include "backend/checked/stream_order.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "backend/checked/checked_memory.h"
#include "base/check.h"

namespace syncbn::backend::checked {
namespace {

// An access: the number of the stream, and which of its operations it was; 0: none.
constexpr int kTickBits = 40;
uint64_t Access(uint32_t stream, uint64_t tick) {
  return static_cast<uint64_t>(stream) << kTickBits | tick;
}
uint32_t StreamOf(uint64_t access) { return static_cast<uint32_t>(access >> kTickBits); }
uint64_t TickOf(uint64_t access) { return access & ((uint64_t{1} << kTickBits) - 1); }

// Guards everything here, and all streams.
std::mutex& Mutex() {
  static std::mutex mutex;
  return mutex;
}
// By stream: its operations so far, and those that the host has waited for.
struct Ticks {
  std::vector<uint64_t> given = {0}, seen_by_host = {0};
};
Ticks& AllTicks() {
  static Ticks* const ticks = new Ticks;
  return *ticks;
}

}  // namespace

class StreamOrder::Point : public Event::State {
 public:
  explicit Point(Clock behind) : behind_(std::move(behind)) {}
  bool Complete() const override { return true; }
  void WaitOnHost() const override {
    const std::lock_guard lock(Mutex());
    std::vector<uint64_t>& seen = AllTicks().seen_by_host;
    for (const auto& [stream, tick] : behind_) seen[stream] = std::max(seen[stream], tick);
  }
  const Clock& behind() const { return behind_; }

 private:
  const Clock behind_;
};

StreamOrder::StreamOrder() : number_([] {
      const std::lock_guard lock(Mutex());
      AllTicks().given.push_back(0);
      AllTicks().seen_by_host.push_back(0);
      return static_cast<uint32_t>(AllTicks().given.size() - 1);
    }()) {}

uint64_t StreamOrder::Next() {
  return Access(number_, behind_[number_] = ++AllTicks().given[number_]);
}

bool StreamOrder::IsBehind(uint64_t access) const {
  const uint32_t stream = StreamOf(access);
  if (access == 0 || stream == number_) return true;
  const auto known = behind_.find(stream);
  const uint64_t tick = TickOf(access);
  return (known != behind_.end() && known->second >= tick) ||
         AllTicks().seen_by_host[stream] >= tick;
}

void StreamOrder::Read(const Tensor& x) {
  if (!x.defined() || x.elements() == 0) return;
  const std::lock_guard lock(Mutex());
  const uint64_t access = Next();
  for (Granule& granule : GranulesOf(x)) {
    SYNCBN_CHECK(IsBehind(granule.written))
        << "stream " << number_ << " reads of a tensor " << x.shape() << " what stream "
        << StreamOf(granule.written) << " writes, and waits for no event behind that";
    granule.read = access;
  }
}

void StreamOrder::Write(const Tensor& x) {
  if (!x.defined() || x.elements() == 0) return;
  const std::lock_guard lock(Mutex());
  const uint64_t access = Next();
  for (Granule& granule : GranulesOf(x)) {
    for (const uint64_t other : {granule.written, granule.read}) {
      SYNCBN_CHECK(IsBehind(other))
          << "stream " << number_ << " writes to a tensor " << x.shape() << " that stream "
          << StreamOf(other) << " uses, and waits for no event behind that";
    }
    granule.written = access;
  }
}

void StreamOrder::Own(const Tensor& x) {
  if (!x.defined() || x.elements() == 0) return;
  const std::lock_guard lock(Mutex());
  const uint64_t access = Next();
  for (Granule& granule : GranulesOf(x)) granule = {.written = access, .read = 0};
}

Event StreamOrder::Record() {
  const std::lock_guard lock(Mutex());
  return Event(std::make_shared<Point>(behind_));
}

void StreamOrder::WaitFor(const Event& event) {
  const auto* const point = dynamic_cast<const Point*>(event.state());
  if (point == nullptr) return event.WaitOnHost();
  const std::lock_guard lock(Mutex());
  for (const auto& [stream, tick] : point->behind()) {
    behind_[stream] = std::max(behind_[stream], tick);
  }
}

void StreamOrder::WaitOnHost() { Record().WaitOnHost(); }

void StreamOrder::WaitForAllOnHost() {
  const std::lock_guard lock(Mutex());
  AllTicks().seen_by_host = AllTicks().given;
}

}  // namespace syncbn::backend::checked
