// How wide text will be, and where it breaks, without knowing the reader's font: estimates on the
// wide side, by the widths of a wide one (DejaVu Sans), so that what fits here fits everywhere.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace syncbn::study::document {

// Size of the text of charts, in their units.
inline constexpr double kTextSize = 12;
// Labels are bold: about as wide as plain text of this size.
inline constexpr double kLabelSize = 13.6;

double TextWidth(std::string_view text, double size = kTextSize);

// Lines of at most `width`, broken at blanks, else behind punctuation, else anywhere; the last of
// `most_lines` ends in an ellipsis where something is left over. At least one line, it may be
// empty.
std::vector<std::string> WrappedText(std::string_view text, double width, size_t most_lines,
                                     double size = kTextSize);

// Characters, not bytes; for padding in a terminal.
size_t CharacterCount(std::string_view text);

}  // namespace syncbn::study::document
