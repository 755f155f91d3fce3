#include "config/run_file.h"

#include <utility>

#include "base/bounded_file.h"
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "config/effective_yaml.h"
#include "config/norm_kind.h"
#include "config/validate.h"

namespace syncbn::config {

namespace {

void RemovePlacement(google::protobuf::RepeatedPtrField<v1::LayerSpec>& layers) {
  for (v1::LayerSpec& layer : layers) {
    if (layer.has_norm()) layer.mutable_norm()->clear_placement();
    ForInnerLayers(layer, RemovePlacement);
  }
}

}  // namespace

std::string RunFile::EffectiveYaml() const {
  if (spec.model().layers().empty()) return config::EffectiveYaml(spec, origins);
  // In a model by hand the place of a norm is where it stands, and model.norm serves its norms
  // only: to give them would be an error when the text is read again.
  v1::RunSpec shown = spec;
  v1::ModelSpec& model = *shown.mutable_model();
  RemovePlacement(*model.mutable_layers());
  model.mutable_norm()->clear_placement();
  if (!HasNormLayer(model)) model.clear_norm();
  return config::EffectiveYaml(shown, origins);
}

namespace {

CheckedRunFile Check(const YamlText& text, std::span<const std::string> overrides, bool stored) {
  CheckedRunFile result;
  result.file.source_text = text.source().text();
  Decoded decoded = text.Decode(result.file.spec, overrides);
  CompleteRunSpec(result.file.spec, decoded.origins);
  ValidateRunSpec(result.file.spec, decoded.origins, decoded.diagnostics, stored);
  decoded.diagnostics.Sort();
  result.file.origins = std::move(decoded.origins);
  result.diagnostics = std::move(decoded.diagnostics);
  return result;
}

RunFile Parse(std::string text, std::string name, std::span<const std::string> overrides,
              bool stored) {
  const YamlText source(std::move(text), std::move(name));
  CheckedRunFile checked = Check(source, overrides, stored);
  if (checked.diagnostics.empty()) return std::move(checked.file);
  throw Error(ErrorCode::kInvalidArgument, checked.diagnostics.Format(source.source().name()));
}

}  // namespace

CheckedRunFile CheckRunFile(std::string text, std::string name,
                            std::span<const std::string> overrides) {
  return CheckRunFile(YamlText(std::move(text), std::move(name)), overrides);
}

CheckedRunFile CheckRunFile(const YamlText& text, std::span<const std::string> overrides) {
  return Check(text, overrides, false);
}

RunFile ParseRunFile(std::string text, std::string name, std::span<const std::string> overrides) {
  return Parse(std::move(text), std::move(name), overrides, false);
}

RunFile ParseStoredRunFile(std::string text, std::string name) {
  return Parse(std::move(text), std::move(name), {}, true);
}

std::string ReadRunFile(const std::filesystem::path& path) {
  return ReadFileUpTo(path, 1 << 20, "a run file");
}

RunFile LoadRunFile(const std::filesystem::path& path, std::span<const std::string> overrides) {
  return ParseRunFile(ReadRunFile(path), path.string(), overrides);
}

}  // namespace syncbn::config
