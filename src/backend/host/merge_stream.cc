#include <algorithm>

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
  using MergeStream::Merge;
  void Merge(const MergeContent& content, std::span<Tensor> values,
             std::span<const MergeStep> steps) override {
    // Sums in pieces that stay in the cache over all steps. Moments hold whole blocks and are not
    // cut.
    const int64_t piece = steps.size() > 1 && content.operation == MergeOperation::kSum
                              ? kPieceElements
                              : content.elements;
    for (int64_t begin = 0; begin < content.elements; begin += piece) {
      const ElementRange range{begin, std::min(begin + piece, content.elements)};
      const size_t offset = static_cast<size_t>(begin) * SizeOf(content.dtype);
      for (const MergeStep& step : steps) {
        MergeRange(content, range, BytesAt(values, step.into, content) + offset,
                   BytesAt(values, step.from, content) + offset);
      }
    }
  }

 private:
  static constexpr int64_t kPieceElements = 16 * 1024;

  static std::byte* BytesAt(std::span<Tensor> values, int index, const MergeContent& content) {
    Tensor& value = values[static_cast<size_t>(index)];
    SYNCBN_CHECK_EQ(value.bytes(), content.bytes()) << "a message that is merged";
    return value.Bytes().data();
  }

  const Allocate allocate_;
};

}  // namespace
}  // namespace host

std::unique_ptr<MergeStream> MakeHostMergeStream(Allocate allocate) {
  return std::make_unique<host::HostMergeStream>(allocate);
}

}  // namespace syncbn::backend
