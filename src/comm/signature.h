// What a replica says it reduces: travels with every message and is compared everywhere, so that
// replicas that are at different places of the program get an error that says so instead of a wrong sum
// or a hang.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "comm/reducer.h"

namespace syncbn::comm {

// Trivially copyable: is sent as it is.
struct Signature {
  Operation operation = Operation::kSum;
  DType dtype = DType::kFloat32;
  // Who said this first in its process.
  int32_t replica = 0;
  int32_t rank = 0;
  int64_t elements = 0;
  // Where all processes launch in one order: its number in the program of every replica.
  int64_t place = -1;
  uint64_t name_hash = 0;
  uint64_t channels_hash = 0;
  // The name, cut to what fits, ending in zeros.
  std::array<char, 56> name{};

  static Signature Of(int replica, int rank, const Reduction& reduction);
  // All but who says it.
  bool Agrees(const Signature& other) const;
  std::string_view Name() const;
  // "'layer1.bn1 forward' (33 doubles, moments)"
  std::string Describe() const;
};

// "rank 1 replica 5 reduces 'layer2.bn1 forward' (33 doubles, sum), rank 0 replica 0 'layer1.bn1 forward'
// (17 doubles, sum), both as number 4 of replicas 0..7: ..." The lower rank comes last whoever finds it, so
// that all ranks report the same text.
std::string DescribeMismatch(const Signature& one, const Signature& other, Group group,
                             int64_t sequence);

// "replicas 0..7", "replica 3"
std::string Describe(Group group);

}  // namespace syncbn::comm
