// The stream on which a reduction layer merges what the streams of executors have made.
//
// Thread-safe: replicas bring their contributions on threads of their own. Merges that are given at the same
// time are in no order; who needs one gives them one after the other, or waits for an event.
#pragma once

#include <array>
#include <span>

#include "backend/merge.h"
#include "backend/stream.h"

namespace syncbn::backend {

class MergeStream : public Stream {
 public:
  // The steps one after the other, over values that are whole messages each. One that a step has
  // merged from holds anything afterwards.
  virtual void Merge(const MergeContent& content, std::span<Tensor> values,
                     std::span<const MergeStep> steps) = 0;
  // into <- into combined with from.
  void Merge(const MergeContent& content, Tensor& into, const Tensor& from) {
    std::array<Tensor, 2> values = {into, from};
    const MergeStep step{.into = 0, .from = 1};
    Merge(content, values, {&step, 1});
  }
};

}  // namespace syncbn::backend
