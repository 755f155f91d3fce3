#include "config/decode.h"

#include <utility>

#include "config/decoder.h"

namespace syncbn::config {

void DecodeState::Fail(const Location& location, const std::string& path, std::string message,
                       std::string hint) {
  origins.MarkFailed(path);
  diagnostics.Add(location, path, std::move(message), std::move(hint));
}

Decoded DecodeYaml(std::string text, std::string name, Message& message,
                   std::span<const std::string> overrides) {
  Decoded result;
  const auto source = std::make_shared<const Source>(std::move(name), std::move(text));
  DecodeState state{.root = *message.GetDescriptor(),
                    .origins = result.origins,
                    .diagnostics = result.diagnostics};
  const YamlNode tree = ParseYaml(source, result.diagnostics);
  result.origins.SetRoot({source, tree.location.position.value_or(0)});
  if (tree.kind == YamlNode::Kind::kDamaged) {
    // The keys that could not be read would all be reported as missing.
    result.origins.MarkFailed("");
  } else if (tree.kind != YamlNode::Kind::kNull) {
    DecodeMessage(tree, message, "", state);
  }
  state.kind = Origin::Kind::kSet;
  for (const std::string& override_text : overrides) ApplyOverride(override_text, message, state);
  if (tree.kind != YamlNode::Kind::kDamaged) CheckRequired(message, "", state);
  Complete(message, state);
  result.diagnostics.Sort();
  return result;
}

}  // namespace syncbn::config
