// The safetensors format: tensors under names in one file that every framework reads without
// running code (https://github.com/huggingface/safetensors).
//
// A file is the length of a JSON header (8 bytes, little-endian), the header (type, shape and place
// of each tensor, and a map of texts), and the elements of all tensors without holes. As the
// format's own library does, the header is padded with spaces and the tensors of wide types come
// first, so that every tensor is aligned to its element type.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/digest.h"
#include "train/named_tensor.h"

namespace syncbn::train {

struct SafetensorsFile {
  std::map<std::string, std::string> metadata;
  // In the order of their bytes in the file, each with memory of its own.
  std::vector<NamedTensor> tensors;
  // Of all bytes of the file.
  Digest digest;
};

// Writes the file whole or not at all (WriteFileAtomically, and its errors), without copying
// tensors. Returns the digest of the file's bytes. Names must differ from each other and from
// "__metadata__".
Digest WriteSafetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                        const std::map<std::string, std::string>& metadata);

// Reads and checks a whole file: nothing in it is believed. Throws NOT_FOUND or PERMISSION_DENIED,
// or DATA_LOSS "PATH is damaged: WHAT" (also for element types that syncbn does not have).
SafetensorsFile ReadSafetensors(const std::filesystem::path& path);

}  // namespace syncbn::train
