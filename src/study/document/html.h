// A report as one HTML file.
#pragma once

#include <string>

#include "study/document/document.h"

namespace syncbn::study::document {

// Complete: nothing is loaded from anywhere, and its security policy says so to the browser. For
// phones, desktops and paper, light and dark; every mark of a chart tells its data to pointer,
// finger, keyboard and screen reader.
std::string Html(const Document& document);

}  // namespace syncbn::study::document
