#include "backend/cuda/kernels/step.h"

#include <cmath>

#include "backend/cuda/kernels/block_sum.h"
#include "backend/cuda/kernels/each.h"
#include "backend/cuda/kernels/fours.h"
#include "backend/cuda/kernels/pieces.h"

namespace syncbn::backend::cuda::kernels {
namespace {

constexpr int kThreads = 256;
// Elements of a tensor that a block adds up.
constexpr int64_t kSquaresBlock = 8192;
constexpr int kJudgeThreads = 512;
constexpr int64_t kDouble = sizeof(double);

SYNCBN_DEVICE bool IsFinite(double value) {
  return value - value == 0;
}

// scratch[b] = the sum of squares of block b of 8192 elements, of one tensor: thread t adds its
// elements 4 t .. 4 t + 3 of each 1024 in their order, then BlockSum. 16-byte loads where the
// tensor is aligned. Moved: the tensors.
struct SquaresKernel {
  static constexpr bool kCooperative = true;
  Piece<SquaresOf> tensors;
  double* scratch;

  SYNCBN_DEVICE void operator()() const {
    const int index = tensors.Find(Block());
    const SquaresOf of = tensors.entries[index];
    const bool aligned = IsAligned16(of.x);
    const int64_t begin = (Block() - tensors.first[index]) * kSquaresBlock;
    const int64_t end = begin + kSquaresBlock < of.elements ? begin + kSquaresBlock : of.elements;
    double sum = 0;
    for (int64_t i = begin + 4 * Thread(); i < end; i += 4 * kThreads) {
      const Vector<float, 4> x = LoadFour(of.x, i, end, aligned);
      SYNCBN_UNROLL
      for (int k = 0; k < 4; ++k)
        sum = fma(static_cast<double>(x[k]), static_cast<double>(x[k]), sum);
    }
    sum = BlockSum(sum);
    if (Thread() == 0) Store(scratch + Block(), sum);
  }
};

// sums[i] = the sum of the blocks of tensor i, by a block of threads: each adds every 256th, then
// BlockSum. Moved: the blocks' sums and the results.
struct SquaresTotalKernel {
  static constexpr bool kCooperative = true;
  Piece<SquaresOf> tensors;  // for where the blocks of each lie
  const double* scratch;
  double* sums;

  SYNCBN_DEVICE void operator()() const {
    const int64_t begin = tensors.first[Block()], end = tensors.first[Block() + 1];
    double sum = 0;
    for (int64_t i = begin + Thread(); i < end; i += kThreads) sum += Load(scratch + i);
    sum = BlockSum(sum);
    if (Thread() == 0) Store(sums + Block(), sum);
  }
};

// One block. norm = sqrt(sum of squares); accepted where that sum, the loss and all moments are
// finite; scale = clip_norm / norm where accepted and norm > clip_norm > 0, else 1. Moved: all
// inputs, three doubles.
struct JudgeKernel {
  static constexpr bool kCooperative = true;
  static constexpr int kAtOnce = 8;  // loads on their way: the block is alone
  JudgeArguments a;

  SYNCBN_DEVICE void operator()() const {
    double sum = 0, not_finite = 0;
    for (int64_t i = Thread(); i < a.tensors; i += kJudgeThreads) sum += Load(a.squares + i);
    for (int64_t begin = Thread(); begin < a.moments_elements; begin += kAtOnce * kJudgeThreads) {
      SYNCBN_UNROLL
      for (int k = 0; k < kAtOnce; ++k) {
        const int64_t i = begin + k * kJudgeThreads;
        if (i < a.moments_elements && !IsFinite(Load(a.moments + i))) not_finite += 1;
      }
    }
    sum = BlockSum(sum);
    not_finite = BlockSum(not_finite);
    if (Thread() != 0) return;
    const bool accepted = IsFinite(sum) && not_finite == 0 && IsFinite(Load(a.loss));
    const double norm = sqrt(sum);
    Store(a.verdict + verdict::kAccepted, accepted ? 1.0 : 0.0);
    Store(a.verdict + verdict::kNorm, norm);
    Store(a.verdict + verdict::kScale,
          accepted && a.clip_norm > 0 && norm > a.clip_norm ? a.clip_norm / norm : 1.0);
  }
};

// r <- (1 - a) r + a v for each element of a block [mean[C], var[C], batches] or [mean[C],
// covariance[C, C], batches], v the mean or m2 / (count - 1) of [count, mean[C], m2[C]], of the
// upper triangle for a covariance; batches counts. What does not move is copied. A thread for each
// element. Moved: an element there and back, and its moment.
struct RunningKernel {
  static constexpr bool kCooperative = false;
  Piece<RunningBlock> blocks;
  RunningArguments a;

  SYNCBN_DEVICE void operator()() const {
    const int index = blocks.Find(Block());
    const RunningBlock block = blocks.entries[index];
    const bool together = block.channels < 0;
    const int64_t channels = together ? -block.channels : block.channels;
    const int64_t variances = together ? channels * channels : channels;
    const int64_t element = (Block() - blocks.first[index]) * kThreads + Thread();
    if (element > channels + variances) return;

    const double* const seen = a.moments + block.moments;
    const double* const before_all = a.running + block.running;
    const double count = LoadCached(seen);
    const bool moves =
        count >= 2 && (a.verdict == nullptr || LoadCached(a.verdict + verdict::kAccepted) != 0);
    // A covariance is that of the upper triangle, in both places.
    int64_t place = element - channels;  // in the variances, and then in m2
    int64_t source = element;
    if (together && element >= channels && element < channels + variances) {
      const int64_t i = place / channels, j = place % channels;
      const int64_t row = i < j ? i : j, column = i < j ? j : i;
      place = row * channels - row * (row - 1) / 2 + (column - row);
      if (moves) source = channels + row * channels + column;
    }
    const double before = Load(before_all + source);
    double after = before + 1;
    if (element < channels + variances) {
      const double batches = LoadCached(before_all + channels + variances) + 1;
      const double share =
          a.rule.kind == RunningRule::Kind::kCumulative ? 1 / batches : a.rule.momentum;
      const double newest = element < channels
                                ? Load(seen + 1 + element)
                                : Load(seen + 1 + channels + place) / (count - 1);
      after = (1 - share) * before + share * newest;
    }
    Store(a.updated + block.running + element, moves ? after : before);
  }
};

int64_t BlocksOf(const SquaresOf& tensor) {
  return CeilDiv(tensor.elements, kSquaresBlock);
}

}  // namespace

int64_t SumsOfSquaresScratch(std::span<const SquaresOf> tensors) {
  int64_t blocks = 0;
  for (const SquaresOf& tensor : tensors) blocks += BlocksOf(tensor);
  return blocks;
}

void SumsOfSquares(cudaStream_t stream, std::span<const SquaresOf> tensors, double* scratch,
                   double* sums) {
  ForPieces(tensors, BlocksOf, [&](const Piece<SquaresOf>& piece, int64_t blocks, int64_t first) {
    int64_t elements = 0;
    for (int i = 0; i < piece.count; ++i) elements += piece.entries[i].elements;
    Launch(stream,
           {.name = "squares",
            .blocks = blocks,
            .threads = kThreads,
            .bytes = elements * static_cast<int64_t>(sizeof(float)) + blocks * kDouble},
           SquaresKernel{piece, scratch});
    Launch(stream,
           {.name = "sums of squares",
            .blocks = piece.count,
            .threads = kThreads,
            .bytes = (blocks + piece.count) * kDouble},
           SquaresTotalKernel{piece, scratch, sums + first});
    scratch += blocks;
  });
}

void JudgeStep(cudaStream_t stream, const JudgeArguments& arguments) {
  Launch(stream,
         {.name = "judge step",
          .blocks = 1,
          .threads = kJudgeThreads,
          .bytes =
              (arguments.tensors + arguments.moments_elements + 1 + verdict::kElements) * kDouble},
         JudgeKernel{arguments});
}

void UpdateRunning(cudaStream_t stream, const RunningArguments& arguments,
                   std::span<const RunningBlock> blocks) {
  const auto blocks_of = [](const RunningBlock& block) {
    return CeilDiv(block.elements(), kThreads);
  };
  ForPieces(blocks, blocks_of, [&](const Piece<RunningBlock>& piece, int64_t count, int64_t) {
    int64_t elements = 0;
    for (int i = 0; i < piece.count; ++i) elements += piece.entries[i].elements();
    Launch(stream,
           {.name = "update running statistics",
            .blocks = count,
            .threads = kThreads,
            .bytes = (3 * elements - piece.count) * kDouble},
           RunningKernel{piece, arguments});
  });
}

}  // namespace syncbn::backend::cuda::kernels
