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

std::filesystem::path WriteStepDump(const std::filesystem::path& out,
                                    const nn::ParameterLayout& parameter_layout,
                                    const nn::StateLayout& state_layout, const StepDump& dump) {
  const int64_t samples = dump.images.shape()[0];
  for (const Tensor* column : {&dump.labels, &dump.replica, &dump.sample_ids}) {
    SYNCBN_CHECK_EQ(column->shape(), Shape({samples}));
  }
  std::vector<NamedTensor> tensors{{"input.images", dump.images},
                                   {"input.labels", dump.labels},
                                   {"input.replica", dump.replica},
                                   {"input.sample_ids", dump.sample_ids}};
  auto append = [&](std::vector<NamedTensor> more) {
    std::ranges::move(more, std::back_inserter(tensors));
  };
  append(ParameterTensors(parameter_layout, dump.parameters_before, "before."));
  append(RunningTensors(state_layout, dump.running_before, "before."));
  append(ParameterTensors(parameter_layout, dump.gradients, "gradient."));
  append(ParameterTensors(parameter_layout, dump.parameters_after, "after."));
  append(RunningTensors(state_layout, dump.running_after, "after."));

  std::map<std::string, std::string> metadata = dump.notes;
  metadata["step"] = std::to_string(dump.step);
  metadata["epoch"] = std::to_string(dump.epoch);
  metadata["learning_rate"] = FormatDouble(dump.learning_rate);
  metadata["loss"] = FormatDouble(dump.loss);
  metadata["gradient_scale"] = FormatDouble(dump.gradient_scale);
  metadata["accepted"] = dump.accepted ? "true" : "false";
  metadata["digest"] =
      StateDigest(parameter_layout, state_layout, dump.parameters_after, dump.running_after).Hex();

  const std::filesystem::path folder = out / "steps";
  if (::mkdir(folder.c_str(), 0777) != 0 && errno != EEXIST) ThrowErrno("create", folder);
  char name[40];
  std::snprintf(name, sizeof name, "%06lld.safetensors", static_cast<long long>(dump.step));
  WriteSafetensors(folder / name, tensors, metadata);
  return folder / name;
}

}  // namespace syncbn::train
