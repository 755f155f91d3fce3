// The arithmetic of reductions, which back ends have (backend/merge.h), and how messages are cut for it.
#pragma once

#include <vector>

#include "backend/merge.h"
#include "comm/reducer.h"

namespace syncbn::comm {

using Content = backend::MergeContent;
using Range = backend::ElementRange;
using backend::CheckContent;
using backend::MergeRange;

// Cuts the message into `parts` consecutive ranges of nearly equal size (some may be empty), each of which
// can be merged on its own: moments are cut between blocks, sums at cache lines.
std::vector<Range> CutIntoRanges(const Content& content, int parts);

}  // namespace syncbn::comm
