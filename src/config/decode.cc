#include "config/decode.h"

#include <utility>

#include "config/decoder.h"

namespace syncbn::config {

void DecodeState::Fail(const Location& location, const std::string& path, std::string message,
                       std::string hint) {
  origins.MarkFailed(path);
  diagnostics.Add(location, path, std::move(message), std::move(hint));
}

YamlText::YamlText(std::string text, std::string name)
    : source_(std::make_shared<const Source>(std::move(name), std::move(text))),
      tree_(ParseYaml(source_, faults_)) {}

Decoded YamlText::Decode(Message& message, std::span<const std::string> overrides) const {
  Decoded result{.origins = {}, .diagnostics = faults_};
  DecodeState state{.root = *message.GetDescriptor(),
                    .origins = result.origins,
                    .diagnostics = result.diagnostics};
  result.origins.SetRoot({source_, tree_.location.position.value_or(0)});
  if (tree_.kind == YamlNode::Kind::kDamaged) {
    // The keys that could not be read would all be reported as missing.
    result.origins.MarkFailed("");
  } else if (tree_.kind != YamlNode::Kind::kNull) {
    DecodeMessage(tree_, message, "", state);
  }
  state.kind = Origin::Kind::kSet;
  for (const std::string& override_text : overrides) ApplyOverride(override_text, message, state);
  if (tree_.kind != YamlNode::Kind::kDamaged) CheckRequired(message, "", state);
  Complete(message, state);
  result.diagnostics.Sort();
  return result;
}

Decoded DecodeYaml(std::string text, std::string name, Message& message,
                   std::span<const std::string> overrides) {
  return YamlText(std::move(text), std::move(name)).Decode(message, overrides);
}

}  // namespace syncbn::config
