#include "backend/host/host_stream.h"
#include "backend/host_merge_stream.h"

namespace syncbn::backend {
namespace host {
namespace {

class HostMergeStream final : public HostStream<MergeStream> {
 public:
  explicit HostMergeStream(Allocate allocate) : allocate_(allocate) {}

  Tensor New(Shape shape, DType dtype) override {
    return Tensor(shape, dtype, allocate_(static_cast<size_t>(shape.elements()) * SizeOf(dtype)));
  }
  void Merge(const MergeContent& content, Tensor& into, const Tensor& from) override {
    MergeRange(content, {0, content.elements}, into.Bytes().data(), from.Bytes().data());
  }

 private:
  const Allocate allocate_;
};

}  // namespace
}  // namespace host

std::unique_ptr<MergeStream> MakeHostMergeStream(Allocate allocate) {
  return std::make_unique<host::HostMergeStream>(allocate);
}

}  // namespace syncbn::backend
