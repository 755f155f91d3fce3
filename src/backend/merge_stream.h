// The stream on which a reduction layer merges what the streams of executors have made.
//
// Thread-safe: replicas bring their contributions on threads of their own. Merges that are given at the same
// time are in no order; who needs one gives them one after the other, or waits for an event.
#pragma once

#include "backend/merge.h"
#include "backend/stream.h"

namespace syncbn::backend {

class MergeStream : public Stream {
 public:
  // into <- into combined with from; both are the whole message.
  virtual void Merge(const MergeContent& content, Tensor& into, const Tensor& from) = 0;
};

}  // namespace syncbn::backend
