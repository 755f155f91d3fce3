#include "nn/parameters.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "backend/merge.h"
#include "base/check.h"
#include "base/error.h"
#include "base/pattern.h"
#include "base/rng.h"
#include "base/unknown_value.h"

namespace syncbn::nn {
namespace {

constexpr int64_t kPadding = 16;

int64_t Padded(int64_t elements) {
  return (elements + kPadding - 1) / kPadding * kPadding;
}

template <typename T>
void Draw(const Initializer& initializer, RandomKey key, std::span<T> values) {
  RandomStream stream(key);
  const double value = initializer.value;
  switch (initializer.kind) {
    case Initializer::Kind::kConstant:
      for (T& x : values) x = static_cast<T>(value);
      return;
    case Initializer::Kind::kNormal:
      for (T& x : values) x = static_cast<T>(value * stream.Normal());
      return;
    case Initializer::Kind::kUniform:
      for (T& x : values) x = static_cast<T>(value * (2 * stream.UniformDouble() - 1));
      return;
  }
  ThrowUnknownValue("initializer", static_cast<int>(initializer.kind));
}

// gain[o] = |v[o]|, of the values as they are stored, so that the first weight is v itself.
template <typename T>
void SetToNorms(std::span<const T> v, std::span<T> gain) {
  if (gain.empty()) return;
  const size_t length = v.size() / gain.size();
  for (size_t o = 0; o < gain.size(); ++o) {
    double sum = 0;
    for (T x : v.subspan(o * length, length))
      sum += static_cast<double>(x) * static_cast<double>(x);
    gain[o] = static_cast<T>(std::sqrt(sum));
  }
}

template <typename T>
void Fill(const ParameterLayout& layout, uint64_t seed, Tensor& flat) {
  const RandomKey root = RandomKey(seed).Fold("init");
  for (int i = 0; i < layout.size(); ++i) {
    const Parameter& parameter = layout[i];
    Tensor values = layout.View(flat, i);
    if (parameter.norm_of >= 0) {
      const Tensor v = layout.View(flat, parameter.norm_of);
      SetToNorms<T>(v.Span<T>(), values.Span<T>());
    } else {
      Draw<T>(parameter.initializer, root.Fold(parameter.drawn_as.value_or(parameter.name)),
              values.Span<T>());
    }
  }
}

}  // namespace

int ParameterLayout::Add(Parameter parameter) {
  if (Find(parameter.name) >= 0) {
    throw Error(ErrorCode::kInvalidArgument, "two parameters are called \"" + parameter.name +
                                                 "\": give the layers of a model different names");
  }
  SYNCBN_CHECK_LT(parameter.norm_of, size()) << "v of " << parameter.name;
  parameter.offset = flat_elements_;
  flat_elements_ += Padded(parameter.shape.elements());
  parameters_.push_back(std::move(parameter));
  return size() - 1;
}

int64_t ParameterLayout::elements() const {
  int64_t sum = 0;
  for (const Parameter& parameter : parameters_) sum += parameter.shape.elements();
  return sum;
}

Tensor ParameterLayout::View(const Tensor& flat, int index) const {
  const Parameter& parameter = (*this)[index];
  return flat.Slice(parameter.offset, parameter.shape);
}

int ParameterLayout::Find(std::string_view name) const {
  for (int i = 0; i < size(); ++i) {
    if (parameters_[static_cast<size_t>(i)].name == name) return i;
  }
  return -1;
}

void ParameterLayout::Freeze(std::span<const std::string> patterns) {
  std::vector<std::string> names;
  for (const Parameter& parameter : parameters_) names.push_back(parameter.name);
  for (const std::string& pattern : patterns) {
    bool fits = false;
    for (Parameter& parameter : parameters_) {
      if (!FitsPattern(pattern, parameter.name)) continue;
      fits = true;
      parameter.trained = false;
    }
    if (fits) continue;
    throw Error(ErrorCode::kInvalidArgument,
                "train.freeze: " + FitsNone(pattern, "parameter of the model", names));
  }
  if (patterns.empty() || std::ranges::any_of(parameters_, &Parameter::trained)) return;
  throw Error(
      ErrorCode::kInvalidArgument,
      "train.freeze: all parameters of the model are frozen: nothing is left to be trained");
}

Tensor InitialParameters(const ParameterLayout& layout, uint64_t seed, DType dtype) {
  Tensor flat = Tensor::Zeros({layout.flat_elements()}, dtype);
  if (dtype == DType::kFloat64) {
    Fill<double>(layout, seed, flat);
  } else {
    Fill<float>(layout, seed, flat);
  }
  return flat;
}

int RunningStatisticsLayout::Add(std::string name, int64_t channels, bool tracked, int64_t group) {
  for (const NormStatistics& norm : norms_) {
    if (norm.name == name) {
      throw Error(
          ErrorCode::kInvalidArgument,
          "two norms are called \"" + name + "\": give the layers of a model different names");
    }
  }
  NormStatistics norm{.name = std::move(name),
                      .channels = channels,
                      .offset = flat_elements_,
                      .moments_offset = moments_elements_,
                      .tracked = tracked};
  for (int64_t begin = 0; begin < channels; begin += norm.blocks.back().size()) {
    const int64_t block = group == 0 ? channels : -std::min(group, channels - begin);
    norm.blocks.push_back(
        {.channels = block, .running = flat_elements_, .moments = moments_elements_});
    channels_.push_back(block);
    moments_elements_ += backend::MomentsElements(block);
    // An untracked norm has no running statistics, and an offset that nobody may use.
    if (!tracked) continue;
    running_blocks_.push_back(norm.blocks.back());
    flat_elements_ += norm.blocks.back().elements();
  }
  norms_.push_back(std::move(norm));
  return size() - 1;
}

int64_t NormStatistics::running_elements() const {
  int64_t elements = 0;
  for (const backend::RunningBlock& block : blocks) elements += block.elements();
  return elements;
}

int64_t NormStatistics::moments_elements() const {
  int64_t elements = 0;
  for (const backend::RunningBlock& block : blocks) {
    elements += backend::MomentsElements(block.channels);
  }
  return elements;
}

std::string NormStatistics::BlockName(size_t block) const {
  return blocks.size() == 1 ? name : name + ".groups." + std::to_string(block);
}

std::vector<double> NormStatistics::ChannelMoments(std::span<const double> moments) const {
  const auto all = static_cast<size_t>(channels);
  std::vector<double> result(1 + 2 * all);
  size_t c = 0;
  for (const backend::RunningBlock& block : blocks) {
    const auto size = static_cast<size_t>(block.size());
    const std::span<const double> seen = moments.subspan(static_cast<size_t>(block.moments));
    result[0] = seen[0];
    // Of a triangle, the first element of each row.
    size_t diagonal = 1 + size;
    for (size_t i = 0; i < size; ++i, ++c) {
      result[1 + c] = seen[1 + i];
      result[1 + all + c] = seen[diagonal];
      diagonal += correlated() ? size - i : 1;
    }
  }
  return result;
}

std::vector<double> NormStatistics::ChannelRunning(std::span<const double> running) const {
  const auto all = static_cast<size_t>(channels);
  std::vector<double> result(2 * all);
  size_t c = 0;
  for (const backend::RunningBlock& block : blocks) {
    const auto size = static_cast<size_t>(block.size());
    const std::span<const double> kept = running.subspan(static_cast<size_t>(block.running));
    for (size_t i = 0; i < size; ++i, ++c) {
      result[c] = kept[i];
      result[all + c] = kept[size + (correlated() ? i * (size + 1) : i)];
    }
  }
  return result;
}

Tensor InitialRunningStatistics(const RunningStatisticsLayout& layout) {
  Tensor running = Tensor::Zeros({layout.flat_elements()}, DType::kFloat64);
  const std::span<double> values = running.Span<double>();
  for (const backend::RunningBlock& block : layout.running_blocks()) {
    const int64_t size = block.size(), step = block.channels < 0 ? size + 1 : 1;
    for (int64_t c = 0; c < size; ++c) {
      values[static_cast<size_t>(block.running + size + c * step)] = 1;
    }
  }
  return running;
}

Tensor UpdatedRunningStatistics(backend::Executor& executor, const RunningStatisticsLayout& layout,
                                const RunningRule& rule, const Tensor& running,
                                const Tensor& moments, const Tensor& verdict) {
  SYNCBN_CHECK_EQ(running.elements(), layout.flat_elements()) << "running statistics";
  SYNCBN_CHECK_EQ(moments.elements(), layout.moments_elements()) << "moments of a step";
  return executor.UpdateRunning(rule, layout.running_blocks(), running, moments, verdict);
}

}  // namespace syncbn::nn
