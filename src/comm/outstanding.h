// Reductions that a device is given, or was, and has not done, where the exchange moves in stream
// order: for the host they are over, and a wait without end shows on the device alone.
#pragma once

#include <chrono>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "backend/event.h"
#include "comm/group_state.h"

namespace syncbn::comm {

// Thread-safe.
class Outstanding {
 public:
  struct Entry {
    const GroupState* group = nullptr;
    Signature signature;
    int64_t sequence = 0;
    // In the program of every replica: who has started more reductions has started this one.
    int64_t place = 0;
    // Before it: complete where the device has come to it.
    backend::Event before;
    // Behind it; nothing as long as it is being launched, in which the library may wait for others.
    std::optional<backend::Event> done;
    // When it was first seen to be the oldest, in the watchdog's time.
    std::optional<std::chrono::nanoseconds> since;
    // Whether the device has come to it; nothing as long as nobody has looked.
    std::optional<bool> come;

    std::string Describe() const;
  };

  // It is launched from here on, in the order of the stream.
  void Begin(Entry entry);
  // The device was given all of it.
  void Given(const GroupState* group, int64_t sequence, backend::Event done);
  // Asks the device what is done and forgets that, and whether it has come to the oldest of the
  // others. That is calls of a library which may not return as long as the device does not go on
  // (a driver's lock that a thread holds while it waits for it): nothing else here waits for them.
  void Look();
  // The oldest that was not done when somebody looked last, if any was not; since when it is that.
  std::optional<Entry> Oldest(std::chrono::nanoseconds now);
  // All that were not done then, the oldest first.
  std::vector<Entry> All();

 private:
  // Under looking_.
  void LookAtAll();

  std::mutex looking_;  // before mutex_; only who holds it takes entries out
  std::mutex mutex_;
  std::deque<Entry> entries_;
};

}  // namespace syncbn::comm
