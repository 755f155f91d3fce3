// The schemas as protoc's descriptor set, with comments; generated at build time.
#pragma once

#include <span>

namespace syncbn::config {

std::span<const unsigned char> SchemaBytes();

}  // namespace syncbn::config
