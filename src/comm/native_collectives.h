// A library's own all-reduce: the stated exception to "the arithmetic is ours" (`reduction: native`).
#pragma once

#include <memory>

#include "comm/merge.h"

namespace syncbn::comm {

// Thread-safe. All-reduces of one rank set must be started in the same order on all its ranks.
class NativeCollectives {
 public:
  // An all-reduce under way; of a library that works in stream order there is none (Start returns
  // null).
  class Request {
   public:
    virtual ~Request() = default;
  };

  virtual ~NativeCollectives() = default;
  // Replaces `value` on every rank of set `rank_set` (its index at creation) by the reduction of
  // all. Its memory is kept until that is there, or for ever after a failure.
  virtual std::shared_ptr<Request> Start(int rank_set, const Content& content,
                                         const Tensor& value) = 0;
  // Moves data; true when the result is in place. Throws UNAVAILABLE when the library fails.
  virtual bool Test(Request& request) = 0;
};

}  // namespace syncbn::comm
