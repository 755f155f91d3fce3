#include "train/tensor_names.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "base/text.h"

namespace syncbn::train {
namespace {

std::string Describe(const Tensor& tensor) {
  return tensor.shape().ToString() + " " + std::string(DTypeName(tensor.dtype()));
}

bool IsBatchCount(std::string_view name) {
  return name.ends_with(".num_batches_tracked");
}

// "a, b, c and 5 more": a message about a wrong model must not list a thousand tensors.
std::string Some(const std::vector<std::string>& items) {
  constexpr size_t kShown = 4;
  const size_t shown = std::min(kShown, items.size());
  std::string text = Join(std::span(items).first(shown), ", ");
  if (items.size() > shown) text += " and " + std::to_string(items.size() - shown) + " more";
  return text;
}

}  // namespace

std::vector<NamedTensor> ParameterTensors(const nn::ParameterLayout& layout, const Tensor& flat,
                                          std::string_view prefix) {
  std::vector<NamedTensor> tensors;
  tensors.reserve(static_cast<size_t>(layout.size()));
  for (int i = 0; i < layout.size(); ++i) {
    tensors.push_back({std::string(prefix) + layout[i].name, layout.View(flat, i)});
  }
  return tensors;
}

std::vector<NamedTensor> RunningTensors(const nn::RunningStatisticsLayout& layout,
                                        const Tensor& flat, std::string_view prefix) {
  std::vector<NamedTensor> tensors;
  for (const nn::NormStatistics& norm : layout.norms()) {
    if (!norm.tracked) continue;
    for (size_t i = 0; i < norm.blocks.size(); ++i) {
      const std::string name = std::string(prefix) + norm.BlockName(i);
      const int64_t c = norm.blocks[i].size(), begin = norm.blocks[i].running;
      const int64_t end = begin + norm.blocks[i].elements();
      tensors.push_back({name + ".running_mean", flat.Slice(begin, {c})});
      if (norm.correlated()) {
        tensors.push_back({name + ".running_covariance", flat.Slice(begin + c, {c, c})});
      } else {
        tensors.push_back({name + ".running_var", flat.Slice(begin + c, {c})});
      }
      tensors.push_back({name + ".num_batches_tracked", flat.Slice(end - 1, Shape{})});
    }
  }
  return tensors;
}

std::vector<NamedTensor> AsStateDict(std::vector<NamedTensor> tensors) {
  for (NamedTensor& entry : tensors) {
    if (!IsBatchCount(entry.name) || entry.tensor.dtype() != DType::kFloat64) continue;
    Tensor count(entry.tensor.shape(), DType::kInt64);
    count.Data<int64_t>()[0] = static_cast<int64_t>(std::as_const(entry.tensor).Data<double>()[0]);
    entry.tensor = count;
  }
  return tensors;
}

std::vector<NamedTensor> FromStateDict(std::span<const NamedTensor> given) {
  std::vector<NamedTensor> tensors(given.begin(), given.end());
  for (NamedTensor& entry : tensors) {
    const bool one = entry.tensor.dtype() == DType::kInt64 && entry.tensor.elements() == 1;
    if (!IsBatchCount(entry.name) || !one) continue;
    Tensor count(entry.tensor.shape(), DType::kFloat64);
    count.Data<double>()[0] = static_cast<double>(std::as_const(entry.tensor).Data<int64_t>()[0]);
    entry.tensor = count;
  }
  return tensors;
}

Digest DigestOf(std::span<const NamedTensor> tensors) {
  Digester digester;
  for (const NamedTensor& entry : tensors) {
    // No name holds a newline, so no two different lists give the same bytes.
    digester.Add(entry.name + " " + Describe(entry.tensor) + "\n");
    digester.Add(entry.tensor.Bytes());
  }
  return digester.Finish();
}

Digest StateDigest(const nn::ParameterLayout& parameter_layout,
                   const nn::RunningStatisticsLayout& running_layout, const Tensor& parameters,
                   const Tensor& running) {
  std::vector<NamedTensor> tensors = ParameterTensors(parameter_layout, parameters.OnHost());
  std::ranges::move(RunningTensors(running_layout, running.OnHost()), std::back_inserter(tensors));
  return DigestOf(tensors);
}

void CopyByName(std::span<const NamedTensor> from, std::span<NamedTensor> to,
                std::string_view source) {
  std::map<std::string_view, const Tensor*> given;
  for (const NamedTensor& entry : from) {
    SYNCBN_CHECK(given.emplace(entry.name, &entry.tensor).second)
        << entry.name << " is there twice";
  }
  std::vector<std::string> missing, different, unknown;
  std::vector<const Tensor*> sources;
  for (const NamedTensor& entry : to) {
    const auto found = given.find(entry.name);
    if (found == given.end()) {
      missing.push_back(entry.name + " " + Describe(entry.tensor));
      continue;
    }
    const Tensor& tensor = *found->second;
    if (tensor.shape() != entry.tensor.shape() || tensor.dtype() != entry.tensor.dtype()) {
      different.push_back(entry.name + " is " + Describe(tensor) + " but must be " +
                          Describe(entry.tensor));
    }
    sources.push_back(&tensor);
    given.erase(found);
  }
  for (const NamedTensor& entry : from) {
    if (given.contains(entry.name)) unknown.push_back(entry.name + " " + Describe(entry.tensor));
  }
  std::vector<std::string> problems;
  if (!missing.empty()) problems.push_back("missing: " + Some(missing));
  if (!different.empty()) problems.push_back("different: " + Some(different));
  if (!unknown.empty()) problems.push_back("not in the model: " + Some(unknown));
  if (!problems.empty()) {
    throw Error(
        ErrorCode::kFailedPrecondition,
        std::string(source) + " does not fit the model of the run file; " + Join(problems, "; "));
  }
  for (size_t i = 0; i < to.size(); ++i) {
    std::ranges::copy(sources[i]->Bytes(), to[i].tensor.Bytes().begin());
  }
}

}  // namespace syncbn::train
