// A figure of a verdict against its threshold, drawn on one line.
#pragma once

#include <string>

#include "study/document/document.h"

namespace syncbn::study::document {

// <svg>, or nothing where there is no threshold or a number is not finite. It shows what the text
// beside it says, so it is hidden from who cannot see it.
std::string IntervalMark(const Figure& figure);

}  // namespace syncbn::study::document
