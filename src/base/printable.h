// Text from elsewhere on its way to a terminal.
#pragma once

#include <string>
#include <string_view>

namespace syncbn {

// What text from elsewhere (files, requests, other processes) looks like on a terminal. Characters
// that could move the cursor, change the terminal or the order in which others are shown become
// blanks: control characters (of one byte and U+0080 to U+009F), bidirectional marks, separators of
// lines, invisible format characters. What is not UTF-8 becomes U+FFFD. Line ends and tabs stay.
std::string Printable(std::string_view text);

// The same on one line: line ends and tabs become blanks, too; none are left at the end.
std::string OneLine(std::string_view text);

// JSON that means the same, with such characters escaped in its strings.
std::string PrintableJson(std::string_view json);

}  // namespace syncbn
