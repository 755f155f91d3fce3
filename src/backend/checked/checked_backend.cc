#include "backend/checked/checked_backend.h"

#include <string>
#include <utility>

#include "backend/checked/checked_executor.h"

namespace syncbn::backend {
namespace checked {
namespace {

class CheckedMergeStream final : public CheckedStream<MergeStream> {
 public:
  using CheckedStream::CheckedStream;
  using MergeStream::Merge;
  void Merge(const MergeContent& content, std::span<Tensor> values,
             std::span<const MergeStep> steps) override {
    // Read too, though the order of a read and a write is the same.
    std::vector<Tensor> inside;
    for (const Tensor& value : values)
      inside.push_back(value.defined() ? Written(value) : Tensor());
    inner().Merge(content, inside, steps);
  }
};

class CheckedBackend final : public Backend {
 public:
  explicit CheckedBackend(std::unique_ptr<Backend> inner) : inner_(std::move(inner)) {}

  std::string_view name() const override { return "checked"; }
  const Device& device() const override { return CheckedDevice(); }
  ElementTypes types() const override { return inner_->types(); }
  std::string Description() const override { return "checked: " + inner_->Description(); }
  std::unique_ptr<Executor> MakeExecutor() const override {
    return std::make_unique<CheckedExecutor>(inner_->MakeExecutor());
  }
  std::unique_ptr<MergeStream> MakeMergeStream() const override {
    return std::make_unique<CheckedMergeStream>(inner_->MakeMergeStream());
  }
  std::unique_ptr<Backend> WithPrecision(Precision precision) const override {
    return std::make_unique<CheckedBackend>(inner_->WithPrecision(precision));
  }
  std::unique_ptr<Backend> WithConvolutions(ConvolutionForms forms) const override {
    std::unique_ptr<Backend> inner = inner_->WithConvolutions(forms);
    if (inner == nullptr) return nullptr;
    return std::make_unique<CheckedBackend>(std::move(inner));
  }

 private:
  const std::unique_ptr<Backend> inner_;
};

}  // namespace
}  // namespace checked

std::unique_ptr<Backend> MakeCheckedBackend(std::unique_ptr<Backend> (*make)(Allocate)) {
  return std::make_unique<checked::CheckedBackend>(make(checked::AllocateInside));
}

}  // namespace syncbn::backend
