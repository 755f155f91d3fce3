// A complete message as YAML, every value with its origin as a comment.
#pragma once

#include <google/protobuf/message.h>

#include <string>

#include "config/origin.h"

namespace syncbn::config {

// Keys without effect are left out. DecodeYaml reads the text back as an equal message. Lines are
// of the form `  momentum: 0.9                  # run.yaml:12`.
std::string EffectiveYaml(const google::protobuf::Message& message, const Origins& origins);

}  // namespace syncbn::config
