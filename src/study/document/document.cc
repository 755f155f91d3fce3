#include "study/document/document.h"

namespace syncbn::study::document {

const char* OutcomeWord(Outcome outcome) {
  switch (outcome) {
    case Outcome::kSupported:
      return "supported";
    case Outcome::kRefuted:
      return "refuted";
    case Outcome::kInconclusive:
      return "inconclusive";
    case Outcome::kNone:
      break;
  }
  return "no verdict";
}

const char* RowStateWord(RowState state) {
  switch (state) {
    case RowState::kFlagged:
      return "flagged";
    case RowState::kDiverged:
      return "diverged";
    case RowState::kPlain:
      break;
  }
  return "";
}

}  // namespace syncbn::study::document
