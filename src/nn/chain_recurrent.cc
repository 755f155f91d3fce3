// Recurrent layers on a chain: their parameters and norms.
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "base/unknown_value.h"
#include "config/recurrent.h"
#include "nn/builder.h"
#include "nn/recurrent.h"
#include "nn/sample_norm.h"

namespace syncbn::nn {
namespace {

bool SharesStatistics(v1::RecurrentStatistics statistics) {
  switch (statistics) {
    case v1::RECURRENT_STATISTICS_SHARED:
      return true;
    case v1::RECURRENT_STATISTICS_UNSPECIFIED:
    case v1::RECURRENT_STATISTICS_PER_STEP:
      return false;
    default:
      ThrowUnknownValue("model.recurrent.statistics", static_cast<int>(statistics));
  }
}

// One recurrent layer in the making. Parameters are declared in the order in which a backward pass
// completes their gradients, from its end.
class Making {
 public:
  Making(ModelBuilder& builder, const std::string& name, const v1::NormSpec& norm, bool normalized)
      : builder_(builder), name_(name), norm_(norm), normalized_(normalized) {}

  bool affine() const { return normalized_ && (!norm_.has_affine() || norm_.affine()); }

  int Weight(const std::string& which, int64_t outputs, int64_t in, int64_t hidden) const {
    return builder_.Declare(name_ + "." + which, {outputs, in}, ParameterRole::kWeight,
                            builder_.WeightInitializer(in, hidden, in));
  }
  int Constant(const std::string& which, int64_t size, ParameterRole role, double value) const {
    return builder_.Declare(name_ + "." + which, {size}, role,
                            {Initializer::Kind::kConstant, value});
  }
  std::optional<int> Scale(const std::string& norm, int64_t size) const {
    if (!affine()) return std::nullopt;
    return Constant(norm + ".weight", size, ParameterRole::kNormScale, norm_.initial_scale());
  }

  // steps: as many have statistics of their own; none: they share them over `rows` rows.
  std::unique_ptr<Norm> MakeNorm(const std::string& which, int64_t channels,
                                 std::optional<int> gamma, std::optional<int> beta, int64_t rows,
                                 std::optional<int64_t> steps) const {
    const std::string name = name_ + "." + which;
    const Norm::Options options{.gamma = gamma, .beta = beta, .epsilon = norm_.epsilon()};
    const int64_t pixels = steps ? 1 : rows;
    builder_.AddNorm({.name = name, .spec = norm_, .pixels = pixels, .channels = channels});
    if (norm_.kind() == v1::NORM_KIND_BATCH) {
      return std::make_unique<BatchNorm>(
          name, options, builder_.BatchStatistics(name, norm_, channels, pixels, steps));
    }
    auto norm = std::make_unique<SampleNorm>(name, options, channels, 1);
    norm->OutputShape({1, channels});  // refuses a single feature
    return norm;
  }

 private:
  ModelBuilder& builder_;
  const std::string& name_;
  const v1::NormSpec& norm_;
  const bool normalized_;
};

}  // namespace

void Chain::Recurrent(const std::string& name, bool lstm, const v1::RecurrentSpec& spec) {
  const v1::NormSpec& norm = builder_->spec().norm();
  if (const std::string reason = config::NormUnfitForRecurrence(norm); !reason.empty()) {
    throw Error(ErrorCode::kInvalidArgument,
                "layer " + name + ": " + v1::NormKind_Name(norm.kind()) + " " + reason);
  }
  if (shape_.rank() == 4 && spec.train_rows() > shape_[1]) {
    throw Error(ErrorCode::kInvalidArgument, "layer " + name + ": train_rows is " +
                                                 std::to_string(spec.train_rows()) +
                                                 ", but its input has " + Plural(shape_[1], "row"));
  }
  const int64_t hidden = spec.hidden(), gates = lstm ? 4 * hidden : hidden;
  nn::Recurrent::Options options{.lstm = lstm, .hidden = hidden, .first = sees_images_};
  if (spec.train_rows() > 0) options.train_rows = spec.train_rows();
  const bool normalized = norm.kind() != v1::NORM_KIND_NONE;
  const bool batch = norm.kind() == v1::NORM_KIND_BATCH;
  nn::Recurrent::Norms norms;
  norms.over_time = batch && SharesStatistics(spec.statistics());
  // Refuses what is no image.
  nn::Recurrent(name, options, {}).OutputShape(shape_);
  const int64_t in = shape_[2] * shape_[3], rows = options.train_rows.value_or(shape_[1]);
  const std::optional<int64_t> steps = norms.over_time ? std::nullopt : std::optional(rows);

  const Making making(*builder_, name, norm, normalized);
  options.weight_ih = making.Weight("weight_ih_l0", gates, in, hidden);
  const std::optional<int> gamma_ih = making.Scale("bn_ih", gates);
  const int bias = making.Constant("bias_ih_l0", gates, ParameterRole::kBias, 0);
  if (normalized) {
    norms.ih = making.MakeNorm("bn_ih", gates, gamma_ih, bias, rows, steps);
  } else {
    options.bias_ih = bias;
  }
  options.weight_hh = making.Weight("weight_hh_l0", gates, hidden, hidden);
  if (!normalized) {
    options.bias_hh = making.Constant("bias_hh_l0", gates, ParameterRole::kBias, 0);
  } else if (!norms.over_time) {
    const std::optional<int> gamma = making.Scale("bn_hh", gates);
    norms.hh = making.MakeNorm("bn_hh", gates, gamma, std::nullopt, rows, steps);
    if (lstm) {
      const std::optional<int> scale = making.Scale("bn_c", hidden);
      const std::optional<int> shift =
          scale ? std::optional(making.Constant("bn_c.bias", hidden, ParameterRole::kNormShift, 0))
                : std::nullopt;
      norms.cell = making.MakeNorm("bn_c", hidden, scale, shift, rows, steps);
    }
  }
  Append(std::make_unique<nn::Recurrent>(name, options, std::move(norms)));
}

}  // namespace syncbn::nn
