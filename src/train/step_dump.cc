#include "train/step_dump.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <vector>

#include "base/check.h"
#include "base/file.h"
#include "base/text.h"
#include "train/safetensors.h"
#include "train/tensor_names.h"

namespace syncbn::train {

namespace {

template <typename T>
void CopyChannelsFirst(const Tensor& from, Tensor& to) {
  const Shape& shape = from.shape();
  const int64_t pixels = shape[1] * shape[2], channels = shape[3];
  const T* in = from.Data<T>();
  T* out = to.Data<T>();
  for (int64_t n = 0; n < shape[0]; ++n, in += pixels * channels, out += pixels * channels) {
    for (int64_t pixel = 0; pixel < pixels; ++pixel) {
      for (int64_t c = 0; c < channels; ++c) out[c * pixels + pixel] = in[pixel * channels + c];
    }
  }
}

// [N, H, W, C] -> [N, C, H, W]; other ranks have one layout only.
Tensor ChannelsFirst(const Tensor& tensor) {
  const Shape& shape = tensor.shape();
  if (shape.rank() != 4) return tensor;
  Tensor result({shape[0], shape[3], shape[1], shape[2]}, tensor.dtype());
  if (tensor.dtype() == DType::kFloat64) {
    CopyChannelsFirst<double>(tensor, result);
  } else {
    CopyChannelsFirst<float>(tensor, result);
  }
  return result;
}

}  // namespace

std::filesystem::path WriteStepDump(const std::filesystem::path& out, const TensorLayouts& layouts,
                                    const StepDump& dump) {
  const int64_t samples = dump.images.shape()[0];
  for (const Tensor* column : {&dump.labels, &dump.replica, &dump.sample_ids}) {
    SYNCBN_CHECK_EQ(column->shape(), Shape({samples}));
  }
  std::vector<NamedTensor> tensors{{"input.images", ChannelsFirst(dump.images)},
                                   {"input.labels", dump.labels},
                                   {"input.replica", dump.replica},
                                   {"input.sample_ids", dump.sample_ids}};
  for (const NamedTensor& entry : dump.dropouts) {
    tensors.push_back({"dropout." + entry.name, ChannelsFirst(entry.tensor.OnHost())});
  }
  for (const NamedTensor& entry : dump.noises) {
    tensors.push_back({"noise." + entry.name, ChannelsFirst(entry.tensor.OnHost())});
  }
  auto append = [&](const std::string& prefix, const std::vector<NamedTensor>& more) {
    for (const NamedTensor& entry : more) tensors.push_back({prefix + entry.name, entry.tensor});
  };
  append("before.", CheckpointTensors(layouts, dump.before).All());
  tensors.push_back({"output.logits", dump.logits.OnHost()});
  append("gradient.", ParameterTensors(*layouts.parameters, dump.gradients.OnHost()));
  append("after.", CheckpointTensors(layouts, dump.after).All());

  std::map<std::string, std::string> metadata = dump.notes;
  metadata["step"] = std::to_string(dump.step);
  metadata["epoch"] = std::to_string(dump.epoch);
  metadata["learning_rate"] = FormatDouble(dump.learning_rate);
  metadata["loss"] = FormatDouble(dump.loss);
  metadata["gradient_scale"] = FormatDouble(dump.gradient_scale);
  metadata["optimizer_updates"] = std::to_string(UpdatesOf(dump.before.optimizer));
  metadata["accepted"] = dump.accepted ? "true" : "false";
  metadata["digest"] = StateDigest(*layouts.parameters, *layouts.running_statistics,
                                   dump.after.parameters, dump.after.running_statistics)
                           .Hex();

  const std::filesystem::path folder = out / "steps";
  if (::mkdir(folder.c_str(), 0777) != 0 && errno != EEXIST) ThrowErrno("create", folder);
  char name[40];
  std::snprintf(name, sizeof name, "%06lld.safetensors", static_cast<long long>(dump.step));
  WriteSafetensors(folder / name, tensors, metadata);
  return folder / name;
}

}  // namespace syncbn::train
