#include "backend/backend.h"

#include <cstring>

#include "backend/host_merge_stream.h"
#include "backend/reference/reference_executor.h"

namespace syncbn::backend {
namespace reference {

Tensor ReferenceExecutor::New(Shape shape, DType dtype) {
  Tensor tensor(shape, dtype, allocate_(static_cast<size_t>(shape.elements()) * SizeOf(dtype)));
  std::memset(tensor.Bytes().data(), 0xff, tensor.bytes());
  return tensor;
}

Tensor ReferenceExecutor::NewZeros(Shape shape) {
  return HostExecutor::NewZeros(shape, types().activations);
}

namespace {

class ReferenceBackend final : public Backend {
 public:
  explicit ReferenceBackend(Allocate allocate) : allocate_(allocate) {}

  std::string_view name() const override { return "reference"; }
  const Device& device() const override { return Device::Host(); }
  ElementTypes types() const override { return ReferenceExecutor().types(); }
  std::string Description() const override { return "plain loops in double"; }
  std::unique_ptr<Executor> MakeExecutor() const override {
    return std::make_unique<ReferenceExecutor>(allocate_);
  }
  std::unique_ptr<MergeStream> MakeMergeStream() const override {
    return MakeHostMergeStream(allocate_);
  }

 private:
  const Allocate allocate_;
};

}  // namespace
}  // namespace reference

std::unique_ptr<Backend> MakeReferenceBackend(Allocate allocate) {
  return std::make_unique<reference::ReferenceBackend>(allocate);
}

}  // namespace syncbn::backend
