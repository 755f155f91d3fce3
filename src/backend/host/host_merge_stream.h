// The merge stream of the host: what every back end hands out whose tensors live there, and what a reducer
// uses that was given no back end.
#pragma once

#include "backend/backend.h"
#include "backend/host/host_stream.h"

namespace syncbn::backend::host {

class HostMergeStream final : public HostStream<MergeStream> {
 public:
  explicit HostMergeStream(Allocate allocate = AllocateAligned) : allocate_(allocate) {}

  Tensor New(Shape shape, DType dtype) override {
    return Tensor(shape, dtype, allocate_(static_cast<size_t>(shape.elements()) * SizeOf(dtype)));
  }
  void Merge(const MergeContent& content, Tensor& into, const Tensor& from) override {
    MergeRange(content, {0, content.elements}, into.Bytes().data(), from.Bytes().data());
  }

 private:
  const Allocate allocate_;
};

}  // namespace syncbn::backend::host
