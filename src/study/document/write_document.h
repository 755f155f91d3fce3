// A report on disk.
#pragma once

#include <filesystem>
#include <string>

#include "study/document/document.h"

namespace syncbn::study::document {

// Writes NAME.html, NAME.md and, where it has charts, figures/figure-N.svg, which the .md shows.
// Pictures of an earlier report that had more of them are removed. The folder exists. Throws what
// writing throws.
void WriteDocument(const Document& document, const std::filesystem::path& folder,
                   const std::string& name);

}  // namespace syncbn::study::document
