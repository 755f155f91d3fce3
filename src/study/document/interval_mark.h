// A figure of a verdict against its thresholds, drawn on one line.
#pragma once

#include <string>

#include "study/document/document.h"

namespace syncbn::study::document {

// "threshold 1", "thresholds -1.1 and -0.9"; empty without one.
std::string ThresholdsText(const Figure& figure);

// <svg>, or nothing where there is no threshold or a number is not finite. It shows what the text
// beside it says, so it is hidden from who cannot see it.
std::string IntervalMark(const Figure& figure);

}  // namespace syncbn::study::document
