// What torch.load(weights_only=True) reads: a state_dict in PyTorch's own format.
//
// A zip archive without compression of a pickle (protocol 2) that builds an OrderedDict of tensors,
// and of a file for the elements of each. The format is that of torch/serialization.py, and of
// APPNOTE.TXT of PKWARE.
#pragma once

#include <filesystem>
#include <span>

#include "train/named_tensor.h"

namespace syncbn::interchange {

// Writes the file whole or not at all (WriteFileAtomically, and its errors). The tensors are on the
// host. Throws OUT_OF_RANGE for more than 4 GiB, for which the archive has no numbers.
void WriteTorchFile(const std::filesystem::path& path, std::span<const train::NamedTensor> tensors);

}  // namespace syncbn::interchange
