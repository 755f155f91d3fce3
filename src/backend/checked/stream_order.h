// Which stream has written to and read what, and what each of them is behind. A stream that touches what another
// is not done with, and no event or wait of the host between them, is an error: on a device it would be a race.
//
// What a copy writes to memory of the host is there when the host has waited for it; until then all of its bytes
// are 0xFF, which is NaN.
//
// A limit: what any thread of the host has waited for is behind all streams from then on, in all threads, since
// nobody sees how threads hand work to each other; Tensor::OnHost waits for all streams. Races that such a wait
// hides are not shown.
#pragma once

#include <cstdint>
#include <map>

#include "backend/event.h"
#include "tensor/tensor.h"

namespace syncbn::backend::checked {

// One stream of the checked device. Thread-safe. Its operations are done at once; what is looked at is whether
// they could be done later.
class StreamOrder {
 public:
  StreamOrder();
  // Waits for what it was given.
  ~StreamOrder();
  StreamOrder(const StreamOrder&) = delete;
  StreamOrder& operator=(const StreamOrder&) = delete;

  // What the next operation does with a tensor of the device. Throw INTERNAL where that races.
  void Read(const Tensor& x);
  void Write(const Tensor& x);
  // The tensor is new: what was done to its memory before is behind it.
  void Own(const Tensor& x);
  // The next operation takes its bytes from a tensor of the host while it is given. Throws INTERNAL where a copy
  // writes there for which the host has not waited.
  static void ReadOnHost(const Tensor& x);
  // The next operation writes `bytes`, of the same type and size, to a tensor of the host.
  void WriteOnHost(const Tensor& x, Tensor bytes);

  Event Record();
  void WaitFor(const Event& event);
  // The host waits for all that this stream was given; or all streams were.
  void WaitOnHost();
  static void WaitForAllOnHost();

 private:
  // Operations given so far, by the number of a stream.
  using Clock = std::map<uint32_t, uint64_t>;
  class Point;

  uint64_t Next();
  bool IsBehind(uint64_t access) const;

  const uint32_t number_;
  // What is given next is behind these.
  Clock behind_;
};

}  // namespace syncbn::backend::checked
