// What every replica is doing, as far as this process knows: local replicas write their own entry, the
// entries of others come with their processes' heartbeats.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "comm/reducer.h"

namespace syncbn::comm {

// Trivially copyable: is sent as it is. Texts are cut to what fits and end in zeros.
struct ReplicaStatus {
  int32_t replica = 0;
  // Inside Wait: what for.
  int32_t waiting = 0;
  int32_t group_begin = 0, group_end = 0;
  int64_t sequence = -1;
  // Grows with every sign of life: what is waited for is judged by this, not by a stopwatch.
  uint64_t changes = 0;
  int64_t step = -1;
  // It has entered so many since the start.
  int64_t reductions = 0;
  std::array<char, 16> phase{};
  std::array<char, 56> layer{};
  std::array<char, 56> reduction{};

  bool WaitsFor(Group group, int64_t sequence) const;
  // "step 17, backward, layer2.0.bn1, waiting for 'layer2.0.bn1 backward' (reduction 4 of replicas 0..3)"
  std::string Describe() const;
};

// Thread-safe. Writing costs some 20 ns: it happens twice a layer.
class ProgressBoard {
 public:
  explicit ProgressBoard(int replicas);

  int replicas() const { return replicas_; }
  void Report(int replica, int64_t step, std::string_view phase, std::string_view layer);
  // Progress that is worth no text.
  void Touch(int replica);
  // The replica has entered a reduction.
  void Contribute(int replica);
  void EnterWait(int replica, std::string_view reduction, Group group, int64_t sequence);
  void LeaveWait(int replica);

  ReplicaStatus Read(int replica) const;
  uint64_t Changes(int replica) const;
  // Replaces the entry of status.replica.
  void Write(const ReplicaStatus& status);

 private:
  struct Entry {
    mutable std::mutex mutex;
    ReplicaStatus status;
  };
  Entry& At(int replica) const { return entries_[static_cast<size_t>(replica)]; }

  const int replicas_;
  const std::unique_ptr<Entry[]> entries_;
};

}  // namespace syncbn::comm
