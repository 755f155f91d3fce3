// A report as text, for a terminal or a repository.
#pragma once

#include <string>
#include <string_view>

#include "study/document/document.h"

namespace syncbn::study::document {

// GitHub-flavoured Markdown that says the same as Html(); charts are tables of their points. What
// others wrote is escaped, and columns are padded to be read as they are. `pictures`: the folder in
// which the charts are, too, each as PictureName(its number), and are shown from; empty: they are
// nowhere.
std::string Markdown(const Document& document, const std::string& pictures = "");

// "figure-3.svg"
std::string PictureName(int number);

// One line that Markdown shows as it is, also within a table.
std::string MarkdownText(std::string_view text);

}  // namespace syncbn::study::document
