// The passes of DecodeYaml; nobody else includes this.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/diagnostic.h"
#include "config/origin.h"
#include "config/schema.h"
#include "config/yaml_tree.h"

namespace syncbn::config {

// What all passes share.
struct DecodeState {
  const Descriptor& root;
  Origins& origins;
  Diagnostics& diagnostics;
  Origin::Kind kind = Origin::Kind::kFile;

  // Adds a diagnostic and marks the path as not readable.
  void Fail(const Location& location, const std::string& path, std::string message,
            std::string hint = "");
};

// Tree -> message: types, ranges, unknown and repeated keys.
void DecodeMessage(const YamlNode& node, Message& message, const std::string& path,
                   DecodeState& state);
// One field, replacing nothing: the field must be empty. `key` is where its name stands.
void DecodeField(const YamlNode& node, const Location& key, Message& message,
                 const FieldDescriptor& field, const std::string& path, DecodeState& state);
// Sets (index >= 0: replaces an element of; -1 and repeated: adds to) a scalar field.
bool DecodeScalar(const YamlNode& node, Message& message, const FieldDescriptor& field, int index,
                  const std::string& path, DecodeState& state);
// Reports a key that the message does not have.
void ReportUnknownKey(std::string_view key, const Location& location, const Descriptor& type,
                      const std::string& path, DecodeState& state);

// "path=value": decodes the value and puts it at its path.
void ApplyOverride(const std::string& text, Message& root, DecodeState& state);

// Reports required keys and members of required oneofs that are missing.
void CheckRequired(const Message& message, const std::string& path, DecodeState& state);

// Sets a field to the default of its schema.
void SetDefault(Message& message, const FieldDescriptor& field);

// Fills in defaults, takes over what is inherited, and reports keys without effect.
void Complete(Message& root, DecodeState& state);

}  // namespace syncbn::config
