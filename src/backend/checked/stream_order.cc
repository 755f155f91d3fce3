#include "backend/checked/stream_order.h"

#include <algorithm>
#include <cstring>
#include <deque>
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

// What copies write to memory of the host, in their order, until the host has waited for them.
struct HostWrite {
  uint64_t access;
  Tensor to, bytes;
};
std::vector<HostWrite>& HostWrites() {
  static auto* const writes = new std::vector<HostWrite>;
  return *writes;
}

// Granules are in mapped memory, where nobody looks for pointers: what they refer to is owned here, for good.
std::vector<uint64_t>* NewReads() {
  static auto* const all = new std::deque<std::vector<uint64_t>>;
  return &all->emplace_back();
}

// What was done before is behind the one that writes now.
void Restart(Granule& granule, uint64_t access) {
  granule.written = access;
  granule.read = 0;
  if (granule.other_reads != nullptr) granule.other_reads->clear();
}

bool SeenByHost(uint64_t access) {
  return AllTicks().seen_by_host[StreamOf(access)] >= TickOf(access);
}

// After the host has seen more.
void FinishHostWrites() {
  std::erase_if(HostWrites(), [](HostWrite& write) {
    if (!SeenByHost(write.access)) return false;
    std::memcpy(write.to.Bytes().data(), write.bytes.Bytes().data(), write.bytes.bytes());
    return true;
  });
}

}  // namespace

class StreamOrder::Point : public Event::State {
 public:
  explicit Point(Clock behind) : behind_(std::move(behind)) {}
  // Whoever asks, and goes on when it is, has waited.
  bool Complete() const override {
    WaitOnHost();
    return true;
  }
  void WaitOnHost() const override {
    const std::lock_guard lock(Mutex());
    std::vector<uint64_t>& seen = AllTicks().seen_by_host;
    for (const auto& [stream, tick] : behind_) seen[stream] = std::max(seen[stream], tick);
    FinishHostWrites();
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

StreamOrder::~StreamOrder() {
  WaitOnHost();
}

uint64_t StreamOrder::Next() {
  return Access(number_, behind_[number_] = ++AllTicks().given[number_]);
}

bool StreamOrder::IsBehind(uint64_t access) const {
  const uint32_t stream = StreamOf(access);
  if (access == 0 || stream == number_) return true;
  const auto known = behind_.find(stream);
  const uint64_t tick = TickOf(access);
  return (known != behind_.end() && known->second >= tick) || SeenByHost(access);
}

void StreamOrder::Read(const Tensor& x) {
  if (!x.defined() || x.elements() == 0) return;
  const std::lock_guard lock(Mutex());
  const uint64_t access = Next();
  for (Granule& granule : GranulesOf(x)) {
    SYNCBN_CHECK(IsBehind(granule.written))
        << "stream " << number_ << " reads of a tensor " << x.shape() << " what stream "
        << StreamOf(granule.written) << " writes, and waits for no event behind that";
    if (granule.other_reads != nullptr) {
      std::erase_if(*granule.other_reads, [&](uint64_t other) { return IsBehind(other); });
    }
    if (!IsBehind(granule.read)) {
      if (granule.other_reads == nullptr) granule.other_reads = NewReads();
      granule.other_reads->push_back(granule.read);
    }
    granule.read = access;
  }
}

void StreamOrder::Write(const Tensor& x) {
  if (!x.defined() || x.elements() == 0) return;
  const std::lock_guard lock(Mutex());
  const uint64_t access = Next();
  for (Granule& granule : GranulesOf(x)) {
    const auto check = [&](uint64_t other) {
      SYNCBN_CHECK(IsBehind(other))
          << "stream " << number_ << " writes to a tensor " << x.shape() << " that stream "
          << StreamOf(other) << " uses, and waits for no event behind that";
    };
    check(granule.written);
    check(granule.read);
    if (granule.other_reads != nullptr) std::ranges::for_each(*granule.other_reads, check);
    Restart(granule, access);
  }
}

void StreamOrder::Own(const Tensor& x) {
  if (!x.defined() || x.elements() == 0) return;
  const std::lock_guard lock(Mutex());
  const uint64_t access = Next();
  for (Granule& granule : GranulesOf(x)) Restart(granule, access);
}

void StreamOrder::ReadOnHost(const Tensor& x) {
  const std::lock_guard lock(Mutex());
  const std::byte* const begin = x.DeviceAddress();
  for (const HostWrite& write : HostWrites()) {
    const std::byte* const other = write.to.DeviceAddress();
    SYNCBN_CHECK(other + write.to.bytes() <= begin || begin + x.bytes() <= other)
        << "a copy from a tensor " << x.shape() << " of the host, to which stream "
        << StreamOf(write.access) << " copies, and the host has not waited for that";
  }
}

void StreamOrder::WriteOnHost(const Tensor& x, Tensor bytes) {
  if (x.elements() == 0) return;
  const std::lock_guard lock(Mutex());
  HostWrites().push_back({.access = Next(), .to = x, .bytes = std::move(bytes)});
  std::memset(HostWrites().back().to.Bytes().data(), 0xFF, x.bytes());
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
  FinishHostWrites();
}

}  // namespace syncbn::backend::checked
