// A library's own all-reduce: the stated exception to "the arithmetic is ours" (`reduction: native`).
#pragma once

#include <memory>

#include "comm/merge.h"

namespace syncbn::comm {

// Thread-safe. All-reduces of one rank set must be started in the same order on all its ranks.
class NativeCollectives {
 public:
  // An all-reduce under way.
  class Request {
   public:
    virtual ~Request() = default;
  };

  virtual ~NativeCollectives() = default;
  // Replaces `data` on every rank of set `rank_set` (its index at creation) by the reduction of all.
  // `keep_alive` holds it alive until it is there, or for ever after a failure.
  virtual std::shared_ptr<Request> Start(int rank_set, const Content& content, void* data,
                                         std::shared_ptr<void> keep_alive) = 0;
  // Moves data; true when the result is in place. Throws UNAVAILABLE when the library fails.
  virtual bool Test(Request& request) = 0;
};

}  // namespace syncbn::comm
