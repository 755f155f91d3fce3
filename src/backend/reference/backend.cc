#include "backend/backend.h"

#include <cstring>

#include "backend/reference/reference_executor.h"

namespace syncbn::backend {
namespace reference {

Tensor ReferenceExecutor::New(Shape shape, DType dtype) {
  Tensor tensor(shape, dtype);
  std::memset(tensor.Bytes().data(), 0xff, tensor.bytes());
  return tensor;
}

Tensor ReferenceExecutor::NewZeros(Shape shape) {
  return Tensor::Zeros(shape, dtype());
}

namespace {

class ReferenceBackend final : public Backend {
 public:
  std::string_view name() const override { return "reference"; }
  DType dtype() const override { return DType::kFloat64; }
  std::string Description() const override { return "plain loops in double"; }
  std::unique_ptr<Executor> MakeExecutor() const override {
    return std::make_unique<ReferenceExecutor>();
  }
};

}  // namespace
}  // namespace reference

std::unique_ptr<Backend> MakeReferenceBackend() {
  return std::make_unique<reference::ReferenceBackend>();
}

}  // namespace syncbn::backend
