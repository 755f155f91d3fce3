#include "coordinator/job/failure.h"

namespace syncbn::coordinator {

std::string_view FailureClassName(FailureClass value) {
  switch (value) {
    case FailureClass::kConfig:
      return "CONFIG";
    case FailureClass::kUser:
      return "USER";
    case FailureClass::kInfra:
      return "INFRA";
    case FailureClass::kStall:
      return "STALL";
    case FailureClass::kOom:
      return "OOM";
    case FailureClass::kTimeout:
      return "TIMEOUT";
    case FailureClass::kCancelled:
      return "CANCELLED";
    case FailureClass::kDiverged:
      return "DIVERGED";
    case FailureClass::kStorage:
      return "STORAGE";
  }
  return "UNKNOWN";
}

bool IsRetried(FailureClass value) {
  return value == FailureClass::kInfra || value == FailureClass::kStall;
}

}  // namespace syncbn::coordinator
