#include "interchange/onnx_file.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "base/unknown_value.h"
#include "interchange/fold.h"
#include "nn/layer.h"
#include "onnx.pb.h"

namespace syncbn::interchange {
namespace {

static_assert(std::endian::native == std::endian::little,
              "elements are written as they lie in memory");

constexpr int64_t kOpset = 17, kIrVersion = 8;

template <typename... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};

// Writes the nodes of a graph. A value is the name of what a node gives; the shapes are those of
// one sample, channels last, as layers have them.
class GraphWriter {
 public:
  GraphWriter(const nn::Model& model, const Weights& weights, const Folds& folds,
              onnx::GraphProto& graph)
      : model_(model), weights_(weights), folds_(folds), graph_(graph) {}

  void Write() {
    const nn::InputSpec& input = model_.input();
    Declare(*graph_.add_input(), "images", {input.channels, input.height, input.width});
    Declare(*graph_.add_output(), "logits", {input.classes});
    const std::string logits =
        Layer(model_.body(), {"images", {1, input.height, input.width, input.channels}}).name;
    Node("Identity", {logits}, "logits");
  }

 private:
  struct Value {
    std::string name;
    Shape shape;
  };

  Value Layer(const nn::Layer& layer, const Value& x) {
    const Shape shape = layer.OutputShape(x.shape);
    return std::visit(
        Overloaded{
            [&](const nn::SequenceOf& of) {
              Value value = x;
              for (const nn::Layer* each : of.layers) value = Layer(*each, value);
              return value;
            },
            [&](const nn::SumOf& of) {
              const std::string body = Layer(*of.body, x).name,
                                shortcut = Layer(*of.shortcut, x).name;
              return Value{Node("Add", {body, shortcut}, layer.name() + "/sum"), shape};
            },
            [&](const nn::ConcatOf& of) {
              std::vector<std::string> branches;
              for (const nn::Layer* branch : of.branches)
                branches.push_back(Layer(*branch, x).name);
              const std::string name = Node("Concat", branches, layer.name() + "/concat");
              SetInt("axis", 1);
              return Value{name, shape};
            },
            [&](const nn::IdentityOf&) { return x; },
            [&](const nn::ConvolutionOf& of) {
              return Value{Convolution(layer, of, x.name), shape};
            },
            [&](const nn::LinearOf& of) {
              const std::string name =
                  Node("Gemm",
                       Inputs(x.name, WeightOf(layer, of.weight, of.gain), BiasOf(layer, of.bias)),
                       Out(layer));
              SetInt("transB", 1);
              return Value{name, shape};
            },
            [&](const nn::BatchNormOf& of) {
              return Value{BatchNorm(layer, of, x.name), shape};
            },
            [&](const nn::SampleNormOf& of) {
              return Value{SampleNorm(layer, of, x), shape};
            },
            [&](const nn::ElementwiseOf& of) {
              return Value{Activation(layer, of.kind, x.name), shape};
            },
            [&](const nn::PoolOf& of) {
              return Value{Pool(layer, of.spec, x.name), shape};
            },
            [&](const nn::GlobalAveragePoolOf&) {
              const std::string mean = Node("GlobalAveragePool", {x.name}, layer.name() + "/mean");
              return Value{Node("Flatten", {mean}, Out(layer)), shape};
            },
            // Channels first there: the order of elements that the layer makes.
            [&](const nn::FlattenOf&) {
              return Value{Node("Flatten", {x.name}, Out(layer)), shape};
            },
            [&](const nn::Undescribed&) -> Value {
              Refuse(layer, "recurrent layers and iterative norms are not written as ONNX");
            },
        },
        layer.Describe());
  }

  std::string Convolution(const nn::Layer& layer, const nn::ConvolutionOf& of,
                          const std::string& x) {
    const backend::Conv2dSpec& spec = of.spec;
    const std::string name = Node(
        "Conv", Inputs(x, WeightOf(layer, of.weight, of.gain), BiasOf(layer, of.bias)), Out(layer));
    SetInts("kernel_shape", {spec.kernel_h, spec.kernel_w});
    SetInts("strides", {spec.stride_h, spec.stride_w});
    SetInts("pads", {spec.pad_h, spec.pad_w, spec.pad_h, spec.pad_w});
    SetInt("group", spec.groups);
    return name;
  }

  std::string BatchNorm(const nn::Layer& layer, const nn::BatchNormOf& of, const std::string& x) {
    if (folds_.norms.contains(layer.name())) return x;
    const nn::NormStatistics& statistics = model_.running_statistics()[of.statistics];
    if (!statistics.tracked) {
      Refuse(layer, "it has no running statistics, and ONNX's batch normalization knows no others");
    }
    const int64_t channels = statistics.channels;
    const std::string mean = layer.name() + ".running_mean",
                      variance = layer.name() + ".running_var";
    AddWeight(mean, weights_.Find(mean));
    AddWeight(variance, weights_.Find(variance));
    const std::string name = Node("BatchNormalization",
                                  {x, AffineOf(layer, of.gamma, {channels}, 1),
                                   AffineOf(layer, of.beta, {channels}, 0), mean, variance},
                                  Out(layer));
    SetFloat("epsilon", of.epsilon);
    return name;
  }

  // Instance normalization of groups as channels; opset 17 has no group normalization.
  std::string SampleNorm(const nn::Layer& layer, const nn::SampleNormOf& of, const Value& x) {
    const std::string& name = layer.name();
    const bool image = x.shape.rank() == 4;
    const std::vector<int64_t> back =
        image ? std::vector<int64_t>{0, of.channels, x.shape[1], x.shape[2]}
              : std::vector<int64_t>{0, of.channels};
    const std::string grouped = Node(
        "Reshape", {x.name, Integers(name + "/groups", {0, of.groups, -1})}, name + "/grouped");
    const std::string normalized = Node("InstanceNormalization",
                                        {grouped, Constant(name + "/ones", {of.groups}, 1),
                                         Constant(name + "/zeros", {of.groups}, 0)},
                                        name + "/normalized");
    SetFloat("epsilon", of.epsilon);
    std::string y =
        Node("Reshape", {normalized, Integers(name + "/shape", back)}, name + "/reshaped");
    // One number a channel, along its axis.
    const Shape shape = image ? Shape{of.channels, 1, 1} : Shape{of.channels};
    if (of.gamma) y = Node("Mul", {y, AffineOf(layer, of.gamma, shape, 1)}, name + "/scaled");
    if (of.beta) y = Node("Add", {y, AffineOf(layer, of.beta, shape, 0)}, Out(layer));
    return y;
  }

  std::string Activation(const nn::Layer& layer, backend::ActivationKind kind,
                         const std::string& x) {
    using Kind = backend::ActivationKind;
    const std::string& name = layer.name();
    switch (kind) {
      case Kind::kRelu:
        return Node("Relu", {x}, Out(layer));
      case Kind::kSigmoid:
        return Node("Sigmoid", {x}, Out(layer));
      case Kind::kTanh:
        return Node("Tanh", {x}, Out(layer));
      case Kind::kSilu:
        return Node("Mul", {x, Node("Sigmoid", {x}, name + "/sigmoid")}, Out(layer));
      case Kind::kGelu: {
        // x (1 + erf(x / sqrt 2)) / 2
        const std::string scaled =
            Node("Div", {x, Constant(name + "/sqrt2", {}, std::sqrt(2.0))}, name + "/scaled");
        const std::string erf = Node("Erf", {scaled}, name + "/erf");
        const std::string one = Node("Add", {erf, Constant(name + "/one", {}, 1)}, name + "/sum");
        const std::string twice = Node("Mul", {x, one}, name + "/twice");
        return Node("Mul", {twice, Constant(name + "/half", {}, 0.5)}, Out(layer));
      }
    }
    ThrowUnknownValue("kind of an activation", static_cast<int>(kind));
  }

  std::string Pool(const nn::Layer& layer, const backend::Pool2dSpec& spec, const std::string& x) {
    const bool mean = spec.kind == backend::PoolKind::kAverage;
    const std::string name = Node(mean ? "AveragePool" : "MaxPool", {x}, Out(layer));
    SetInts("kernel_shape", {spec.kernel, spec.kernel});
    SetInts("strides", {spec.stride, spec.stride});
    SetInts("pads", {spec.pad, spec.pad, spec.pad, spec.pad});
    if (mean) SetInt("count_include_pad", 0);
    return name;
  }

  // -- Nodes ------------------------------------------------------------------------------------

  static std::string Out(const nn::Layer& layer) { return layer.name() + "/output"; }

  static std::vector<std::string> Inputs(const std::string& x, const std::string& weight,
                                         const std::string& bias) {
    if (bias.empty()) return {x, weight};
    return {x, weight, bias};
  }

  // Appends a node and returns the name of what it gives.
  std::string Node(const std::string& operation, const std::vector<std::string>& inputs,
                   const std::string& output) {
    onnx::NodeProto& node = *graph_.add_node();
    node.set_op_type(operation);
    node.set_name(output);
    for (const std::string& input : inputs) node.add_input(input);
    node.add_output(output);
    return output;
  }

  // Attributes of the last node.
  onnx::AttributeProto& Attribute(const char* name, onnx::AttributeProto::AttributeType type) {
    onnx::AttributeProto& attribute = *graph_.mutable_node()->rbegin()->add_attribute();
    attribute.set_name(name);
    attribute.set_type(type);
    return attribute;
  }
  void SetInt(const char* name, int64_t value) {
    Attribute(name, onnx::AttributeProto::INT).set_i(value);
  }
  void SetFloat(const char* name, double value) {
    Attribute(name, onnx::AttributeProto::FLOAT).set_f(static_cast<float>(value));
  }
  void SetInts(const char* name, std::initializer_list<int64_t> values) {
    onnx::AttributeProto& attribute = Attribute(name, onnx::AttributeProto::INTS);
    for (const int64_t value : values) attribute.add_ints(value);
  }

  static void Declare(onnx::ValueInfoProto& value, const char* name,
                      const std::vector<int64_t>& extents) {
    value.set_name(name);
    onnx::TypeProto::Tensor& tensor = *value.mutable_type()->mutable_tensor_type();
    tensor.set_elem_type(onnx::TensorProto::FLOAT);
    tensor.mutable_shape()->add_dim()->set_dim_param("batch");
    for (const int64_t extent : extents) tensor.mutable_shape()->add_dim()->set_dim_value(extent);
  }

  // -- Weights and constants --------------------------------------------------------------------

  // `values`: F32, or numbers of double that are rounded to it.
  void AddWeight(const std::string& name, const Tensor& values) {
    AddWeight(name, values, values.shape());
  }
  void AddWeight(const std::string& name, const Tensor& values, const Shape& shape) {
    SYNCBN_CHECK(values.defined()) << name << " is not among the weights";
    if (!written_.insert(name).second) return;
    onnx::TensorProto& tensor = Initializer(name, shape, onnx::TensorProto::FLOAT);
    if (values.dtype() == DType::kFloat32) {
      const std::span<const std::byte> bytes = values.Bytes();
      tensor.set_raw_data(bytes.data(), bytes.size());
      return;
    }
    std::vector<float> rounded;
    for (const double value : values.Span<double>()) rounded.push_back(static_cast<float>(value));
    tensor.set_raw_data(rounded.data(), rounded.size() * sizeof(float));
  }

  onnx::TensorProto& Initializer(const std::string& name, const Shape& shape,
                                 onnx::TensorProto::DataType type) {
    onnx::TensorProto& tensor = *graph_.add_initializer();
    tensor.set_name(name);
    tensor.set_data_type(type);
    for (const int64_t extent : shape.extents()) tensor.add_dims(extent);
    return tensor;
  }

  std::string Constant(const std::string& name, const Shape& shape, double value) {
    Tensor tensor(shape, DType::kFloat32);
    for (float& element : tensor.Span<float>()) element = static_cast<float>(value);
    AddWeight(name, tensor);
    return name;
  }

  std::string Integers(const std::string& name, const std::vector<int64_t>& values) {
    Initializer(name, {static_cast<int64_t>(values.size())}, onnx::TensorProto::INT64)
        .set_raw_data(values.data(), values.size() * sizeof(int64_t));
    return name;
  }

  // A norm's scale or shift; one that is not learned is `otherwise`.
  std::string AffineOf(const nn::Layer& layer, const std::optional<int>& parameter,
                       const Shape& shape, double otherwise) {
    if (!parameter) {
      return Constant(layer.name() + (otherwise == 0 ? "/no_shift" : "/no_scale"), shape,
                      otherwise);
    }
    const std::string& name = model_.parameters()[*parameter].name;
    AddWeight(name, weights_.Find(name), shape);
    return name;
  }

  std::string WeightOf(const nn::Layer& layer, int weight, const std::optional<int>& gain) {
    const std::string name = layer.name() + ".weight";
    if (const auto folded = folds_.layers.find(layer.name()); folded != folds_.layers.end()) {
      AddWeight(name, folded->second.weight);
    } else {
      const Tensor v = weights_.Find(model_.parameters()[weight].name);
      AddWeight(name, gain ? Normalized(v, weights_.Find(model_.parameters()[*gain].name)) : v);
    }
    return name;
  }

  // g v / |v| of each output (Salimans and Kingma 2016).
  static Tensor Normalized(const Tensor& v, const Tensor& g) {
    Tensor weight(v.shape(), DType::kFloat64);
    const auto gains = Doubles(g), values = Doubles(v);
    const std::span<double> result = weight.Span<double>();
    const size_t row = values.size() / gains.size();
    for (size_t o = 0; o < gains.size(); ++o) {
      double squares = 0;
      for (size_t i = o * row; i < (o + 1) * row; ++i) squares += values[i] * values[i];
      for (size_t i = o * row; i < (o + 1) * row; ++i)
        result[i] = gains[o] * values[i] / std::sqrt(squares);
    }
    return weight;
  }

  static std::vector<double> Doubles(const Tensor& tensor) {
    if (tensor.dtype() == DType::kFloat64) {
      const auto values = tensor.Span<double>();
      return {values.begin(), values.end()};
    }
    const auto values = tensor.Span<float>();
    return {values.begin(), values.end()};
  }

  // Empty: the layer has none.
  std::string BiasOf(const nn::Layer& layer, const std::optional<int>& bias) {
    const std::string name = layer.name() + ".bias";
    if (const auto folded = folds_.layers.find(layer.name()); folded != folds_.layers.end()) {
      AddWeight(name, folded->second.bias);
      return name;
    }
    if (!bias) return "";
    AddWeight(name, weights_.Find(name));
    return name;
  }

  [[noreturn]] static void Refuse(const nn::Layer& layer, const std::string& why) {
    throw Error(ErrorCode::kUnimplemented, "the model cannot be written as ONNX: " + why +
                                               "; --format safetensors and torch have its weights")
        .AddFrame("layer " + layer.name());
  }

  const nn::Model& model_;
  const Weights& weights_;
  const Folds& folds_;
  onnx::GraphProto& graph_;
  std::set<std::string> written_;
};

}  // namespace

std::string OnnxModel(const nn::Model& model, const Weights& weights, const OnnxOptions& options) {
  onnx::ModelProto file;
  file.set_ir_version(kIrVersion);
  file.set_producer_name("syncbn");
  file.set_producer_version(options.version);
  onnx::OperatorSetIdProto& opset = *file.add_opset_import();
  opset.set_domain("");
  opset.set_version(kOpset);
  for (const auto& [key, value] : options.metadata) {
    onnx::StringStringEntryProto& entry = *file.add_metadata_props();
    entry.set_key(key);
    entry.set_value(value);
  }
  file.mutable_graph()->set_name("model");
  const Folds folds = options.fold_batch_norms ? FoldBatchNorms(model, weights) : Folds();
  GraphWriter(model, weights, folds, *file.mutable_graph()).Write();
  if (file.ByteSizeLong() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    throw Error(
        ErrorCode::kOutOfRange,
        "the model is too large for an ONNX file (2 GiB); --format safetensors has no such limit");
  }
  return file.SerializeAsString();
}

}  // namespace syncbn::interchange
