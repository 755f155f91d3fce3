// The one place that knows all reducers.
#pragma once

#include <memory>

#include "comm/communicator.h"
#include "comm/reducer_options.h"
#include "comm/replica_map.h"

namespace syncbn::comm {

// This process's part of a reducer. Collective over the communicator, which must outlive it; so is its
// destruction, unless a failure came first. Throws INVALID_ARGUMENT when there are more processes than
// replicas, UNIMPLEMENTED when the transport has no native all-reduce.
std::unique_ptr<Reducer> MakeReducer(Communicator& communicator, const ReducerOptions& options);

}  // namespace syncbn::comm
