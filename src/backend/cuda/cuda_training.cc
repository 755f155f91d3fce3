#include "backend/cuda/cuda_executor.h"
#include "backend/cuda/not_yet.h"

namespace syncbn::backend::cuda {

LossResult CudaExecutor::SoftmaxCrossEntropy(const Tensor& logits, const Tensor& labels, double label_smoothing, double scale, bool want_gradient) { NotYet("SoftmaxCrossEntropy"); }
void CudaExecutor::AddSum(const Tensor& values, Tensor& total) { NotYet("AddSum"); }
void CudaExecutor::SumsOfSquares(std::span<const Tensor> tensors, Tensor& sums) { NotYet("SumsOfSquares"); }
void CudaExecutor::JudgeStep(const StepEvidence& evidence, double clip_norm, Tensor& verdict) { NotYet("JudgeStep"); }
void CudaExecutor::Update(const UpdateSpec& spec, const UpdateInputs& inputs, Tensor& parameters, std::span<Tensor> slots, Tensor& updates) { NotYet("Update"); }
Tensor CudaExecutor::UpdateRunning(const RunningRule& rule, std::span<const RunningBlock> blocks, const Tensor& running, const Tensor& moments, const Tensor& verdict) { NotYet("UpdateRunning"); }

}  // namespace syncbn::backend::cuda
