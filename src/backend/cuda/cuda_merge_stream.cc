#include "backend/cuda/cuda_merge_stream.h"

#include <algorithm>
#include <map>
#include <vector>

#include "backend/cuda/kernels/merge.h"
#include "base/unknown_value.h"

namespace syncbn::backend::cuda {

template <typename T>
void CudaMergeStream::AddInto(Tensor& into, const Tensor& from) {
  T* const to = Out<T>(into);
  const T* const other = In<T>(from);
  Run("merge: sum",
      [&](cudaStream_t stream) { kernels::AddInto(stream, to, other, into.elements()); });
}

namespace {

// What steps make of a value: the messages in it from left to right, and a program that combines
// them (MergeTree).
struct Program {
  std::vector<int> leaves;
  std::vector<uint8_t> merges;
  int depth = 1;

  // This one combined with what the other makes.
  void Append(const Program& other) {
    depth = std::max(depth, 1 + other.depth);
    leaves.insert(leaves.end(), other.leaves.begin(), other.leaves.end());
    merges.insert(merges.end(), other.merges.begin(), other.merges.end());
    ++merges.back();
  }
  bool fits() const {
    return leaves.size() <= kernels::MergeTree::kMostLeaves &&
           depth <= kernels::MergeTree::kMostDepth;
  }
};

// One for every value that steps have combined with others, and that is left.
std::map<int, Program> ProgramsOf(std::span<const MergeStep> steps) {
  std::map<int, Program> programs;
  const auto of = [&](int value) -> Program& {
    Program& program = programs[value];
    if (program.leaves.empty()) program = {.leaves = {value}, .merges = {0}};
    return program;
  };
  for (const MergeStep& step : steps) {
    of(step.into).Append(of(step.from));
    programs.erase(step.from);
  }
  return programs;
}

}  // namespace

void CudaMergeStream::Merge(const MergeContent& content, std::span<Tensor> values,
                            std::span<const MergeStep> steps) {
  CheckContent(content);
  // In one pass over all messages, where their tree has room in the registers of a kernel.
  const std::map<int, Program> programs =
      steps.size() > 1 ? ProgramsOf(steps) : std::map<int, Program>();
  const bool fit = !programs.empty() && std::ranges::all_of(programs, [](const auto& one) {
    return one.second.fits();
  }) && std::ranges::all_of(content.channels, [](int64_t channels) { return channels >= 0; });
  if (fit) {
    for (const auto& [into, program] : programs) {
      std::vector<Tensor> leaves;
      for (const int leaf : program.leaves) leaves.push_back(values[static_cast<size_t>(leaf)]);
      MergeTree(content, leaves, program.merges, values[static_cast<size_t>(into)]);
    }
    return;
  }
  for (const MergeStep& step : steps) {
    MergeTwo(content, values[static_cast<size_t>(step.into)],
             values[static_cast<size_t>(step.from)]);
  }
}

template <typename T>
void CudaMergeStream::SumTree(const kernels::MergeTree& tree, Tensor& into) {
  T* const to = Out<T>(into);
  Run("merge: tree of sums",
      [&](cudaStream_t stream) { kernels::SumTree(stream, tree, to, into.elements()); });
}

void CudaMergeStream::MergeTree(const MergeContent& content, std::span<const Tensor> leaves,
                                std::span<const uint8_t> merges, Tensor& into) {
  std::vector<const void*> addresses;
  for (const Tensor& leaf : leaves) {
    SYNCBN_CHECK_EQ(leaf.elements(), content.elements) << "a message to be merged";
    SYNCBN_CHECK_EQ(leaf.dtype(), content.dtype) << "a message to be merged";
    addresses.push_back(core().AnyAddress(leaf));
  }
  const kernels::MergeTree tree{.leaves = addresses, .merges = merges};
  switch (content.operation) {
    case MergeOperation::kSum:
      switch (content.dtype) {
        case DType::kFloat32:
          return SumTree<float>(tree, into);
        case DType::kFloat64:
          return SumTree<double>(tree, into);
        case DType::kInt32:
          return SumTree<int32_t>(tree, into);
        case DType::kInt64:
          return SumTree<int64_t>(tree, into);
        default:
          ThrowUnknownValue("sum of elements", static_cast<int>(content.dtype));
      }
    case MergeOperation::kMergeMoments: {
      double* const to = Out<double>(into);
      return Run("merge: tree of moments", [&](cudaStream_t stream) {
        kernels::MergeMomentsTree(stream, content.channels, tree, to);
      });
    }
  }
  ThrowUnknownValue("reduction", static_cast<int>(content.operation));
}

void CudaMergeStream::MergeTwo(const MergeContent& content, Tensor& into, const Tensor& from) {
  SYNCBN_CHECK_EQ(into.elements(), content.elements) << "a merged message";
  SYNCBN_CHECK_EQ(from.elements(), content.elements) << "a message to be merged";
  switch (content.operation) {
    case MergeOperation::kSum:
      switch (content.dtype) {
        case DType::kFloat32:
          return AddInto<float>(into, from);
        case DType::kFloat64:
          return AddInto<double>(into, from);
        case DType::kInt32:
          return AddInto<int32_t>(into, from);
        case DType::kInt64:
          return AddInto<int64_t>(into, from);
        case DType::kUint8:
        case DType::kBFloat16:
          break;  // CheckContent has refused it
      }
      ThrowUnknownValue("sum of elements", static_cast<int>(content.dtype));
    case MergeOperation::kMergeMoments: {
      const int64_t one = 1;
      double* const to = Out<double>(into);
      const double* const other = In<double>(from);
      return Run("merge: moments", [&](cudaStream_t stream) {
        kernels::MergeBlocks(stream, content.channels, content.elements, {&one, 1}, other, to);
      });
    }
  }
  ThrowUnknownValue("reduction", static_cast<int>(content.operation));
}

}  // namespace syncbn::backend::cuda
