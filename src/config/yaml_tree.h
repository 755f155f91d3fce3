// YAML text as a tree whose every node knows its place.
//
// yaml-cpp does the scanning; its own node type is not used, because it takes the first of two
// equal keys and forgets the other, and drops the places of what is empty. What it would let pass
// and what has no place in a file of settings is refused here: quotation marks that are not closed
// on their line, texts over several lines, anchors, aliases, tags, several documents, tabs as
// indentation, keys that are not plain words, deep nesting, large texts, text that is not UTF-8.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "config/diagnostic.h"
#include "config/source.h"

namespace syncbn::config {

struct YamlNode {
  enum class Kind {
    kNull,  // nothing, `~` or `null`
    kScalar,
    kSequence,
    kMap,
    kDamaged,  // already reported
  };

  Kind kind = Kind::kNull;
  Location location;
  // Of a scalar: its text, and whether it stood in quotation marks.
  std::string text;
  bool quoted = false;
  // Of a map: its keys (scalars), as many as items.
  std::vector<YamlNode> keys;
  // Elements of a sequence, values of a map.
  std::vector<YamlNode> items;
};

struct YamlLimits {
  size_t most_bytes = size_t{1} << 20;
  int most_depth = 64;
};

// The tree of the text of `source` from byte `begin` on (an override has its path before its
// value). Faults are added to `diagnostics`; where the text cannot be read at all the result is
// kDamaged. An empty text is kNull. Never throws for any text.
YamlNode ParseYaml(const std::shared_ptr<const Source>& source, Diagnostics& diagnostics,
                   size_t begin = 0, const YamlLimits& limits = {});

}  // namespace syncbn::config
