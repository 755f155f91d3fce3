#include "coordinator/service/inside_key.h"

#include "coordinator/control/secret.h"

namespace syncbn::coordinator {

const std::string& InsideKey() {
  static const std::string key = NewSecret();
  return key;
}

}  // namespace syncbn::coordinator
