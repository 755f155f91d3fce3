// Characters that nobody sees in a text, by name: what a run file must not hold by accident, and
// what is never written into one as it is.
#pragma once

#include <string>
#include <string_view>

namespace syncbn::config {

// Of one well-formed UTF-8 character; U+FFFD for a byte that is none.
char32_t CodePoint(std::string_view character);

// U+0000 to U+001F, U+007F to U+009F, and U+FFFE and U+FFFF, which no text may hold.
bool IsControl(char32_t code);

// "no-break space": the name of a character that shows as nothing or as a blank, and is not the
// blank of YAML; also those that some readers take for the end of a line. Null for all others.
const char* InvisibleName(char32_t code);

// "U+00A0"
std::string CodePointText(char32_t code);

// The text with a question mark for every control, every invisible character and every byte that is
// not UTF-8.
std::string Printable(std::string_view text);

}  // namespace syncbn::config
