// A device and the arithmetic on it. Thread-safe.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "backend/convolution_forms.h"
#include "backend/executor.h"
#include "backend/merge_stream.h"
#include "backend/precision.h"

namespace syncbn::backend {

class Backend {
 public:
  virtual ~Backend() = default;
  // "cpu", "reference", "cuda"
  virtual std::string_view name() const = 0;
  virtual const Device& device() const = 0;
  virtual ElementTypes types() const = 0;
  // Library versions and instruction set, e.g. "oneDNN 2.6.3, AVX512_CORE_BF16, row kernels avx512": part of
  // what ranks compare at start, since bits may depend on it.
  virtual std::string Description() const = 0;
  virtual std::unique_ptr<Executor> MakeExecutor() const = 0;
  virtual std::unique_ptr<MergeStream> MakeMergeStream() const = 0;
  // For copies that are to run beside what executors do. Thread-safe.
  virtual std::unique_ptr<Stream> MakeCopyStream() const { return MakeMergeStream(); }
  // This back end, on the same device, computing in another precision than kFloat32, which they all
  // have. Throws UNIMPLEMENTED where it has no other.
  virtual std::unique_ptr<Backend> WithPrecision(Precision precision) const;
  // This back end with convolutions of other forms than kDirect; null where there is nothing to
  // choose: the reference has no other, and cuDNN makes a choice of its own.
  virtual std::unique_ptr<Backend> WithConvolutions(ConvolutionForms /*forms*/) const {
    return nullptr;
  }
};

// Where back ends of the host take the memory of tensors from: at least so many bytes, aligned to 64.
using Allocate = std::shared_ptr<void> (*)(size_t bytes);

// oneDNN for convolution, matrix products and pooling; own row kernels; float32.
std::unique_ptr<Backend> MakeCpuBackend(Allocate allocate = AllocateAligned);
// Plain loops in double: slow, obvious, the oracle of the tests.
std::unique_ptr<Backend> MakeReferenceBackend(Allocate allocate = AllocateAligned);
// On a GPU: of those that can be used (gpus.h) that of the process which is the n-th on its host, n
// modulo their number. Throws UNIMPLEMENTED in a program without CUDA, FAILED_PRECONDITION, with
// what to do, where there is no such GPU.
std::unique_ptr<Backend> MakeCudaBackend(int local_rank);

}  // namespace syncbn::backend
