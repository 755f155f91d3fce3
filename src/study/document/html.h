// A report as one HTML file.
#pragma once

#include <string>

#include "study/document/document.h"

namespace syncbn::study::document {

// Complete: nothing is loaded from anywhere, and its security policy says so to the browser. For
// phones, desktops and paper, light and dark; every mark of a chart tells its data to pointer,
// finger, keyboard and screen reader.
std::string Html(const Document& document);

// What stands in the <style> and the <script> of every page, to the byte, for the security policy
// of who serves one; there is no other style or script in it.
const std::string& PageStyleText();
const std::string& PageScriptText();

}  // namespace syncbn::study::document
