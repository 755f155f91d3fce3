#include "comm/make_reducer.h"

#include "base/unknown_value.h"
#include "comm/native_reducer.h"
#include "comm/tree_reducer.h"

namespace syncbn::comm {

std::unique_ptr<Reducer> MakeReducer(Communicator& communicator, const ReducerOptions& options) {
  switch (options.kind) {
    case ReducerKind::kTree: return std::make_unique<TreeReducer>(communicator, options);
    case ReducerKind::kNative: return std::make_unique<NativeReducer>(communicator, options);
  }
  ThrowUnknownValue("cluster.reduction", static_cast<int>(options.kind));
}

}  // namespace syncbn::comm
