#include "train/initial_weights.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/pattern.h"
#include "base/text.h"
#include "base/unknown_value.h"
#include "train/tensor_names.h"

namespace syncbn::train {
namespace {

// Lines of a message: a file of another model must not list a thousand tensors.
constexpr size_t kShown = 12;

std::string Described(const Tensor& tensor) {
  return tensor.shape().ToString() + " " + std::string(DTypeName(tensor.dtype()));
}

bool IsFloating(DType dtype) {
  return dtype == DType::kFloat32 || dtype == DType::kFloat64 || dtype == DType::kBFloat16;
}

template <typename T>
std::vector<double> Numbers(std::span<const T> values) {
  std::vector<double> numbers;
  numbers.reserve(values.size());
  for (const T value : values) {
    if constexpr (std::is_same_v<T, BFloat16>) {
      numbers.push_back(static_cast<float>(value));
    } else {
      numbers.push_back(static_cast<double>(value));
    }
  }
  return numbers;
}

std::vector<double> NumbersOf(const Tensor& tensor) {
  switch (tensor.dtype()) {
    case DType::kFloat32:
      return Numbers(tensor.Span<float>());
    case DType::kFloat64:
      return Numbers(tensor.Span<double>());
    case DType::kInt32:
      return Numbers(tensor.Span<int32_t>());
    case DType::kInt64:
      return Numbers(tensor.Span<int64_t>());
    case DType::kUint8:
      return Numbers(tensor.Span<uint8_t>());
    case DType::kBFloat16:
      return Numbers(tensor.Span<BFloat16>());
  }
  ThrowUnknownValue("element type", static_cast<int>(tensor.dtype()));
}

// `to` is F32 or F64.
void Set(const std::vector<double>& numbers, Tensor& to) {
  if (to.dtype() == DType::kFloat64) {
    std::ranges::copy(numbers, to.Span<double>().begin());
  } else {
    std::ranges::transform(numbers, to.Span<float>().begin(),
                           [](double number) { return static_cast<float>(number); });
  }
}

// Finds what does not fit, then copies.
class Fit {
 public:
  Fit(const nn::Model& model, const WeightsFile& file, std::span<const std::string> except,
      TrainingState& state)
      : model_(model),
        file_(file),
        except_(except),
        wanted_(ParameterTensors(model.parameters(), state.parameters)) {
    std::ranges::move(RunningTensors(model.running_statistics(), state.running_statistics),
                      std::back_inserter(wanted_));
    for (const NamedTensor& entry : file.content.tensors) given_[entry.name] = &entry.tensor;
  }

  void Run() {
    CheckPatterns();
    for (size_t i = 0; i < wanted_.size(); ++i) {
      if (!FitsAny(except_, wanted_[i].name)) Match(i);
    }
    TakeBiases();
    CheckUnknown();
    if (!problems_.empty()) Refuse();
    for (auto& [place, numbers] : values_) Set(numbers, wanted_[place].tensor);
  }

 private:
  void CheckPatterns() {
    std::vector<std::string> names;
    for (const NamedTensor& entry : wanted_) names.push_back(entry.name);
    for (const auto& [name, tensor] : given_) names.push_back(name);
    for (const std::string& pattern : except_) {
      if (std::ranges::none_of(names,
                               [&](const auto& name) { return FitsPattern(pattern, name); })) {
        problems_.push_back("model.init.except: " +
                            FitsNone(pattern, "name of the model or the file", names));
      }
    }
  }

  void Match(size_t place) {
    const auto& [name, tensor] = wanted_[place];
    const auto found = given_.find(name);
    if (found == given_.end()) {
      missing_.push_back(name);
      problems_.push_back(name + ": expected " + tensor.shape().ToString() + ", the file has none");
      return;
    }
    known_.push_back(name);
    const Tensor& given = *found->second;
    const bool counts = name.ends_with(".num_batches_tracked");
    if (given.shape() != tensor.shape()) {
      problems_.push_back(name + ": expected " + tensor.shape().ToString() + ", found " +
                          Described(given));
    } else if (!IsFloating(given.dtype()) && !(counts && given.dtype() == DType::kInt64)) {
      problems_.push_back(name + ": expected " + (counts ? "I64 or " : "") +
                          "F32, F64 or BF16, found " + Described(given));
    } else {
      values_[place] = NumbersOf(given);
      CheckNumbers(name, values_[place], tensor.dtype(), counts || name.ends_with(".running_var"));
      if (counts) CheckCount(name, values_[place]);
    }
  }

  // `to`: the type that they become.
  void CheckNumbers(const std::string& name, const std::vector<double>& numbers, DType to,
                    bool from_zero) {
    const auto fits = [&](double number) {
      return to == DType::kFloat64 || std::isfinite(static_cast<float>(number));
    };
    const auto wrong = std::ranges::find_if(numbers, [&](double number) {
      return !std::isfinite(number) || !fits(number) || (from_zero && number < 0);
    });
    if (wrong == numbers.end()) return;
    problems_.push_back(name + ": its element " + std::to_string(wrong - numbers.begin()) + " is " +
                        FormatDouble(*wrong) +
                        (!std::isfinite(*wrong) ? ": not a finite number"
                         : !fits(*wrong)        ? ", more than float32 holds"
                                                : ", less than 0"));
  }

  // It is counted on from here, and written as a whole number again.
  void CheckCount(const std::string& name, const std::vector<double>& numbers) {
    constexpr double kMost = 1e15;
    if (std::ranges::none_of(numbers, [](double number) { return number > kMost; })) return;
    problems_.push_back(name + ": more batches than anybody has counted (" + FormatDouble(kMost) +
                        ")");
  }

  // Of layers that have none here since the batch norm behind them would take it off.
  void TakeBiases() {
    for (const nn::NormLayer& norm : model_.norms()) {
      const bool takes =
          norm.spec.kind() == v1::NORM_KIND_BATCH || norm.spec.kind() == v1::NORM_KIND_BATCH_RENORM;
      if (!norm.behind || !takes) continue;
      const std::string name = *norm.behind + ".bias";
      const auto found = given_.find(name);
      if (found == given_.end() || PlaceOf(name) || FitsAny(except_, name)) continue;
      known_.push_back(name);
      const Tensor& bias = *found->second;
      if (bias.shape() != Shape{norm.channels} || !IsFloating(bias.dtype())) {
        problems_.push_back(name + ": expected " + Shape{norm.channels}.ToString() +
                            ", the channels of " + norm.name + ", found " + Described(bias));
        continue;
      }
      const std::vector<double> numbers = NumbersOf(bias);
      CheckNumbers(name, numbers, DType::kFloat32, false);
      // A norm without running statistics takes it off whatever it is.
      const std::optional<size_t> mean = PlaceOf(norm.name + ".running_mean");
      const auto values = mean ? values_.find(*mean) : values_.end();
      if (values == values_.end()) continue;
      for (size_t c = 0; c < numbers.size(); ++c) values->second[c] -= numbers[c];
    }
  }

  void CheckUnknown() {
    for (const auto& [name, tensor] : given_) {
      if (std::ranges::find(known_, name) != known_.end() || FitsAny(except_, name)) continue;
      const std::string_view near = NearestWord(name, missing_);
      problems_.push_back(name + ": found " + Described(*tensor) + ", the model has none" +
                          (near.empty() ? "" : "; is it " + std::string(near) + "?"));
    }
  }

  std::optional<size_t> PlaceOf(const std::string& name) const {
    const auto found = std::ranges::find(wanted_, name, &NamedTensor::name);
    if (found == wanted_.end()) return std::nullopt;
    return static_cast<size_t>(found - wanted_.begin());
  }

  [[noreturn]] void Refuse() const {
    const size_t shown = std::min(kShown, problems_.size());
    std::string text = file_.path.string() + " does not fit the model of the run file:\n  " +
                       Join(std::span(problems_).first(shown), "\n  ");
    if (shown < problems_.size()) {
      text += "\n  and " + std::to_string(problems_.size() - shown) + " more";
    }
    throw Error(
        ErrorCode::kInvalidArgument,
        text +
            "\nWhat may differ, a new head say, is named in model.init.except (`except: fc.*`): "
            "it begins as without a file");
  }

  const nn::Model& model_;
  const WeightsFile& file_;
  const std::span<const std::string> except_;
  // The state's, as views.
  std::vector<NamedTensor> wanted_;
  std::map<std::string, const Tensor*> given_;
  std::vector<std::string> known_, missing_, problems_;
  // Of wanted_[key].
  std::map<size_t, std::vector<double>> values_;
};

}  // namespace

WeightsFile ReadWeights(const std::filesystem::path& path) {
  return WithFrame([&] { return "model.init.from"; },
                   [&] { return WeightsFile{.path = path, .content = ReadSafetensors(path)}; });
}

void TakeWeights(const nn::Model& model, const WeightsFile& file,
                 std::span<const std::string> except, TrainingState& state) {
  Fit(model, file, except, state).Run();
}

void CheckWeights(const nn::Model& model, const WeightsFile& file,
                  std::span<const std::string> except) {
  TrainingState state{
      .parameters = Tensor::Zeros({model.parameters().flat_elements()}, DType::kFloat32),
      .running_statistics = nn::InitialRunningStatistics(model.running_statistics())};
  TakeWeights(model, file, except, state);
}

}  // namespace syncbn::train
