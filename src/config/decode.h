// YAML text -> any protobuf message whose schema uses the options of options.proto.
//
// Strict: an unknown or repeated key, a wrong type, a value out of range, a missing required key, a
// key without effect, several of what excludes each other: each is a diagnostic with its place, and
// all of a text are found in one pass. What is not given is filled in with its default, in messages
// that are not mentioned as well, so that no reader of the message ever thinks about defaults.
#pragma once

#include <google/protobuf/message.h>

#include <memory>
#include <span>
#include <string>

#include "config/diagnostic.h"
#include "config/origin.h"
#include "config/source.h"
#include "config/yaml_tree.h"

namespace syncbn::config {

struct Decoded {
  Origins origins;
  // Empty: the message is complete. Otherwise it holds what could be read.
  Diagnostics diagnostics;
};

// A text that is decoded under several sets of overrides, and parsed once. Immutable and
// thread-safe.
class YamlText {
 public:
  // `name` is what messages call the text.
  YamlText(std::string text, std::string name);

  const Source& source() const { return *source_; }
  // As DecodeYaml.
  Decoded Decode(google::protobuf::Message& message, std::span<const std::string> overrides) const;

 private:
  std::shared_ptr<const Source> source_;
  Diagnostics faults_;  // of its syntax
  YamlNode tree_;
};

// `name` is what messages call the text. `overrides` are "path=value" with the value in YAML's
// syntax
// ("cluster.batch_per_replica=[8, 4]", "model.layers.3.conv.out=8"); they are applied in order
// after the text, replace what stands at their path, and may give what the text leaves out.
// `message` must be empty. Never throws for any text.
Decoded DecodeYaml(std::string text, std::string name, google::protobuf::Message& message,
                   std::span<const std::string> overrides = {});

}  // namespace syncbn::config
