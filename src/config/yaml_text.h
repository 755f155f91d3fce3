// What can be said of YAML text without parsing it, and words for what yaml-cpp reports.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "config/diagnostic.h"
#include "config/source.h"

namespace syncbn::config {

// Reports bytes that are not UTF-8, control characters, a byte order mark, invisible characters
// outside of quoted texts and comments, tabs in indentation and directives, in the text from byte
// `begin` on.
void CheckRawText(const std::shared_ptr<const Source>& source, size_t begin,
                  Diagnostics& diagnostics);

// Reports invisible characters outside of quoted texts and comments in the bytes [begin, end), a
// part of a line: YAML takes them for letters, so that what looks like a key is none, and yaml-cpp
// complains lines below.
void ReportInvisible(const std::shared_ptr<const Source>& source, size_t begin, size_t end,
                     Diagnostics& diagnostics);

// Where the quoted text that opens at `open` is closed on the same line, if it is.
std::optional<size_t> ClosingQuote(std::string_view text, size_t open);

// The first quotation mark from `begin` on that opens a text and is not closed on its line.
std::optional<size_t> FindOpenQuote(std::string_view text, size_t begin);

// Where the `*` stands that yaml-cpp took for an alias, if it complains of one about position `at`:
// people mean a pattern by it.
std::optional<size_t> FindAlias(const std::string& yaml_message, std::string_view text, size_t at);

struct SyntaxFault {
  std::string message;
  std::string hint;
  // A list or mapping in brackets was not closed.
  bool unclosed = false;
  // A closing bracket stands where none can.
  bool closes = false;
};

// Words for yaml-cpp's message about position `at` of the text.
SyntaxFault DescribeSyntaxFault(const std::string& yaml_message, std::string_view text, size_t at);

}  // namespace syncbn::config
