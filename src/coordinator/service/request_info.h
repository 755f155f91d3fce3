// How the controller knows a request of a user.
#pragma once

#include <google/protobuf/message.h>

#include <string>
#include <string_view>

#include "coordinator/control/controller.h"
#include "coordinator/service/caller.h"

namespace syncbn::coordinator {

// A request that comes again is known by its sender, its `id`, the method and all its content.
RequestInfo RequestInfoOf(const Caller& caller, std::string_view method, const std::string& id,
                          const google::protobuf::Message& request, bool validate_only);

}  // namespace syncbn::coordinator
