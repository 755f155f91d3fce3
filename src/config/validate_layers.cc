// The shapes of activations through hand-written layers, as far as they are known from the file.
#include <algorithm>
#include <cctype>
#include <map>
#include <optional>
#include <string>

#include "base/text.h"
#include "base/unknown_value.h"
#include "config/norm_kind.h"
#include "config/validate.h"

namespace syncbn::config {
namespace {

// The activations of one sample. An extent of 0 is not known.
struct Activations {
  enum class Rank { kUnknown, kImage, kFeatures };
  Rank rank = Rank::kUnknown;
  int64_t height = 0, width = 0;
  int64_t channels = 0;  // or features
  // The mean of each sample's channel does not depend on the image (norm_fit.h).
  bool centered = false;

  bool SameShape(const Activations& other) const {
    return rank == other.rank && height == other.height && width == other.width &&
           channels == other.channels;
  }

  bool known() const { return rank != Rank::kUnknown && channels > 0 && (!image() || height > 0); }
  bool image() const { return rank == Rank::kImage; }
  bool features() const { return rank == Rank::kFeatures; }

  std::string ToString() const {
    if (!image()) return Plural(channels, "feature");
    return std::to_string(height) + " x " + std::to_string(width) + " x " +
           std::to_string(channels);
  }
};

class LayerWalk {
 public:
  explicit LayerWalk(const RunCheck& check) : check_(check) {}

  // Through all layers; unknown after a fault, which is reported once.
  Activations Run(const LayerSpecs& layers, const std::string& path, Activations x) {
    std::map<std::string, int> names;
    for (int i = 0; i < layers.size(); ++i) {
      const std::string below = path + "." + std::to_string(i);
      CheckName(layers[i], below, i, names);
      x = Layer(layers, i, below, x);
    }
    return x;
  }

 private:
  void CheckName(const v1::LayerSpec& layer, const std::string& path, int index,
                 std::map<std::string, int>& names) {
    const std::string& given = layer.name();
    const bool fits = std::all_of(given.begin(), given.end(), [](unsigned char c) {
      return c < 0x80 && (std::isalnum(c) != 0 || c == '_' || c == '-');
    });
    if (check_.origins.Given(path + ".name") && (given.empty() || !fits)) {
      check_.Report(path + ".name", "expected letters, digits, `_` and `-`");
    }
    const std::string name = given.empty() ? std::to_string(index) : given;
    const auto [other, is_new] = names.emplace(name, index);
    if (is_new) return;
    check_.Report(path + ".name",
                  "layer " + std::to_string(other->second) + " of this list has the same name, \"" +
                      name + "\"",
                  "A layer without a name is called by its index.");
  }

  Activations Layer(const LayerSpecs& layers, int index, const std::string& path, Activations x) {
    const v1::LayerSpec& layer = layers[index];
    switch (layer.kind_case()) {
      case v1::LayerSpec::kConv:
        return Conv(layer.conv(), path + ".conv", x);
      case v1::LayerSpec::kLinear:
        return Linear(layer.linear(), path + ".linear", x);
      case v1::LayerSpec::kMaxPool:
        x.centered = false;
        return Pool(layer.max_pool(), path + ".max_pool", x);
      case v1::LayerSpec::kAveragePool:
        return Pool(layer.average_pool(), path + ".average_pool", x);
      case v1::LayerSpec::kGlobalAveragePool: {
        if (!NeedsImage(path + ".global_average_pool", x)) return {};
        if (x.centered) ReportConstantMean(check_, path + ".global_average_pool");
        return {.rank = Activations::Rank::kFeatures, .channels = x.channels};
      }
      case v1::LayerSpec::kFlatten: {
        if (!NeedsImage(path + ".flatten", x)) return {};
        return {.rank = Activations::Rank::kFeatures, .channels = x.height * x.width * x.channels};
      }
      case v1::LayerSpec::kNorm:
        return Norm(layers, index, path + ".norm", x);
      case v1::LayerSpec::kResidual:
        return Residual(layer.residual(), path + ".residual", x);
      case v1::LayerSpec::kRnn:
        return Recurrent(layer.rnn(), path + ".rnn", x);
      case v1::LayerSpec::kLstm:
        return Recurrent(layer.lstm(), path + ".lstm", x);
      case v1::LayerSpec::kConcat:
        return Concat(layer.concat(), path + ".concat", x);
      case v1::LayerSpec::KIND_NOT_SET:
        return {};  // reported when it was read
      case v1::LayerSpec::kDropout:
        return x;
      case v1::LayerSpec::kRelu:
      case v1::LayerSpec::kSigmoid:
      case v1::LayerSpec::kTanh:
      case v1::LayerSpec::kGelu:
      case v1::LayerSpec::kSilu:
        x.centered = false;
        return x;
    }
    ThrowUnknownValue(path, static_cast<int>(layer.kind_case()));
  }

  // Reports features where height and width are needed.
  bool NeedsImage(const std::string& path, const Activations& x) {
    if (!x.features()) return true;
    check_.ReportKey(path, "needs height and width, but gets features",
                     "It must stand before `flatten`, `global_average_pool` and `linear`.");
    return false;
  }

  // Places of a window along an axis, 0 when the extent is not known; reports a window too large.
  std::optional<int64_t> Places(const std::string& path, int64_t extent, int64_t kernel,
                                int64_t stride, int64_t padding, const Activations& x) {
    if (extent == 0) return 0;
    if (extent + 2 * padding >= kernel) return (extent + 2 * padding - kernel) / stride + 1;
    const std::string place = check_.origins.Given(path + ".kernel") ? path + ".kernel" : path;
    const std::string padded = padding > 0 ? " with padding of " + std::to_string(padding) : "";
    check_.Report(place,
                  "a kernel of " + Plural(kernel, "pixel") + " is larger than its input of " +
                      std::to_string(x.height) + " x " + std::to_string(x.width) + padded,
                  "Use a smaller kernel or more padding, or shrink the images less before it.");
    return std::nullopt;
  }

  Activations Conv(const v1::ConvSpec& conv, const std::string& path, const Activations& x) {
    if (conv.out() == 0 || check_.origins.Failed(path) || !NeedsImage(path, x)) return {};
    const int64_t groups = conv.groups();
    const bool in_fits = x.channels % groups == 0;
    if (!in_fits || conv.out() % groups != 0) {
      check_.Report(path + ".groups",
                    std::to_string(groups) + " groups do not divide the " +
                        (in_fits ? Plural(conv.out(), "output channel")
                                 : Plural(x.channels, "channel") + " of the input"));
      return {};
    }
    const auto height = Places(path, x.height, conv.kernel(), conv.stride(), conv.padding(), x);
    if (!height) return {};
    const auto width = Places(path, x.width, conv.kernel(), conv.stride(), conv.padding(), x);
    if (!width) return {};
    return {
        .rank = Activations::Rank::kImage,
        .height = *height,
        .width = *width,
        .channels = conv.out(),
        .centered = x.centered && conv.kernel() == 1 && conv.stride() == 1 && conv.padding() == 0};
  }

  Activations Linear(const v1::LinearSpec& linear, const std::string& path, const Activations& x) {
    if (linear.out() == 0 || check_.origins.Failed(path)) return {};
    if (x.image()) {
      check_.ReportKey(path, "needs features, but gets height, width and channels",
                       "Put `- flatten` or `- global_average_pool` before it.");
      return {};
    }
    return {.rank = Activations::Rank::kFeatures, .channels = linear.out()};
  }

  Activations Recurrent(const v1::RecurrentSpec& recurrent, const std::string& path,
                        const Activations& x) {
    if (recurrent.hidden() == 0 || check_.origins.Failed(path) || !NeedsImage(path, x)) return {};
    CheckRecurrentLayer(check_, path, recurrent, x.height);
    return {.rank = Activations::Rank::kFeatures, .channels = recurrent.hidden()};
  }

  Activations Pool(const v1::PoolSpec& pool, const std::string& path, const Activations& x) {
    if (check_.origins.Failed(path) || !NeedsImage(path, x)) return {};
    if (2 * pool.padding() > pool.kernel()) {
      check_.Report(path + ".padding", "a padding of " + std::to_string(pool.padding()) +
                                           " is more than half of the kernel of " +
                                           std::to_string(pool.kernel()) +
                                           ": some windows would hold nothing else");
      return {};
    }
    const auto height = Places(path, x.height, pool.kernel(), pool.stride(), pool.padding(), x);
    if (!height) return {};
    const auto width = Places(path, x.width, pool.kernel(), pool.stride(), pool.padding(), x);
    if (!width) return {};
    // Means of parts that make up the whole have the mean of the whole.
    const bool tiles = pool.padding() == 0 && pool.stride() == pool.kernel() &&
                       x.height % pool.kernel() == 0 && x.width % pool.kernel() == 0;
    const bool centered = x.centered && tiles;
    const bool single = x.height > 0 && *height * *width == 1;
    if (centered && single) ReportConstantMean(check_, path);
    return {.rank = x.rank,
            .height = *height,
            .width = *width,
            .channels = x.channels,
            .centered = centered && !single};
  }

  Activations Norm(const LayerSpecs& layers, int index, const std::string& path, Activations x) {
    if (check_.origins.Failed(path) || check_.origins.Failed("model.norm")) return x;
    const v1::NormSpec& norm = layers[index].norm();
    if (!HasItsWeight(layers, index)) {
      check_.Report(path, "weight norm acts on the weight of the layer before it",
                    "Put it directly behind a `conv` or `linear`.");
    }
    if (!IsNormLayer(norm.kind())) return x;
    x.centered = x.image() && NormalizesChannelsAlone(check_, norm, x.channels);
    const int64_t pixels = x.image() ? x.height * x.width : 1;
    if (x.known() && pixels == 1) {
      CheckNormElements(check_, path, norm, x.channels, "its input of " + x.ToString());
    }
    return x;
  }

  Activations Residual(const v1::ResidualSpec& residual, const std::string& path,
                       const Activations& x) {
    Activations body = Run(residual.body(), path + ".body", x);
    const Activations shortcut = Run(residual.shortcut(), path + ".shortcut", x);
    if (!body.known() || !shortcut.known()) return body.known() ? body : shortcut;
    if (body.SameShape(shortcut)) {
      body.centered = body.centered && shortcut.centered;
      return body;
    }
    check_.ReportKey(path,
                     "the body ends in " + body.ToString() + " and the shortcut in " +
                         shortcut.ToString() + ", which cannot be added",
                     residual.shortcut().empty()
                         ? "Give a `shortcut`, for example [conv: {out: " +
                               std::to_string(body.channels) + ", kernel: 1, stride: ...}]."
                         : "");
    return {};
  }

  Activations Concat(const v1::ConcatSpec& concat, const std::string& path, const Activations& x) {
    Activations whole;
    for (int i = 0; i < concat.branches_size(); ++i) {
      const Activations part =
          Run(concat.branches(i).body(), path + ".branches." + std::to_string(i) + ".body", x);
      if (!part.known() || (i > 0 && !whole.known())) {
        whole = {};
        continue;
      }
      if (i == 0) {
        whole = part;
        continue;
      }
      if (part.rank != whole.rank || part.height != whole.height || part.width != whole.width) {
        check_.ReportKey(path,
                         "branch 0 ends in " + whole.ToString() + " and branch " +
                             std::to_string(i) + " in " + part.ToString() +
                             ", which do not fit side by side",
                         "All branches must leave the same height and width: pad and stride them "
                         "alike.");
        return {};
      }
      whole.channels += part.channels;
      whole.centered = whole.centered && part.centered;
    }
    return whole;
  }

  const RunCheck& check_;
};

}  // namespace

void ValidateLayers(const RunCheck& check) {
  const v1::ModelSpec& model = check.spec.model();
  if (model.layers().empty() || !model.architecture().empty()) return;
  const KnownData data =
      check.Readable({"data.dataset"}) ? KnownDataOf(check.spec.data()) : KnownData();
  const Activations input{.rank = Activations::Rank::kImage,
                          .height = data.height,
                          .width = data.width,
                          .channels = data.channels};
  const Activations output = LayerWalk(check).Run(model.layers(), "model.layers", input);
  if (!output.known() || data.classes == 0) return;
  if (output.features() && output.channels == data.classes) return;
  const std::string last = "model.layers." + std::to_string(model.layers_size() - 1);
  check.Report(last,
               "the last layer gives " + output.ToString() + "; expected " +
                   Plural(data.classes, "feature") + ", one for each class",
               (output.features() ? "End with `- linear: "
                                  : "End with `- global_average_pool` and `- linear: ") +
                   std::to_string(data.classes) + "`. The softmax belongs to the loss.");
}

}  // namespace syncbn::config
